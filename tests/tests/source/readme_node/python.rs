//! The node in Python against the real gateway.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::{peer, wait};

use super::bad_line::BadLine;
use super::cases::{BOOT, CASES, Case, DEVICE, READINGS};
use super::{gateway, line, restart, stored, text};

/// The node's process, which does not outlive the test.
struct PythonNode(Child);

impl PythonNode {
    fn start(python: &Path, case: &Case, line: UnixStream) -> PythonNode {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/source/readme_node/node.py");
        let (room, first) = case.ring;
        let child = Command::new(python)
            .arg(program)
            .arg(DEVICE)
            .args([BOOT, READINGS, room, first].map(|n| n.to_string()))
            .stdin(Stdio::from(OwnedFd::from(line)))
            .spawn();
        PythonNode(child.expect("python3 starts"))
    }

    /// Whether it has ended, all its readings acknowledged.
    fn is_done(&mut self) -> bool {
        let status = self.0.try_wait().expect("its state");
        status.is_some_and(|status| {
            assert!(status.success(), "node.py failed: {status}");
            true
        })
    }
}

impl Drop for PythonNode {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every reading is stored once, in order, with what was measured, or is in a gap.
fn check_readings(gateway: &Gateway, case: &Case, may_miss: bool) {
    let first = u64::from(case.ring.1);
    let mut found = BTreeMap::new();
    for gap in stored(gateway, "dev.tidegate.device.gap") {
        let bound = |name: &str| gap["data"][name].as_u64().expect("a number");
        for number in bound("first")..=bound("last") {
            assert_eq!(
                found.insert(number, None),
                None,
                "{number} is missing twice"
            );
        }
    }
    assert_eq!(!found.is_empty(), may_miss, "{found:?}");
    let mut last = None;
    for event in stored(gateway, "reading") {
        let id = text(&event["id"]);
        let number = id.strip_prefix(&format!("{DEVICE}-{BOOT}-"));
        let number: u64 = number.and_then(|n| n.parse().ok()).expect("a number");
        assert!(last.replace(number) < Some(number), "{id} after {last:?}");
        let before = found.insert(number, Some(event["data"].to_string()));
        assert_eq!(before, None, "{id} is there twice");
    }
    let numbers: Vec<u64> = found.keys().copied().collect();
    let all: Vec<u64> = (first..first + u64::from(READINGS)).collect();
    assert_eq!(numbers, all);
    for (n, data) in found.values().enumerate() {
        let tenths = 180 + n % 50;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        let expected = format!("{{\"count\":{n},\"temperature\":{whole}.{tenth}}}");
        assert_eq!(data.as_ref().unwrap_or(&expected), &expected);
    }
}

fn run(python: &Path, case: &'static Case) {
    let mut gateway = gateway();
    let (port, far) = line(&gateway);
    let (near, node_end) = UnixStream::pair().expect("a pair of sockets");
    let bad_line = BadLine::start(case, near, port);
    let seen = Arc::clone(&bad_line.seen);
    let mut node = PythonNode::start(python, case, node_end);
    let overflows = case.ring.0 < READINGS;
    if overflows {
        wait::until("the ring drops readings", || {
            seen.lost.load(Ordering::Relaxed) > 0
        });
    }
    gateway.start();
    for restart_count in 1..=case.restarts {
        wait::for_count(
            "readings are acknowledged",
            100 * restart_count as usize,
            || seen.acknowledged.load(Ordering::Relaxed) as usize,
        );
        restart(&mut gateway, &far);
    }
    wait::until("the node has handed over all its readings", || {
        node.is_done()
    });
    check_readings(&gateway, case, overflows);
    let hasty = seen.hasty.lock().expect("no panic");
    assert!(hasty.is_empty(), "left in a hold: {hasty:?}");
    let mut done = seen.done.lock().expect("no panic").clone();
    done.sort_unstable();
    let all: Vec<usize> = (0..case.harms.len()).collect();
    assert_eq!(done, all, "harms that were done");
}

#[test]
fn a_node_in_python_hands_over_every_reading_once() {
    let test = "a_node_in_python_hands_over_every_reading_once";
    let Some(python) = peer::find("python3", test) else {
        return;
    };
    let cases = CASES.iter().map(|case| {
        let python = python.clone();
        let thread = std::thread::spawn(move || run(&python, case));
        (case.name, thread)
    });
    let cases: Vec<_> = cases.collect();
    let failed: Vec<_> = cases
        .into_iter()
        .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}
