//! What rules decide about events.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_rules::decision::{Decision, Destination, Priority};
use tidegate_rules::event::Event;
use tidegate_rules::{Destinations, RuleFile, RuleSet, State, compile};

fn destinations() -> Destinations {
    Destinations::new(["dead_letter", "cloud", "archive"])
}

fn rules(text: &str) -> RuleSet {
    let file = RuleFile {
        path: "rules/test.rules".to_owned(),
        text: text.to_owned(),
    };
    match compile(&[file], &destinations()) {
        Ok(checked) => checked.rules,
        Err(errors) => panic!("{errors:#?}"),
    }
}

fn event(topic: &str, data: &str) -> Event {
    Event {
        id: "1".into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: topic.into(),
        publisher: "press7".into(),
        time: None,
        received: 1_000,
        content_type: None,
        schema: None,
        extensions: vec![(Arc::from("sequence"), Arc::from("7"))],
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

fn decide(rules: &RuleSet, event: &Event) -> Decision {
    let mut decision = Decision::default();
    rules.step(&mut State::new(), 1_000, event, &mut decision);
    decision
}

const PRESS: &str = r#"
event press_temp version 2 {
  topic "plant/{line}/{press}/temp"
  temperature float required in -40..400
  unit        text  default "C"
  seq         int   optional
}
"#;

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
    let [output] = decision.outputs.as_slice() else {
        panic!("{decision:?}");
    };
    assert_eq!(output.destination, Destination(1));
    assert_eq!(output.priority, Priority::High);
    assert_eq!(output.topic.as_deref(), Some("alarms/A/press7"));
    assert_eq!(output.key.as_deref(), Some("press7"));
    assert_eq!(
        output.data.as_deref(),
        Some(br#"{"temperature":81.5,"x":[1, 2],"severity":"warning"}"#.as_slice())
    );
    let cold = event("plant/A/press7/temp", r#"{"temperature": 20}"#);
    assert_eq!(decide(&rules, &cold).outputs, []);
}
