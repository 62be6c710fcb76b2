//! The rules on the intake thread and on the commit thread.

use std::sync::mpsc::{Receiver, sync_channel};

use tidegate_rules::{Counters, Destinations, RuleFile, compile};
use tidegate_store::{Commit, Gap, GapLane, GapReason, LaneId};
use tokio::sync::watch;

use super::evaluator::ActiveRules;
use super::gaps::Gaps;
use super::*;
use crate::event::inlet::Inlet;
use crate::time::clock;

const CLOUD: LaneId = 7;

/// Compiled rules, with `cloud` behind lane 7.
fn active(text: &str) -> Arc<ActiveRules> {
    let file = RuleFile {
        path: "test.rules".to_owned(),
        text: text.to_owned(),
    };
    let checked = compile(&[file], &Destinations::new(["cloud"])).expect("right rules");
    Arc::new(ActiveRules::new(checked.rules, vec![3, CLOUD]))
}

fn event(topic: &str, data: &str) -> Event {
    Event {
        id: "e1".into(),
        source: "test".into(),
        kind: "reading".into(),
        subject: None,
        topic: topic.into(),
        publisher: "test".into(),
        time: None,
        received: 0,
        content_type: None,
        schema: None,
        extensions: Vec::new(),
        data: data.to_owned().into(),
        ..Event::default()
    }
}

/// Events that each rule saw, by its name.
fn seen(counters: &Counters) -> Vec<(&str, u64)> {
    let rules = counters.rules.iter();
    rules.map(|rule| (&*rule.rule, rule.counts.seen)).collect()
}

const HOT: &str = "rule hot { on \"t\" when v > 1 send to cloud }";

