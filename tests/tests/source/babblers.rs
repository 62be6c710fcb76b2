//! What talks without end at a serial port fills neither the log nor the store, takes no core for itself, is named as a
//! trouble, and delays nobody at another port.

use std::time::{Duration, Instant};

use tidegate_tests::babbler::{Babble, Babbler};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::node::{SimulatedNode, Start};
use tidegate_tests::wait;

const GOOD: Start = Start {
    boot: 9,
    first: 0,
    every_ms: 20,
    harm_one_in: 0,
};
const LOG_BYTES_MAX: u64 = 50_000;
const SYSTEM_EVENTS_MAX: usize = 50;
/// Of one core.
const CPU_SHARE_MAX: f64 = 0.6;

const FRAMES: &[Babble] = &[
    Babble::Logs,
    Babble::EscapedLogs,
    Babble::NewDevices,
    Babble::NewBoots,
    Babble::OneHello,
    Babble::Gaps,
    Babble::Twins,
    Babble::ForeignEvents,
    Babble::WrongChecksums,
    Babble::Oversized,
    Babble::Unknown,
    Babble::Noise,
    Babble::Delimiters,
];
const LINES: &[Babble] = &[
    Babble::NoiseLines,
    Babble::BadLines,
    Babble::LineEnds,
    Babble::EndlessLine,
];

/// Ten seconds in the long form; the first five are the worst ones.
fn window() -> Duration {
    let long = std::env::var_os("TIDEGATE_LONG").is_some();
    Duration::from_secs(if long { 10 } else { 5 })
}

/// A gateway with a good node at `line` and something else at `babble`.
fn gateway(kind: &str) -> Gateway {
    Gateway::new(&format!(
        "[sources.bench]\ntype = \"serial\"\nport = \"line\"\nreopen_max = \"100ms\"\n\n\
         [sources.other]\ntype = \"{kind}\"\nport = \"babble\"\nreopen_max = \"100ms\"\n{}\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n",
        if kind == "lines" {
            "format = \"json\"\ntopic = \"sketch\"\n"
        } else {
            ""
        }
    ))
}

/// What the gateway has cost so far.
struct Cost {
    at: Instant,
    log_bytes: u64,
    cpu_seconds: f64,
    system_events: usize,
}

fn cost(gateway: &Gateway) -> Cost {
    let system_events = gateway.events(&["--topic", "$tidegate/#", "--limit", "10000"]);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let fields = fields.split(' ').skip(11).take(2);
    let ticks: u64 = fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let log = std::fs::metadata(gateway.path("gateway.log"));
    Cost {
        at: Instant::now(),
        log_bytes: log.expect("a log").len(),
        cpu_seconds: ticks as f64 / 100.0,
        system_events: system_events.len(),
    }
}

/// How late the node's readings are acknowledged while `span` passes, nine times out of ten, in ms.
fn delay_ms(node: &SimulatedNode, span: Duration) -> u32 {
    let (began, mut held) = (Instant::now(), Vec::new());
    while began.elapsed() < span {
        held.push(node.held());
        std::thread::sleep(Duration::from_millis(10));
    }
    held.sort_unstable();
    held[held.len() * 9 / 10] * GOOD.every_ms
}

/// What is wrong while something babbles, if anything.
fn faults(kind: &str, babble: Babble) -> Vec<String> {
    let mut gateway = gateway(kind);
    gateway.start();
    let node = SimulatedNode::start(&gateway.path("line"), GOOD);
    node.await_acknowledged(20);
    wait::until("it has caught up", || node.held() < 5);
    let before = cost(&gateway);
    let babbler = Babbler::start(&gateway.path("babble"), babble);
    let delay_ms = delay_ms(&node, window());
    let after = cost(&gateway);
    let log_bytes = after.log_bytes - before.log_bytes;
    let events = after.system_events - before.system_events;
    let share = (after.cpu_seconds - before.cpu_seconds) / (after.at - before.at).as_secs_f64();
    println!(
        "{babble:?}: {log_bytes} bytes of log, {events} system events, {:.0} % of a core, others {delay_ms} ms late, \
         {} bytes taken",
        share * 100.0,
        babbler.written()
    );
    let limits = [
        (
            log_bytes <= LOG_BYTES_MAX,
            format!("{log_bytes} bytes of log"),
        ),
        (
            events <= SYSTEM_EVENTS_MAX,
            format!("{events} system events"),
        ),
        (share <= CPU_SHARE_MAX, format!("{share:.2} of a core")),
        (delay_ms < 1_000, format!("others are {delay_ms} ms late")),
        (babbler.written() > 10_000, "it was not heard".into()),
    ];
    wait::find("the port is named", || {
        let status = gateway.status().to_string();
        let is_named = status.contains("babbling") && status.contains("source other");
        is_named.then_some(()).ok_or(status)
    });
    drop(babbler);
    if matches!(babble, Babble::Logs | Babble::BadLines) {
        wait::until("the trouble is over", || {
            !gateway.status().to_string().contains("babbling")
        });
    }
    limits
        .into_iter()
        .filter(|(is_kept, _)| !is_kept)
        .map(|(_, fault)| format!("{babble:?}: {fault}"))
        .collect()
}

fn check(kind: &str, all: &[Babble]) {
    let only = std::env::var("TIDEGATE_BABBLE").ok();
    let chosen = all.iter().filter(|babble| {
        let name = format!("{babble:?}");
        only.as_ref().is_none_or(|only| *only == name)
    });
    let faults: Vec<String> = chosen.flat_map(|babble| faults(kind, *babble)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_device_that_babbles_costs_little_and_is_named() {
    check("serial", FRAMES);
}

#[test]
fn a_sketch_that_babbles_costs_little_and_is_named() {
    check("lines", LINES);
}
