//! What one event costs, by the number of rules: prints nanoseconds per event.
//!
//! `cargo run --release -p tidegate-rules --example step`
//!
//! One rule in a hundred is on the topics of the events, the others on topics of their own. "linear"
//! runs every rule as a set of its own, which is what a gateway without a topic index would do
//! (without even decoding the payload more than each rule needs).

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use tidegate_rules::decision::Decision;
use tidegate_rules::event::Event;
use tidegate_rules::{Destinations, RuleFile, RuleSet, State, compile};

const PAYLOAD: &str = r#"{"temperature":21.5,"humidity":48.2,"unit":"C","seq":184467,"device":{"fw":"2.4.1","boot":17,"rssi":-61},"location":"hall 3, line A, press 7","battery":3.71,"status":"ok","flags":[1,0,0,1],"ts":1791806602118}"#;

const CONDITION: &str = r#"when temperature > 30 and starts_with(topic, "plant/")"#;

fn main() {
    compile_time(10_000);
    println!(
        "payload of {} bytes, 20 topics, nothing sent",
        PAYLOAD.len()
    );
    println!(
        "{:>6} {:>14} {:>14} {:>9}",
        "rules", "indexed", "linear", "ratio"
    );
    for count in [3, 100, 1_000] {
        let texts: Vec<String> = (0..count).map(rule).collect();
        let indexed = [rule_set(&texts.concat())];
        let linear: Vec<RuleSet> = texts.iter().map(|text| rule_set(text)).collect();
        let events = 20_000_000 / (count + 100);
        let fast = nanoseconds(&indexed, events);
        let slow = nanoseconds(&linear, events / count + 1);
        let ratio = slow / fast;
        println!("{count:>6} {fast:>11.0} ns {slow:>11.0} ns {ratio:>8.1}x");
    }
    println!("{:>6} {:>11.0} ns  a payload that no rule reads", 1, {
        nanoseconds(&[rule_set(&same_topic("when len(topic) > 90"))], 2_000_000)
    });
    println!("{:>6} {:>11.0} ns  and that sends a changed payload", 1, {
        let clauses = "when temperature < 30 set warm = temperature > 20 send to cloud";
        nanoseconds(&[rule_set(&same_topic(clauses))], 500_000)
    });
}

/// Every hundredth rule is on the topics of the events.
fn rule(at: usize) -> String {
    let mut text = String::new();
    let on = match at % 100 {
        0 => "plant/{line}/{press}/temp".to_owned(),
        _ => format!("site{at}/{{line}}/+/temp"),
    };
    let _ = writeln!(
        text,
        "rule r{at} {{ on \"{on}\" {CONDITION} send to cloud topic \"alarms/{{line}}\" }}"
    );
    text
}

/// In files of a thousand rules each.
fn compile_time(count: usize) {
    let file = |at: usize| RuleFile {
        path: format!("{at}.rules"),
        text: (at..at + 1_000).map(rule).collect(),
    };
    let files: Vec<RuleFile> = (0..count).step_by(1_000).map(file).collect();
    let compiled = || compile(&files, &Destinations::new(["cloud"])).expect("right");
    // The second set shows what a set keeps: it finds the memory that compiling needs free again.
    let first = compiled();
    let before = resident_kib();
    let start = Instant::now();
    let checked = compiled();
    let took = start.elapsed().as_millis();
    drop(first);
    let each = resident_kib().saturating_sub(before) * 1024 / checked.rules.rule_count();
    println!("{count} rules compile in {took} ms and hold about {each} bytes each");
}

/// Memory of this process; 0 where the system does not tell.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn same_topic(clauses: &str) -> String {
    format!("rule only {{ on \"plant/#\" {clauses} }}")
}

fn rule_set(text: &str) -> RuleSet {
    let file = RuleFile {
        path: "bench.rules".to_owned(),
        text: text.to_owned(),
    };
    match compile(&[file], &Destinations::new(["cloud"])) {
        Ok(checked) => checked.rules,
        Err(errors) => panic!("{errors:?}"),
    }
}

/// Nanoseconds per event, the best of many short rounds: other work on the machine only adds.
fn nanoseconds(sets: &[RuleSet], events: usize) -> f64 {
    let stream: Vec<Event> = (0..20).map(event).collect();
    let mut states: Vec<State> = sets.iter().map(|_| State::new()).collect();
    let mut decision = Decision::default();
    let mut best = f64::INFINITY;
    let events = (events / 20).max(20);
    for _ in 0..60 {
        let start = Instant::now();
        for at in 0..events {
            for (set, state) in sets.iter().zip(&mut states) {
                set.step(state, 0, &stream[at % stream.len()], &mut decision);
                black_box(&decision);
            }
        }
        best = best.min(start.elapsed().as_nanos() as f64 / events as f64);
    }
    best
}

fn event(at: usize) -> Event {
    Event {
        id: "1".into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: format!("plant/A/press{at}/temp").into(),
        publisher: "press".into(),
        time: None,
        received: 0,
        content_type: None,
        schema: None,
        extensions: Vec::new(),
        data: PAYLOAD.into(),
        ..Event::default()
    }
}
