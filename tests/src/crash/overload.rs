//! More than a small machine can take: twice the load that it sustains, clients that read nothing, large packets, an
//! upstream that is away.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::books::{self, Id};
use crate::gateway::Gateway;
use crate::mqtt;
use crate::mqtt::load::{Load, Share};
use crate::peer::memory_group::MemoryGroup;

/// Memory of the machine.
const MEMORY_BYTES: u64 = 128 << 20;
const CONFIG: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\nrotate_size = \"1TiB\"\n\n\
                      [upstreams.away]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\n\n\
                      [store]\nmax_size = \"96MiB\"\n";
const RULES: &str = "rule all { on \"#\" send to archive send to away }\n\
                     rule hot { on \"p/#\" when n > 1000000 set hot = true send to archive }\n";
const PUBLISHERS: u32 = 40;
/// How long the sustainable load is measured for.
const MEASURED: Duration = Duration::from_secs(5);
/// What a large packet carries.
const FLOOD_BYTES: usize = 256 << 10;
/// Subscribers that read nothing.
const SLOW_SUBSCRIBERS: usize = 40;

/// What came of it.
#[derive(Debug)]
pub struct Overload {
    /// Acknowledged events per second where each sender waits.
    pub sustained_per_s: f64,
    /// Events acknowledged under overload.
    pub acknowledged: usize,
    /// Acknowledged, and not in the archive.
    pub missing: Vec<Id>,
    /// The most memory of its own that was seen, without what its program and its files take.
    pub anonymous_bytes_max: u64,
    /// Kills for want of memory.
    pub kills: u64,
}

/// Runs it for so long, with so many clients that send large packets as fast as they can and read nothing; `None` where no memory group can be made.
///
/// # Panics
/// When the gateway ends.
pub fn run(length: Duration, flooders: usize, test: &str) -> Option<Overload> {
    let group = MemoryGroup::new(MEMORY_BYTES, test)?;
    let mut gateway = Gateway::new(CONFIG);
    gateway.write("rules/a.rules", RULES);
    gateway.under(group.words());
    gateway.start();
    let sustained_per_s = sustained(&gateway);
    let stop = Arc::new(AtomicBool::new(false));
    let mut others = Vec::new();
    for number in 0..flooders {
        others.push(flood(gateway.address, number, &stop));
    }
    let subscribers: Vec<TcpStream> = (0..SLOW_SUBSCRIBERS)
        .filter_map(|number| slow_subscriber(gateway.address, number))
        .collect();
    let share = Share {
        count: u64::MAX,
        per_second: 2.0 * sustained_per_s / f64::from(PUBLISHERS),
        window: 1000,
    };
    let load = Load::start(gateway.address, 100..100 + PUBLISHERS, share);
    let began = Instant::now();
    let mut anonymous_bytes_max = 0;
    while began.elapsed() < length {
        std::thread::sleep(Duration::from_millis(200));
        anonymous_bytes_max = anonymous_bytes_max.max(gateway.anonymous_bytes());
        assert_eq!(group.kills(), 0, "{}", gateway.log());
        assert!(gateway.is_running(), "{}", gateway.log());
    }
    stop.store(true, Ordering::Relaxed);
    others
        .into_iter()
        .for_each(|thread| thread.join().expect("it floods"));
    drop(subscribers);
    load.enough();
    load.give_up();
    let (ledger, _) = load.end();
    let kills = group.kills();
    assert!(gateway.terminate().success(), "{}", gateway.log());
    gateway.start();
    let arrived = || archived(&gateway);
    let missing = |arrived: &BTreeSet<Id>| -> Vec<Id> {
        ledger.acknowledged.difference(arrived).copied().collect()
    };
    crate::wait::find("what was acknowledged arrives", || {
        // It is a large file to read.
        std::thread::sleep(Duration::from_millis(500));
        let missing = missing(&arrived());
        missing.is_empty().then_some(()).ok_or(missing.len())
    });
    Some(Overload {
        sustained_per_s,
        acknowledged: ledger.acknowledged.len(),
        missing: missing(&arrived()),
        anonymous_bytes_max,
        kills,
    })
}

/// Acknowledged events per second with a window of 100 for each publisher.
fn sustained(gateway: &Gateway) -> f64 {
    let share = Share {
        count: u64::MAX,
        per_second: f64::INFINITY,
        window: 100,
    };
    let load = Load::start(gateway.address, 0..PUBLISHERS, share);
    std::thread::sleep(MEASURED);
    let count = load.ledger().acknowledged.len();
    load.enough();
    load.end();
    count as f64 / MEASURED.as_secs_f64()
}

/// Sends large packets for as long as it is let, and reads nothing.
fn flood(gateway: SocketAddr, number: usize, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let payload = vec![b'x'; FLOOD_BYTES - 64];
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut stream) = mqtt::connect(gateway, &format!("flood-{number}"), true) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            for id in (1..=u16::MAX).cycle() {
                let packet = mqtt::publish(&format!("flood/{number}"), id, &payload);
                if stop.load(Ordering::Relaxed) || stream.write_all(&packet).is_err() {
                    break;
                }
            }
        }
    })
}

fn slow_subscriber(gateway: SocketAddr, number: usize) -> Option<TcpStream> {
    let mut stream = mqtt::connect(gateway, &format!("slow-{number}"), true).ok()?;
    stream.write_all(&mqtt::subscribe(1, "#")).ok()?;
    Some(stream)
}

/// What is in the archive.
fn archived(gateway: &Gateway) -> BTreeSet<Id> {
    let text = std::fs::read(gateway.path("archive.jsonl")).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n');
    let own = lines.filter(|line| line.len() < 2000);
    own.filter_map(books::read).collect()
}
