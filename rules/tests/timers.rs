//! The rules say when they want to be woken, and decide then.

mod support;

use std::sync::Arc;

use support::{event, rules, told};
use tidegate_rules::decision::Decision;
use tidegate_rules::{RuleSet, State};

const TEXT: &str = r#"rule low { on "a/{n}" when v > 1 send to cloud topic "low/{n}" }
rule high { on "a/{n}" when v > 5 send to archive topic "high/{n}" }
unmatched { send to cloud }"#;

/// What each timer due at `now` decides: the event's topic and the outputs.
fn woken(set: &RuleSet, state: &mut State, now: i64) -> Vec<String> {
    let mut decision = Decision::default();
    let mut all = Vec::new();
    while let Some(event) = set.wake(state, now, &mut decision) {
        all.push(format!(
            "{}: {}",
            event.topic,
            told(&decision.outputs).join(", ")
        ));
    }
    assert!(
        decision.outputs.is_empty(),
        "nothing is left of the last one"
    );
    all
}

fn arm(set: &RuleSet, state: &mut State, timers: &[(i64, &str, &str, i64)]) {
    for (due, rule, topic, value) in timers {
        let event = Arc::new(event(topic, &format!("{{\"v\":{value}}}")));
        assert!(set.arm(state, rule, *due, event));
    }
}

#[test]
fn rules_that_arm_no_timer_never_want_to_be_woken() {
    let (set, mut state) = (rules(TEXT), State::new());
    assert_eq!(set.next_wake(&state), None);
    set.step(
        &mut state,
        0,
        &event("a/1", r#"{"v":9}"#),
        &mut Decision::default(),
    );
    assert_eq!(set.next_wake(&state), None);
    assert!(woken(&set, &mut state, i64::MAX).is_empty());
}

#[test]
fn timers_fall_due_in_order_and_not_before() {
    let (set, mut state) = (rules(TEXT), State::new());
    arm(
        &set,
        &mut state,
        &[
            (300, "high", "a/3", 9),
            (100, "low", "a/1", 9),
            (200, "high", "a/2", 9),
            (200, "low", "a/2", 9),
            (200, "low", "a/4", 0),
            (200, "unmatched", "b", 0),
        ],
    );
    assert_eq!(set.next_wake(&state), Some(100));
    assert!(woken(&set, &mut state, 99).is_empty());
    assert_eq!(woken(&set, &mut state, 100), ["a/1: cloud low/1"]);
    assert_eq!(set.next_wake(&state), Some(200));
    let tied = [
        "a/2: archive high/2",
        "a/2: cloud low/2",
        "a/4: ",
        "b: cloud",
    ];
    assert_eq!(woken(&set, &mut state, 299), tied, "as they were armed");
    assert_eq!(woken(&set, &mut state, 10_000), ["a/3: archive high/3"]);
    assert_eq!(set.next_wake(&state), None);
}

#[test]
fn a_timer_is_counted_and_fails_like_an_event() {
    let set = rules(r#"rule r { on "t" when 1 / v > 0 send to cloud }"#);
    let mut state = State::new();
    arm(&set, &mut state, &[(1, "r", "t", 0), (1, "r", "t", 2)]);
    let woken = woken(&set, &mut state, 1);
    assert!(woken[0].contains("division by zero"), "{woken:?}");
    assert_eq!(woken[1], "t: cloud");
    let counts = &set.counters(&state).rules[0].counts;
    assert_eq!((counts.seen, counts.errors, counts.sent), (2, 1, 1));
}

#[test]
fn only_rules_of_the_set_are_woken_and_only_from_its_own_state() {
    let (set, mut state) = (rules(TEXT), State::new());
    assert!(!set.arm(&mut state, "none", 1, Arc::new(event("a/1", "{}"))));
    arm(&set, &mut state, &[(1, "low", "a/1", 9)]);
    let other = rules(r#"rule low { on "a/{n}" send to cloud }"#);
    assert_eq!(other.next_wake(&state), None);
    assert!(woken(&other, &mut state, 10).is_empty());
}

#[test]
fn timers_armed_at_one_moment_keep_their_order_over_a_reload() {
    let (set, mut state) = (rules(TEXT), State::new());
    arm(
        &set,
        &mut state,
        &[(5, "high", "a/1", 9), (5, "low", "a/1", 9)],
    );
    let after = rules(&format!("rule new {{ on \"n\" send to cloud }}\n{TEXT}"));
    let mut state = after.carry(&set, state);
    arm(&after, &mut state, &[(5, "new", "n", 0)]);
    let expected = ["a/1: archive high/1", "a/1: cloud low/1", "n: cloud"];
    assert_eq!(woken(&after, &mut state, 5), expected);
}
