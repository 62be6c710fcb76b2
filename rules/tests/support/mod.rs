//! Rules, events and decisions in few words.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use bytes::Bytes;
use tidegate_rules::decision::{Addressed, Decision};
use tidegate_rules::event::{Event, Extension};
use tidegate_rules::{Destinations, RuleFile, RuleSet, State, compile};

/// Place 1 is `cloud`, place 2 is `archive`.
pub fn destinations() -> Destinations {
    Destinations::new(["dead_letter", "cloud", "archive"])
}

/// The rules in `text`, which must be right.
#[track_caller]
pub fn rules(text: &str) -> RuleSet {
    let file = RuleFile {
        path: "rules/test.rules".to_owned(),
        text: text.to_owned(),
    };
    match compile(&[file], &destinations()) {
        Ok(checked) => checked.rules,
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(|error| error.short()).collect();
            panic!("{}\n{text}", lines.join("\n"));
        }
    }
}

/// An event with a payload that looks like JSON or not.
pub fn event(topic: &str, data: &str) -> Event {
    Event {
        id: "e1".into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: topic.into(),
        publisher: "press7".into(),
        time: Some(1_791_806_602_118.into()),
        received: 1_791_806_603_000,
        content_type: None,
        schema: None,
        extensions: vec![Extension::text("sequence", "7")],
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..Event::default()
    }
}

/// What `rules` decide about one event, with nothing before it.
pub fn decide(rules: &RuleSet, event: &Event) -> Decision {
    let mut decision = Decision::default();
    rules.step(&mut State::new(), event.received, event, &mut decision);
    decision
}

/// Where to, and why or what: `cloud`, `cloud {"a":1}`, `dead_letter: reason`.
pub fn told(outputs: &[Addressed]) -> Vec<String> {
    let known = destinations();
    let tell = |addressed: &Addressed| {
        let name = known.name(addressed.destination).unwrap_or("?");
        let (mut text, output) = (name.to_owned(), &addressed.output);
        if let Some(topic) = &output.topic {
            text += &format!(" {topic}");
        }
        if let Some(data) = &output.data {
            text += &format!(" {}", String::from_utf8_lossy(data));
        }
        if let Some(reason) = &output.reason {
            text += &format!(": {reason}");
        }
        text
    };
    outputs.iter().map(tell).collect()
}

/// A declaration to make mistakes about.
pub const PRESS: &str = r#"event press_temp {
  topic "plant/{line}/{press}/temp"
  temperature float required
  unit        text  default "C"
  held        duration
  seq         int
}
"#;

/// All complaints about `text` as one line each.
pub fn complaints(text: &str) -> Vec<String> {
    let file = RuleFile {
        path: "a.rules".to_owned(),
        text: text.to_owned(),
    };
    let found = match compile(
        &[file],
        &Destinations::new(["dead_letter", "cloud", "archive"]),
    ) {
        Ok(checked) => checked.warnings,
        Err(errors) => errors,
    };
    found.iter().map(|complaint| complaint.short()).collect()
}

/// Complaints about a rule with these `clauses`, which start at line 2.
pub fn about(clauses: &str) -> Vec<String> {
    let text = format!("rule r {{ on press_temp\n{clauses}\nsend to cloud }}\n{PRESS}");
    complaints(&text)
}
