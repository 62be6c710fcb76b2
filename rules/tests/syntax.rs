//! The tree holds every byte, and nothing a person or a disk writes into a file breaks anything.

use proptest::prelude::*;
use tidegate_rules::diagnostic::Sources;
use tidegate_rules::syntax::parser::parse;
use tidegate_rules::{Destinations, RuleFile, compile};

const EXAMPLE: &str = r#"# Hot presses.
event press_temp version 2 {
  topic "plant/{line}/{press}/temp"   # captures
  temperature float required in -40..400
  unit text default "C"
}
rule hot_press {
  on press_temp, "other/+/#"
  when temperature > 80 and not (unit == "F") or payload.a["b"][0] ?? 3 in [1, 2]
  set severity = if temperature > 120 then "critical" else { level: "w", list: [1, 2s,] }
  drop unit rename seq to n
  limit 1 per 5m
  send to cloud topic "alarms/{line}/{round(temperature, 1)}" key -temperature priority high
}
unmatched { send to dead_letter reason "none" }
test "x" { at 0s "a" { b: 1 } }
"#;

fn check(text: &str) {
    let parsed = parse("a.rules", text);
    assert_eq!(parsed.root().text().to_string(), text);
    let file = RuleFile {
        path: "a.rules".to_owned(),
        text: text.to_owned(),
    };
    let destinations = Destinations::new(["cloud"]);
    if let Err(errors) = compile(&[file], &destinations) {
        assert!(errors.iter().any(|error| error.is_error()));
        for error in &errors {
            let end = error.span.end;
            assert!(error.span.start <= end && end <= text.len(), "{error:?}");
            let picture = error.render(&Sources::new([("a.rules", text)]), true);
            assert!(!picture.is_empty());
        }
    } else {
        assert!(parsed.errors.is_empty());
    }
}

#[test]
fn every_start_of_a_file_is_held_in_full() {
    for end in 0..=EXAMPLE.len() {
        check(&EXAMPLE[..end]);
        check(&EXAMPLE[end..]);
    }
}

#[test]
fn a_file_without_one_of_its_tokens_is_held_in_full() {
    for (at, sign) in EXAMPLE.match_indices(|c: char| !c.is_whitespace()) {
        let mut text = EXAMPLE.to_owned();
        text.replace_range(at..at + sign.len(), "");
        check(&text);
    }
}

/// Words and signs of the language in any order: far more often nearly right than random bytes.
fn soup() -> impl Strategy<Value = String> {
    let words: Vec<&str> = "event rule unmatched test lookup on by when set drop rename send emit \
        limit settle sample deadband window pattern while if then else and or not in true false \
        for until to topic key priority reason required optional default version float int text a \
        temperature cloud high exists round 1 2.5 30s \"a/{b}\" \"x\" \"open { } ( ) [ ] , : . .. = \
        == != < <= > >= + - * / % ?? && || ! # \n ; ' undefined late keys at most renamed from"
        .split(' ')
        .collect();
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_held_in_full(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_bytes_are_held_in_full(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_order_of_words_is_held_in_full(text in soup()) {
        check(&text);
        let inside = format!("rule r {{ on \"a\" {text}\n send to cloud }}");
        check(&inside);
    }
}
