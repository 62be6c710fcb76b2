//! What a person sees of the mistakes in rule files, all together.

mod support;

use support::{PRESS, about, complaints};
use tidegate_rules::diagnostic::{Sources, render_all};
use tidegate_rules::{Destinations, RuleFile, compile};

#[test]
fn three_mistakes_give_three_errors_with_carets() {
    let text = format!(
        "{PRESS}
rule hot_press {{
  on   press_temp
  when temprature > 80
  set  severity = if temperature > \"120\" then \"critical\" else \"warning\"
  send to clod priority high
}}
"
    );
    let file = RuleFile {
        path: "rules/1_hot_press.rules".to_owned(),
        text: text.clone(),
    };
    let errors = compile(&[file], &Destinations::new(["cloud", "archive"])).expect_err("wrong");
    let sources = Sources::new([("rules/1_hot_press.rules", text.as_str())]);
    let picture = render_all(&errors, &sources, false);
    let expected = r#"error: unknown field `temprature` in event press_temp
  --> rules/1_hot_press.rules:11:8
   |
11 |   when temprature > 80
   |        ^^^^^^^^^^ did you mean `temperature`?
error: comparing float with text
  --> rules/1_hot_press.rules:12:36
   |
12 |   set  severity = if temperature > "120" then "critical" else "warning"
   |                                    ^^^^^ write 120 without quotes
error: unknown destination `clod`
  --> rules/1_hot_press.rules:13:11
   |
13 |   send to clod priority high
   |           ^^^^ did you mean `cloud`?
   |
   = note: destinations are: dead_letter, cloud, archive
3 errors"#;
    assert_eq!(picture, expected, "\n{picture}\n");
}

#[test]
fn mistakes_of_form_are_found_together_with_mistakes_of_meaning() {
    let text = format!(
        "{PRESS}rule a {{\n on press_temp\n wen temperature > 1\n when unti == \"C\"\n send to cloud\n}}\n\
         rule b {{\n on press_temp\n when temperature > \n send to archive priority urgent\n}}\n"
    );
    assert_eq!(
        complaints(&text),
        [
            "a.rules:10:2: error: expected a clause such as `when` or `send to`, found `wen` (did you mean `when`?)",
            "a.rules:11:7: error: unknown field `unti` in event press_temp (did you mean `unit`?)",
            "a.rules:17:2: error: expected a value, found `send`",
            "a.rules:17:27: error: unknown priority `urgent`",
        ]
    );
}

#[test]
fn deep_and_long_expressions_are_refused_without_overflowing_the_stack() {
    let nested = format!("when {}seq{} > 1", "(".repeat(100_000), ")".repeat(100_000));
    let found = about(&nested);
    assert!(
        found[0].contains("nested deeper than 64 levels"),
        "{}",
        found[0]
    );
    let long = format!("when seq {} > 1", "+ 1 ".repeat(50_000));
    assert!(about(&long)[0].contains("too long"));
    let negated = format!("when {}seq > 1", "not ".repeat(100_000));
    assert!(!about(&negated).is_empty());
    let deep = format!("set x = {}1{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(!about(&deep).is_empty());
    let level = format!(
        "({}{}a{}",
        "not ".repeat(60),
        "-".repeat(60),
        ".b".repeat(60)
    );
    for closed in [")", ".c)", " + 1 ?? 2)"] {
        let mixed = format!("when {}1{}", level.repeat(5_000), closed.repeat(5_000));
        assert!(!about(&mixed).is_empty());
        let mixed = format!(
            "when {}a{}",
            "(".repeat(60),
            format!("{}{closed}", ".b".repeat(15)).repeat(60)
        );
        about(&mixed);
    }
    let members = format!("when payload{} > 1", ".a".repeat(50_000));
    assert!(!about(&members).is_empty());
}

#[test]
fn an_oversized_file_is_refused() {
    let found = complaints(&"#".repeat(2 << 20));
    assert_eq!(
        found,
        ["a.rules:1:1: error: a rule file cannot be larger than 1048576 bytes"]
    );
}

#[test]
fn a_complaint_is_json_for_editors() {
    let file = RuleFile {
        path: "a.rules".to_owned(),
        text: "rule r { on \"ä\" send to clod }".to_owned(),
    };
    let errors = compile(&[file], &Destinations::new(["cloud"])).expect_err("wrong");
    let found = serde_json::to_value(&errors[0]).expect("JSON");
    let expected = serde_json::json!({
        "severity": "error", "message": "unknown destination `clod`", "file": "a.rules",
        "span": { "start": 25, "end": 29 }, "line": 1, "column": 25,
        "label": "did you mean `cloud`?", "labels": [],
        "notes": ["destinations are: dead_letter, cloud"],
        "suggestion": { "span": { "start": 25, "end": 29 }, "replacement": "cloud" },
    });
    assert_eq!(found, expected);
}

#[test]
fn complaints_of_all_files_come_in_the_order_of_the_files() {
    let file = |path: &str, text: &str| RuleFile {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file(
            "b.rules",
            "rule r { on e send to nowhere }\nrule q { on \"t\" wen x }",
        ),
        file(
            "a.rules",
            "event e { topic \"t\" x strin }\nrule r { on e when x send to cloud }",
        ),
    ];
    let errors = compile(&files, &Destinations::new(["cloud"])).expect_err("wrong");
    let places: Vec<String> = errors
        .iter()
        .map(|e| format!("{}:{}:{}", e.file, e.line, e.column))
        .collect();
    assert_eq!(
        places,
        [
            "b.rules:1:23",
            "b.rules:2:17",
            "a.rules:1:23",
            "a.rules:2:6"
        ]
    );
}
