//! Lines on which everything takes long: welcomes, hellos and questions cross. One node stays the one that it is, and of
//! two the second is told.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::node::Begin::{self, Boot, Flash};
use super::{Case, run};

/// A line that takes so long, each way: the gateway's end and the node's.
pub(super) fn line(takes: Duration) -> (DuplexStream, DuplexStream) {
    if takes.is_zero() {
        return tokio::io::duplex(4096);
    }
    let ((near, near_end), (far, far_end)) = (tokio::io::duplex(4096), tokio::io::duplex(4096));
    let (from_near, to_near) = tokio::io::split(near_end);
    let (from_far, to_far) = tokio::io::split(far_end);
    carry(from_near, to_far, takes);
    carry(from_far, to_near, takes);
    (near, far)
}

/// Hands on what comes, so much later, until either end is gone.
fn carry(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, takes: Duration) {
    let (give, mut take) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let came = (Instant::now() + takes, bytes[..count].to_vec());
            if give.send(came).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, bytes)) = take.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
}

/// One each: who is there, and what happens.
const CASES: &[(&[Begin], &str)] = &[
    (
        &[Boot(9)],
        "plug 0 one; pause 275; make 0 1; pause 500; make 0 1; pause 500; make 0 1; pause 500; make 0 1; pause 500;  \
         make 0 1; pause 500; make 0 1; pause 500; make 0 1; pause 500; make 0 1; pause 500; make 0 1; drained 0;  \
         restart; make 0 3; drained 0; reboot 0 10 0; make 0 3; drained 0; calm",
    ),
    (
        &[Boot(9)],
        "plug 0 one; pause 1100; restart; make 0 1; pause 700; make 0 1; restart; pause 2300; make 0 1; restart;  \
         pause 4000; make 0 1; restart; drained 0; make 0 1; drained 0; calm",
    ),
    (
        &[Boot(9)],
        "make 0 20; plug 0 one; drained 0; reboot 0 10 7; drained 0; make 0 5; drained 0; calm",
    ),
    (
        &[Flash(10, 30, 0)],
        "plug 0 one; drained 0; make 0 5; drained 0; restart; make 0 5; drained 0; calm",
    ),
    (
        &[Boot(9), Boot(10)],
        "plug 0 one; make 0 1; drained 0; make 1 10; plug 1 two; told source two: two devices; holds 1 10;  \
         pause 5000; holds 1 10; make 0 20; drained 0; holds 1 10",
    ),
    (
        &[Boot(9), Boot(9)],
        "make 0 20; make 1 30; plug 0 one; drained 0; swap 1 one; told boot 9; holds 1 30; swap 0 one; make 0 5;  \
         drained 0; calm",
    ),
];

#[test]
fn behind_a_slow_line_nodes_lose_nothing_and_are_who_they_are() {
    let mut threads = Vec::new();
    for takes_ms in [300, 500, 840, 2_000] {
        for (number, (nodes, steps)) in CASES.iter().enumerate() {
            let name = format!("{number} over {takes_ms} ms");
            let thread = std::thread::spawn(move || {
                let case = Case {
                    name: "",
                    nodes,
                    mark: None,
                    steps,
                };
                run(&case, Duration::from_millis(takes_ms));
            });
            threads.push((name, thread));
        }
    }
    let threads = threads.into_iter();
    let failed: Vec<_> = threads
        .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}