#[test]
fn a_reload_keeps_the_state_of_unchanged_rules() {
    let newest = watch::Sender::new(active(HOT));
    let rules = Evaluator::new(newest.subscribe());
    let mut routed = Vec::new();
    rules.decide(&event("t", r#"{"v":2}"#), 0, &mut routed);
    rules.arm("hot", 5, Arc::new(event("t", r#"{"v":2}"#)));
    newest.send_replace(active(&format!(
        "# more\nrule new {{ on \"t\" send to cloud }}\n{HOT}"
    )));
    rules.decide(&event("t", r#"{"v":2}"#), 0, &mut routed);
    assert_eq!(
        seen(&rules.counters()),
        [("hot", 2)],
        "not before the refresh"
    );
    rules.refresh();
    rules.decide(&event("t", r#"{"v":2}"#), 0, &mut routed);
    assert_eq!(seen(&rules.counters()), [("new", 1), ("hot", 3)]);
    assert_eq!(rules.next_wake(), Some(5));
    newest.send_replace(active(&HOT.replace('1', "0")));
    rules.refresh();
    rules.decide(&event("t", r#"{"v":2}"#), 0, &mut routed);
    assert_eq!(
        seen(&rules.counters()),
        [("hot", 1)],
        "another rule, as it says"
    );
    assert_eq!(rules.next_wake(), None);
}

#[test]
fn a_gap_record_is_decided_with_the_state_that_events_are_decided_with() {
    let text = "rule all { on \"t\", \"$tidegate/#\" when events > 100 send to cloud }";
    let newest = watch::Sender::new(active(text));
    let rules = Evaluator::new(newest.subscribe());
    rules.decide(&event("t", "{}"), 0, &mut Vec::new());
    let mut gaps = Gaps::new(rules.clone(), "plant".into(), mint::StartMark::of(1));
    let gap = Gap {
        reason: GapReason::Shed,
        records: 9,
        bytes: 9,
        first: 1,
        last: 9,
        time_min_ms: 0,
        time_max_ms: 0,
        lanes: vec![GapLane {
            lane: CLOUD,
            name: "cloud".to_owned(),
            class: 0,
            events: 9,
        }],
        labels: Vec::new(),
        other_labels: 0,
    };
    let mut commit = Commit::new();
    assert_eq!(gaps.make(&gap, 0, &mut commit), [CLOUD]);
    assert_eq!(commit.len(), 1);
    let counters = rules.counters();
    assert_eq!(seen(&counters), [("all", 2)], "one state for both");
    assert_eq!(counters.rules[0].counts.stopped, 1, "the gap of nine");
}

/// An intake without a commit thread, and the groups it hands over.
fn intake(rules: &Evaluator) -> (Intake, Inlet, Receiver<CommitGroup>) {
    let (inlet, offers) = Inlet::new(8, 1 << 20);
    let (commits, groups) = sync_channel(1);
    let inputs = Inputs {
        offers,
        system: mpsc::channel(1).1,
        audits: mpsc::channel(1).1,
        redrives: mpsc::channel(1).1,
        rules: rules.clone(),
    };
    let settings = Settings {
        gateway_id: "plant".into(),
        start: mint::StartMark::of(1),
        pacing: Pacing::new(Duration::ZERO, Duration::ZERO),
        way: Way::new(mint::StartMark::of(1).text(), b"", Default::default()),
        expiry: ExpiryClock::new(0, None, None, clock::now()),
    };
    let ends = CommitEnds {
        commits,
        done: mpsc::unbounded_channel().1,
    };
    let observe = Arc::new(crate::observe::Observe::default());
    let metrics = Arc::new(IntakeMetrics::new(Vec::new(), observe.refusing.clone()));
    let dedup = Dedup::new(8, "plant");
    let intake = Intake::new(inputs, settings, dedup, ends, metrics, observe);
    (intake, inlet, groups)
}

/// The first group of an intake that nobody offers anything.
async fn first_group(intake: Intake, groups: Receiver<CommitGroup>) -> CommitGroup {
    let intake = tokio::spawn(intake.run());
    let deadline = clock::monotonic() + Duration::from_secs(60);
    loop {
        if let Ok(group) = groups.try_recv() {
            intake.abort();
            return group;
        }
        assert!(clock::monotonic() < deadline, "the rules were not woken");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn rules_are_woken_when_they_want_to_be() {
    let rules = Evaluator::new(watch::Sender::new(active(HOT)).subscribe());
    let due = clock::unix_ms() + 200;
    for (topic, data) in [
        ("t", r#"{"v":0}"#),
        ("t", r#"{"v":2}"#),
        ("t", r#"{"v":3}"#),
    ] {
        rules.arm("hot", due, Arc::new(event(topic, data)));
    }
    let (intake, _inlet, groups) = intake(&rules);
    let group = first_group(intake, groups).await;
    assert!(clock::unix_ms() >= due, "not before");
    assert_eq!(group.commit.len(), 2, "two get past the `when`");
    assert_eq!(group.routed, [(CLOUD, 2)]);
    assert_eq!(group.taken, 0, "nothing came from a source");
    assert_eq!(seen(&rules.counters()), [("hot", 3)]);
}

#[tokio::test]
async fn a_timer_armed_on_the_commit_thread_wakes_the_intake() {
    let rules = Evaluator::new(watch::Sender::new(active(HOT)).subscribe());
    let (intake, _inlet, groups) = intake(&rules);
    let arming = rules.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        arming.arm("hot", clock::unix_ms(), Arc::new(event("t", r#"{"v":2}"#)));
        arming.timers_may_differ();
    });
    let group = first_group(intake, groups).await;
    assert_eq!(group.routed, [(CLOUD, 1)]);
}

#[test]
fn what_joins_a_group_is_decided_by_the_newest_rules() {
    let newest = watch::Sender::new(active(HOT));
    let rules = Evaluator::new(newest.subscribe());
    let (mut intake, _inlet, _groups) = intake(&rules);
    let offer = || Offer {
        arrivals: vec![Arrival {
            event: event("t", r#"{"v":1}"#),
            ack: Ack::none(),
            identity: Identity::None,
            at_most_once: false,
            set_aside: None,
        }],
        _share: None,
    };
    intake.take(offer(), clock::now());
    assert_eq!(intake.group.acks.len(), 1, "a group has begun");
    assert_eq!(intake.group.routed, []);
    newest.send_replace(active(&HOT.replace('1', "0")));
    intake.take(offer(), clock::now());
    assert_eq!(intake.group.acks.len(), 2, "in the same group");
    assert_eq!(intake.group.routed, [(CLOUD, 1)]);
}

#[test]
fn a_group_goes_or_is_waited_for_whenever_it_is_looked_at() {
    let rules = Evaluator::new(watch::Sender::new(active(HOT)).subscribe());
    let (mut intake, _inlet, groups) = intake(&rules);
    let delay = Duration::from_millis(5);
    let start = clock::monotonic();
    let mut pacing = Pacing::new(delay, delay);
    let mut busy = CommitGroup::default();
    busy.acks.resize_with(1000, Ack::none);
    for at in [start, start + Duration::from_millis(1)] {
        pacing.handed_over(&busy, at);
        pacing.finished(at);
    }
    intake.settings.pacing = pacing;
    intake.group.acks.push(Ack::none());
    for waited_ms in 1..6 {
        let rest = Duration::from_millis(6 - waited_ms);
        let now = start + Duration::from_millis(waited_ms);
        assert_eq!(intake.hand_over(true, now), Some(rest), "{waited_ms} ms");
        assert!(groups.try_recv().is_err(), "it still gathers");
    }
    let end = start + Duration::from_millis(6);
    assert_eq!(intake.hand_over(true, end), None);
    let gone = groups.try_recv().expect("nothing waits for it any more");
    assert_eq!(gone.acks.len(), 1);
}

/// Pacing of a load of 100,000 events/s whose commits take 400 µs, and when the last one finished.
fn paced() -> (Pacing, Instant) {
    let mut pacing = Pacing::new(Duration::ZERO, Duration::from_millis(5));
    let mut busy = CommitGroup::default();
    busy.acks.resize_with(100, Ack::none);
    let mut now = clock::monotonic();
    for _ in 0..50 {
        now += Duration::from_millis(1);
        pacing.handed_over(&busy, now);
        pacing.finished(now + Duration::from_micros(400));
    }
    (pacing, now + Duration::from_micros(400))
}

#[test]
fn a_group_goes_or_is_waited_for_whenever_the_burst_ends() {
    let rules = Evaluator::new(watch::Sender::new(active(HOT)).subscribe());
    let micros = |since: Duration| since.as_micros();
    for look_us in [1, 7, 50, 130] {
        for last_us in [0, 30, 200, 390, 1_000] {
            let (mut intake, _inlet, groups) = intake(&rules);
            let (pacing, finished) = paced();
            intake.settings.pacing = pacing;
            intake.group.acks.push(Ack::none());
            let last = finished + Duration::from_micros(last_us);
            let mut now = finished;
            loop {
                if now <= last {
                    intake.settings.pacing.arrived(now);
                }
                match intake.hand_over(true, now) {
                    Some(rest) => assert!(!rest.is_zero() && groups.try_recv().is_err()),
                    None => break assert!(groups.try_recv().is_ok(), "it goes nowhere"),
                }
                now += Duration::from_micros(look_us);
            }
            let took = micros(now - finished);
            let latest = u128::from((last_us + 50).min(410) + look_us + 1);
            assert!(
                took <= latest,
                "every {look_us}, until {last_us}: {took} µs"
            );
        }
    }
}
