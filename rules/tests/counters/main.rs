//! Why a rule did not fire is counted by name: what was undefined, which payloads could not be read, what broke a
//! declaration.

#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use support::{event, rules};
use tidegate_rules::decision::Decision;
use tidegate_rules::event::Event;
use tidegate_rules::{Counters, RuleSet, State, UnreadCounters};

fn run(
    set: &RuleSet,
    state: &mut State,
    events: impl IntoIterator<Item = (i64, Event)>,
) -> Counters {
    let mut decision = Decision::default();
    for (now, event) in events {
        set.step(state, now, &event, &mut decision);
    }
    set.counters(state)
}

fn of(topic: &str, content_type: Option<&str>, data: &[u8]) -> Event {
    let mut event = event(topic, "");
    event.content_type = content_type.map(Into::into);
    event.data = data.to_vec().into();
    event
}

fn names(named: &[(Arc<str>, u64)]) -> Vec<(&str, u64)> {
    named
        .iter()
        .map(|(name, count)| (&**name, *count))
        .collect()
}

#[test]
fn what_a_rule_sent_is_counted_by_destination_and_when_it_last_did() {
    let set = rules(
        "rule r { on \"t\" send to archive when v > 1 send to cloud send to archive }
         rule never { on \"t\" when v > 99 send to cloud }
         rule wrong { on \"t\" when v > 1 send to cloud when 1 / (v - 2) > 0 send to cloud }",
    );
    let mut state = State::new();
    let stream = [(100, "1"), (200, "2"), (300, "0")];
    let stream = stream.map(|(now, v)| (now, of("t", None, format!("{{\"v\":{v}}}").as_bytes())));
    let counters = run(&set, &mut state, stream);
    let [r, never, wrong] = &counters.rules[..] else {
        panic!("{counters:?}");
    };
    assert_eq!(names(&r.sent), [("archive", 4), ("cloud", 1)]);
    assert_eq!((r.counts.sent, r.counts.last_fired), (5, Some(300)));
    assert_eq!(
        (names(&never.sent), never.counts.last_fired),
        (vec![], None)
    );
    assert_eq!(
        (wrong.counts.errors, names(&wrong.sent)),
        (1, vec![("cloud", 1)])
    );
    assert_eq!(wrong.counts.last_fired, Some(200));
}

#[test]
fn what_was_undefined_is_counted_by_its_name() {
    let set = rules(
        "rule r { on \"t\" when a > 1 and b.c > 1 send to cloud }
         rule s { on \"t\" set x = gone set y = payload[\"odd-name\"] send to archive }",
    );
    let stream = [
        r#"{"a":2}"#,
        r#"{"b":{"c":2}}"#,
        "{}",
        r#"{"a":2,"b":{"c":2},"gone":1,"odd-name":1}"#,
    ];
    let stream = stream.map(|data| (0, of("t", None, data.as_bytes())));
    let counters = run(&set, &mut State::new(), stream);
    let mut undefined = counters.rules.iter().map(|rule| {
        let mut all = names(&rule.undefined);
        all.sort_unstable();
        all
    });
    assert_eq!(undefined.next(), Some(vec![("a", 2), ("b.c", 1)]));
    assert_eq!(
        undefined.next().map(|all| all.iter().map(|(_, n)| n).sum()),
        Some(6)
    );
}

#[test]
fn payloads_that_no_rule_could_read_are_counted_by_source_and_content_type() {
    let set = rules(
        "rule r { on \"t\" when v > 1 send to cloud }
         rule any { on \"u\" send to cloud }",
    );
    let json = b"{\"v\":2}";
    let cases: [(Option<&str>, &[u8], u64, u64); 12] = [
        (None, json, 0, 0),
        (Some("application/json"), json, 0, 0),
        (Some("application/x-www-form-urlencoded"), json, 0, 0),
        (Some("application/json"), b"{\"v\":", 1, 0),
        (Some("application/json; charset=utf-8"), b"v=2", 1, 0),
        (Some("application/json"), b"", 1, 0),
        (None, b"{v:2}", 1, 0),
        (None, b"ON", 0, 1),
        (Some("application/x-www-form-urlencoded"), b"v=2", 0, 1),
        (Some("text/plain"), b"{v:2}", 0, 1),
        (Some("application/cbor"), b"\xa1\x61v\x02", 0, 1),
        (Some("text/csv"), json, 0, 1),
    ];
    for (kind, data, not_json, other) in cases {
        let counters = run(
            &set,
            &mut State::new(),
            [(0, of("t", kind, data)), (0, of("u", kind, data))],
        );
        let expected = match not_json + other {
            0 => vec![],
            _ => vec![UnreadCounters {
                source: "plant-a/floor".into(),
                content_type: kind.map(Into::into),
                not_json,
                other,
            }],
        };
        let shown = String::from_utf8_lossy(data);
        assert_eq!(counters.unread, expected, "{kind:?} {shown}");
        assert_eq!(counters.totals.invalid_json, not_json, "{kind:?} {shown}");
    }
}

#[test]
fn sources_and_types_that_are_told_apart_are_bounded() {
    let set = rules("rule r { on \"t\" when v > 1 send to cloud }");
    let events = (0..5_000).map(|n| {
        let mut event = of("t", Some(&format!("application/x{}", n % 2_500)), b"x");
        if n % 100 == 7 {
            event.source = "s".repeat(n).into();
        }
        (0, event)
    });
    let counters = run(&set, &mut State::new(), events);
    assert_eq!(counters.unread.len(), 201);
    assert!(counters.unread.iter().all(|one| one.source.len() <= 256));
    let others: Vec<_> = counters
        .unread
        .iter()
        .filter(|one| &*one.source == UnreadCounters::OTHERS)
        .collect();
    assert_eq!(others.len(), 1);
    assert_eq!(
        counters
            .unread
            .iter()
            .map(|one| one.other + one.not_json)
            .sum::<u64>(),
        5_000
    );
}

#[test]
fn a_broken_declaration_is_counted_by_event_and_field() {
    let text = "event temp { topic \"t/{press}\" celsius float required in -40..400 unit text in [\"C\"] }";
    let text = text.replace(" in [\"C\"]", " required");
    let set = rules(&format!(
        "{text}
         event level {{ topic \"l\" litres int required }}
         rule r {{ on temp send to cloud }} rule s {{ on level send to cloud }}"
    ));
    let stream = [
        ("t/1", r#"{"celsius":20,"unit":"C"}"#),
        ("t/1", r#"{"celsius":900,"unit":"C"}"#),
        ("t/2", r#"{"unit":"C"}"#),
        ("t/2", r#"{"celsius":"hot","unit":7}"#),
        ("t/2", r#"{"celsius":20,"unit":7}"#),
        ("l", "{}"),
        ("l", "["),
    ];
    let mut state = State::new();
    let counters = run(
        &set,
        &mut state,
        stream.map(|(topic, data)| (0, event(topic, data))),
    );
    let broken = |counters: &Counters| {
        let all = counters.broken.iter();
        all.map(|one| (one.event.to_string(), one.field.to_string(), one.count))
            .collect::<Vec<_>>()
    };
    let expected = [
        ("temp", "celsius", 3),
        ("temp", "unit", 1),
        ("level", "litres", 2),
    ];
    let expected =
        expected.map(|(event, field, count)| (event.to_owned(), field.to_owned(), count));
    assert_eq!(broken(&counters), expected);
    assert_eq!(counters.totals.broken_promises, 6);

    let after = rules(
        "event level { topic \"l\" litres int required }
         event other { topic \"o\" x int required }
         event temp { topic \"t/{press}\" unit text required celsius float required in -40..500 }
         rule s { on level send to cloud } rule r { on temp send to cloud } rule o { on other send to cloud }",
    );
    let unread = counters.unread.clone();
    let carried = after.carry(&set, state);
    let counters = after.counters(&carried);
    let mut now = broken(&counters);
    now.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(now, expected, "by their names, over a reload");
    assert_eq!((counters.unread.len(), counters.unread), (1, unread));
    let s = counters
        .rules
        .iter()
        .find(|rule| &*rule.rule == "s")
        .expect("it is there");
    assert_eq!(s.counts.errors, 2, "a rule that says the same goes on");
}
