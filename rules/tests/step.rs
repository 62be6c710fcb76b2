//! What rules decide about events, and what they count.

mod support;

use support::{decide, destinations, event, rules, told};
use tidegate_rules::decision::{Addressed, Decision, Destination, Priority};
use tidegate_rules::event::Event;
use tidegate_rules::{RuleSet, State, compile};

const PRESS: &str = r#"
event press_temp version 2 {
  topic "plant/{line}/{press}/temp"
  temperature float required in -40..400
  unit        text  default "C"
  seq         int   in 0..1000
}
"#;

fn outputs(rules: &RuleSet, event: &Event) -> Vec<String> {
    told(&decide(rules, event).outputs)
}

#[test]
fn a_rule_sends_what_its_condition_lets_through() {
    let rules = rules(&format!(
        "{PRESS} rule hot {{ on press_temp
           when temperature > 80 and starts_with(topic, \"plant/\")
           set severity = if temperature > 120 then \"critical\" else \"warning\"
           drop seq
           send to cloud priority high topic \"alarms/{{line}}/{{press}}\" key press }}"
    ));
    let hot = event(
        "plant/A/press7/temp",
        r#"{ "seq": 4, "temperature" : 81.5,"x":[1, 2] }"#,
    );
    let decision = decide(&rules, &hot);
    assert!(decision.matched);
    let [
        Addressed {
            destination,
            output,
        },
    ] = decision.outputs.as_slice()
    else {
        panic!("{decision:?}");
    };
    assert_eq!(*destination, Destination(1));
    assert_eq!(output.priority, Priority::High);
    assert_eq!(output.key.as_deref(), Some("press7"));
    assert_eq!(output.rule.as_deref(), Some("hot"));
    assert_eq!(
        told(&decision.outputs),
        [r#"cloud alarms/A/press7 { "temperature" : 81.5,"x":[1, 2],"severity":"warning" }"#]
    );
    let cold = event("plant/A/press7/temp", r#"{"temperature": 20}"#);
    let decision = decide(&rules, &cold);
    assert!(decision.matched && decision.outputs.is_empty());
}

#[test]
fn an_unchanged_payload_leaves_as_it_came() {
    let rules = rules("rule all { on \"#\" when payload.a > 0 send to cloud }");
    let odd = event("t", " {\"a\" :1.0} ");
    assert_eq!(decide(&rules, &odd).outputs[0].output.data, None);
}

#[test]
fn an_event_that_breaks_its_declaration_is_one_dead_letter() {
    let rules = rules(&format!(
        "{PRESS} rule a {{ on press_temp send to cloud }} rule b {{ on press_temp send to archive }}
         rule c {{ on \"plant/#\" send to archive }}"
    ));
    let cases = [
        (r#"{}"#, "is required and missing"),
        (r#"{"temperature":null}"#, "is required and missing"),
        (
            r#"{"temperature":1e999}"#,
            "is required, and its value 1e999 is none that rules can read",
        ),
        (
            r#"{"temperature":1,"temperature":NaN}"#,
            "is required, and its value NaN is none that rules can read",
        ),
        (r#"{"temperature":401}"#, "is 401.0, outside -40.0..400.0"),
        (r#"{"temperature":"hot"}"#, "is text (hot), declared float"),
        (
            r#"{"temperature":20"#,
            "is required, and the payload is not JSON: expected `,` or `}` at byte 17",
        ),
        ("hello", "is required, and the payload is not JSON"),
    ];
    for (data, why) in cases {
        let expected = format!(
            "dead_letter: rules/test.rules:2: field `temperature` of event press_temp {why}"
        );
        let found = outputs(&rules, &event("plant/A/p/temp", data));
        assert_eq!(found, [expected.as_str(), "archive"], "{data}");
    }
    let late = outputs(
        &rules,
        &event("plant/A/p/temp", r#"{"temperature":1,"seq":1001}"#),
    );
    assert!(late[0].ends_with("field `seq` of event press_temp is 1001, outside 0..1000"));
    let fine = outputs(
        &rules,
        &event("plant/A/p/temp", r#"{"temperature":-40,"seq":5.0}"#),
    );
    assert_eq!(fine, ["cloud", "archive", "archive"]);
}

#[test]
fn an_evaluation_error_is_a_dead_letter_and_other_rules_still_run() {
    let rules = rules(
        "rule ratio {\n  on \"t\"\n  send to archive\n  when a / b > 1\n  send to cloud\n}\n\
         rule plain { on \"t\" send to cloud }",
    );
    assert_eq!(
        outputs(&rules, &event("t", r#"{"a":3,"b":0}"#)),
        [
            "archive",
            "dead_letter: rules/test.rules:4:8: division by zero in `a / b` (a=3, b=0)",
            "cloud",
        ]
    );
}

#[test]
fn an_event_makes_one_dead_letter_for_all_rules_that_fail_on_it_and_one_for_its_declaration() {
    let mut text = String::new();
    for n in 0..1000 {
        text += &format!("rule r{n} {{ on \"t\" when a / b > {n} send to cloud }}\n");
    }
    text += "event one { topic \"t\"\n a float required in 5..9\n b float\n c float required }\n";
    text +=
        "rule declared { on one send to cloud }\nrule declared_too { on one send to archive }\n";
    let sent = decide(&rules(&text), &event("t", r#"{"a":3,"b":0}"#));
    let of: Vec<_> = sent
        .outputs
        .iter()
        .map(|sent| sent.output.rule.as_deref().unwrap_or_default())
        .collect();
    assert_eq!(of, ["event one", "r0"]);
    let said = sent.outputs[1].output.reason.as_deref().unwrap_or_default();
    let expected = "division by zero in `a / b` (a=3, b=0); and 999 more rules failed";
    assert!(said.ends_with(expected), "{said}");
}

#[test]
fn a_topic_that_cannot_be_made_is_a_dead_letter() {
    let rules = rules("rule r { on \"t\" send to cloud topic \"x/{a}\" }");
    let cases = [
        (r#"{"a":1}"#, "cloud x/1"),
        (
            r#"{}"#,
            "dead_letter: rules/test.rules:1:25: the topic needs `a`, which is undefined, in `cloud`",
        ),
        (
            r##"{"a":"#"}"##,
            "dead_letter: rules/test.rules:1:25: not a valid topic to send to in `cloud` (topic=x/#)",
        ),
    ];
    for (data, expected) in cases {
        assert_eq!(outputs(&rules, &event("t", data)), [expected], "{data}");
    }
}

#[test]
fn a_payload_that_is_not_json_passes_untouched_with_its_fields_undefined() {
    let rules = rules(
        "rule a { on \"t\" when exists(x) send to cloud }
         rule b { on \"t\" send to archive }
         rule c { on \"t\" when publisher == \"press8\" set y = 1 send to cloud }",
    );
    let mut cbor = event("t", "{\"x\":1}");
    cbor.content_type = Some("application/cbor".into());
    assert_eq!(outputs(&rules, &cbor), ["archive"]);
    cbor.content_type = Some("application/vnd.x+json; charset=utf-8".into());
    assert_eq!(outputs(&rules, &cbor), ["cloud", "archive"]);
    cbor.content_type = Some("application/cbor".into());
    cbor.publisher = "press8".into();
    assert_eq!(
        outputs(&rules, &cbor)[1],
        "dead_letter: rules/test.rules:3:71: cannot change a payload of content type application/cbor: in `cloud`"
    );
    let mut binary = event("t", "");
    binary.data = vec![0xFF, 0xFE, 0x00].into();
    assert_eq!(outputs(&rules, &binary), ["archive"]);
}

#[test]
fn a_bare_number_is_a_payload_too() {
    let rules = rules("rule r { on \"t\" when payload > 20 send to cloud }");
    assert_eq!(outputs(&rules, &event("t", "21.5")), ["cloud"]);
    assert_eq!(outputs(&rules, &event("t", " 7 ")), Vec::<String>::new());
    assert_eq!(outputs(&rules, &event("t", "ON")), Vec::<String>::new());
}

#[test]
fn a_content_type_that_says_little_silences_no_rule() {
    let rules = rules("rule hot { on \"t\" when payload.v > 80 send to cloud }");
    let hot = "{\"v\": 98}";
    let cases = [
        (None, hot, true),
        (Some("application/json"), hot, true),
        (Some("application/x-www-form-urlencoded"), hot, true),
        (Some("text/plain"), hot, true),
        (Some("text/plain; charset=utf-8"), hot, true),
        (Some("application/octet-stream"), hot, true),
        (Some("json"), hot, true),
        (Some(""), hot, true),
        (Some("text/plain"), "[INFO] v = 98", false),
        (Some("text/plain"), "98", false),
        (Some("APPLICATION/JSON"), hot, true),
        (Some("application/json;charset=UTF-8"), hot, true),
        (Some("application/json"), "\u{feff}{\"v\": 98}", true),
        (None, "\u{feff} {\"v\": 98}", true),
        (Some("text/plain"), "\u{feff}{\"v\": 98}", true),
        (Some("application/vnd.x+json"), hot, true),
        (Some("application/cbor"), hot, false),
        (Some("image/png"), hot, false),
    ];
    for (content_type, data, passes) in cases {
        let mut event = event("t", data);
        event.content_type = content_type.map(Into::into);
        let expected: &[&str] = if passes { &["cloud"] } else { &[] };
        assert_eq!(outputs(&rules, &event), expected, "{content_type:?} {data}");
    }
}

#[test]
fn what_nobody_reads_silences_no_rule() {
    let hot = rules("rule hot { on \"t\" when v > 80 send to cloud }");
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let odd: [&[u8]; 16] = [
        br#""\ud800""#,
        br#""\udc00x""#,
        b"1e400",
        b"-1e400",
        b"123456789012345678901234567890123456789012345678901234567890",
        b"NaN",
        b"nan",
        b"-Infinity",
        b"\"21.5 \xb0C\"",
        b"\"half of a letter \xc3\"",
        b"\"tab\there\"",
        b"\"line\nbreak\"",
        b"{\"\xff\": \"\xfe\"}",
        b"null",
        br#"{"v": 1, "v": 2}"#,
        deep.as_bytes(),
    ];
    for odd in odd {
        let around = [
            (&b"{\"odd\": "[..], &b", \"v\": 98}"[..]),
            (b"{\"v\": 98, \"odd\":", b"}"),
        ];
        for (before, behind) in around {
            for kind in [None, Some("application/json"), Some("text/plain")] {
                let mut event = event("t", "");
                event.data = [before, odd, behind].concat().into();
                event.content_type = kind.map(Into::into);
                let shown = String::from_utf8_lossy(&event.data[..event.data.len().min(60)]);
                assert_eq!(outputs(&hot, &event), ["cloud"], "{kind:?} {shown}");
            }
        }
    }
    let twice = event("t", r#"{"v": 1, "v": 98}"#);
    assert_eq!(outputs(&hot, &twice), ["cloud"], "the last of equal names");
}

#[test]
fn what_no_value_stands_for_is_undefined_where_it_is_read_and_leaves_as_it_came() {
    let set = rules(
        "rule there { on \"t\" when exists(v) send to archive }
         rule other { on \"t\" set w = v ?? \"none\" send to cloud }",
    );
    for odd in [
        &b"1e400"[..],
        b"NaN",
        b"\"\xb0C\"",
        b"\"a\tb\"",
        br#""\ud800""#,
    ] {
        let mut event = event("t", "");
        event.data = [b"{\"v\":", odd, b", \"w\":1}"].concat().into();
        let decided = decide(&set, &event);
        assert_eq!(decided.outputs.len(), 1, "{odd:?}");
        let data = decided.outputs[0].output.data.as_deref();
        let expected = [b"{\"v\":", odd, b", \"w\":\"none\"}"].concat();
        assert_eq!(data, Some(&*expected), "{odd:?}");
    }
}

#[test]
fn a_text_that_is_a_number_is_one_whatever_little_its_type_says() {
    let rules = rules("rule r { on \"t\" when payload > 20 send to cloud }");
    for kind in [
        None,
        Some("text/plain"),
        Some("application/octet-stream"),
        Some(""),
    ] {
        let mut event = event("t", " 21.5\n");
        event.content_type = kind.map(Into::into);
        assert_eq!(outputs(&rules, &event), ["cloud"], "{kind:?}");
    }
}

#[test]
fn unmatched_takes_what_no_topic_filter_accepts() {
    let with = rules(
        "rule r { on \"a/+\" when payload.x > 1 send to cloud }
         unmatched { when topic != \"quiet\" send to dead_letter reason \"no rule for {topic}\" }",
    );
    let cases: [(&str, &[&str], bool); 3] = [
        ("a/b", &[], true),
        ("b", &["dead_letter: no rule for b"], false),
        ("quiet", &[], false),
    ];
    for (topic, expected, matched) in cases {
        let decision = decide(&with, &event(topic, "{}"));
        assert_eq!(told(&decision.outputs), expected, "{topic}");
        assert_eq!(decision.matched, matched, "{topic}");
    }
    let without = rules("rule r { on \"a/+\" send to cloud }");
    let decision = decide(&without, &event("b", "{}"));
    assert_eq!((decision.outputs.len(), decision.matched), (0, false));
}

#[test]
fn without_rules_everything_goes_everywhere_but_to_the_dead_letters() {
    let none = compile(&[], &destinations()).expect("nothing is wrong with nothing");
    for set in [none.rules, RuleSet::pass_all(&destinations())] {
        assert!(set.is_empty());
        let decision = decide(&set, &event("any", "bytes"));
        assert_eq!(told(&decision.outputs), ["cloud", "archive"]);
        assert!(decision.matched);
        assert!(
            decision
                .outputs
                .iter()
                .all(|o| o.output.priority == Priority::Normal)
        );
    }
}

#[test]
fn a_rule_on_several_topics_runs_once_with_the_captures_of_the_first_that_fits() {
    let rules = rules(
        "event a { topic \"x/{line}/a\" v float required }
         rule r { on a, \"x/{line}/{rest...}\", \"y/{line}\" when line != \"3\" send to cloud topic \"{line}\" key rest }",
    );
    let sent = |topic: &str, data: &str| {
        let outputs = decide(&rules, &event(topic, data)).outputs;
        let keys: Vec<String> = outputs
            .iter()
            .map(|sent| sent.output.key.as_deref().unwrap_or("no key").to_owned())
            .collect();
        (told(&outputs), keys)
    };
    let one = |text: &str, key: &str| (vec![text.to_owned()], vec![key.to_owned()]);
    assert_eq!(sent("x/1/a", "{\"v\":1.5}"), one("cloud 1", "no key"));
    assert_eq!(sent("x/1/b/c", "{\"v\":1}"), one("cloud 1", "b/c"));
    assert_eq!(sent("y/2", ""), one("cloud 2", "no key"));
}

#[test]
fn every_event_at_a_rule_is_counted_once() {
    let set = rules(
        "rule r { on \"t\" when a > 1 and b / c > 0 set d = e send to cloud send to archive }
         unmatched { send to archive }",
    );
    let mut state = State::new();
    let mut decision = Decision::default();
    let stream = [
        ("t", r#"{"a":0}"#),
        ("t", r#"{"a":2,"b":1,"c":0}"#),
        ("t", r#"{"a":2,"b":1,"c":1}"#),
        ("t", r#"{"b":1,"c":1}"#),
        ("t", "{"),
        ("u", "{}"),
    ];
    for (topic, data) in stream {
        set.step(&mut state, 0, &event(topic, data), &mut decision);
    }
    let counts: Vec<_> = state.rules(&set).collect();
    let (name, r) = counts[0];
    assert_eq!(name, "r");
    assert_eq!(
        (r.seen, r.passed, r.stopped, r.undefined, r.errors, r.sent),
        (5, 1, 1, 2, 1, 2)
    );
    let mut undefined: Vec<(String, u64)> = state
        .undefined(&set, r)
        .map(|(name, count)| (name.to_string(), count))
        .collect();
    undefined.sort();
    assert_eq!(undefined, [("a".to_owned(), 2), ("e".to_owned(), 1)]);
    assert_eq!((counts[1].0, counts[1].1.sent), ("unmatched", 1));
    let totals = state.totals();
    assert_eq!(
        (
            totals.unmatched,
            totals.dropped_unmatched,
            totals.invalid_json
        ),
        (1, 0, 1)
    );
}

#[test]
fn a_state_starts_anew_under_other_rules() {
    let first = rules("rule r { on \"t\" when a > 1 send to cloud }");
    let second =
        rules("rule s { on \"t\" send to archive } rule q { on \"t\" when z == z send to cloud }");
    let mut state = State::new();
    let mut decision = Decision::default();
    first.step(&mut state, 0, &event("t", "{\"a\":2}"), &mut decision);
    second.step(&mut state, 0, &event("t", "{\"z\":2}"), &mut decision);
    assert_eq!(told(&decision.outputs), ["archive", "cloud"]);
    assert_eq!(state.rules(&first).count(), 0);
    assert_eq!(
        state
            .rules(&second)
            .map(|(_, counts)| counts.seen)
            .sum::<u64>(),
        2
    );
}

#[test]
fn a_rule_set_is_known_by_its_texts_and_destinations() {
    let text = "rule r { on \"t\" send to cloud }";
    let first = rules(text);
    assert_eq!(first.fingerprint(), rules(text).fingerprint());
    assert_ne!(
        first.fingerprint(),
        rules(&format!("{text} ")).fingerprint()
    );
    assert_eq!(first.names().collect::<Vec<_>>(), ["r"]);
    assert_eq!((first.rule_count(), first.is_empty()), (1, false));
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&first);
}

#[test]
fn many_topics_are_decided_as_one_would_be() {
    let set = rules("rule r { on \"t/{n}\" when payload == 1 send to cloud topic \"u/{n}\" }");
    let mut state = State::new();
    let mut decision = Decision::default();
    for round in 0..3 {
        for at in 0..20_000 {
            let event = event(&format!("t/{at}"), "1");
            set.step(&mut state, round, &event, &mut decision);
            assert_eq!(
                decision.outputs[0].output.topic.as_deref(),
                Some(format!("u/{at}").as_str())
            );
        }
    }
}
