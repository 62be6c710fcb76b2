//! Two declarations of one event are an error with both places; what only looks alike is none.

use tidegate_rules::{Destinations, RuleFile, compile};

/// What is said of two declarations on these topics, in two files.
fn said(one: &str, other: &str) -> Vec<String> {
    let file = |name: &str, topic: &str| RuleFile {
        path: format!("rules/{name}.rules"),
        text: format!(
            "# {name}\nevent {name} {{ topic \"{topic}\" v float }}\nrule on_{name} {{ on {name} send to cloud }}\n"
        ),
    };
    let files = [file("one", one), file("other", other)];
    match compile(&files, &Destinations::new(["cloud"])) {
        Ok(checked) => {
            assert_eq!(checked.warnings, []);
            Vec::new()
        }
        Err(errors) => {
            let told = errors
                .iter()
                .map(|e| format!("{} [{}]", e.short(), e.notes.join("; ")));
            told.collect()
        }
    }
}

#[test]
fn overlapping_declarations_are_an_error_with_both_places() {
    // Both topics, and what both take.
    let cases = [
        ("a/b", "a/b", "a/b"),
        ("a/{x}", "a/b", "a/b"),
        ("a/b", "a/{x}", "a/b"),
        ("a/{x}", "a/{y}", "a/+"),
        ("{x}/b", "a/{y}", "a/b"),
        ("a/{rest...}", "a/b/c", "a/b/c"),
        ("a/#", "a", "a"),
        ("a", "a/#", "a"),
        ("a/{rest...}", "{x}/b/{more...}", "a/b/#"),
        ("#", "a/+/c", "a/+/c"),
        ("a/+/c", "#", "a/+/c"),
        ("+/+", "#", "+/+"),
        ("#", "#", "#"),
        ("a/+/c/#", "a/b/+/d", "a/b/c/d"),
        ("$SYS/#", "$SYS/broker/{what}", "$SYS/broker/+"),
        ("a//b", "a/+/b", "a//b"),
    ];
    for (one, other, both) in cases {
        let label = "an event has one declaration: make one topic narrower";
        assert_eq!(
            said(one, other),
            [format!(
                "rules/other.rules:2:21: error: events `one` and `other` are declared for the same topics ({label}) [`one` is declared at rules/one.rules:2; both take `{both}`]"
            )],
            "{one} and {other}"
        );
    }
}

#[test]
fn declarations_that_share_no_topic_stand_side_by_side() {
    let cases = [
        ("a/b", "a/c"),
        ("a/{x}", "a/b/c"),
        ("a/{x}", "b/{x}"),
        ("a", "a/b"),
        ("a/+", "a"),
        ("a/b/#", "a/c/#"),
        ("a/+/c", "a/b/d"),
        ("#", "$SYS/broker"),
        ("$SYS/broker", "#"),
        ("+/broker", "$SYS/broker"),
        ("$SYS/broker", "+/broker"),
        ("$SYS/#", "#"),
        ("a/b", "A/b"),
        ("a/b", "a/b/"),
    ];
    for (one, other) in cases {
        assert_eq!(said(one, other), [""; 0], "{one} and {other}");
    }
}

#[test]
fn each_of_many_overlapping_declarations_is_told_once() {
    let declare = |at: usize| format!("event e{at} {{ topic \"a/+/{}\" v int }}\n", at % 2);
    let text: String = (0..6).map(declare).collect();
    let file = RuleFile {
        path: "rules/a.rules".to_owned(),
        text,
    };
    let found = compile(&[file], &Destinations::new(["cloud"])).expect_err("they overlap");
    let errors = found.iter().filter(|found| found.is_error());
    let said: Vec<String> = errors
        .map(|error| format!("{}: {}", error.line, error.notes.join("; ")))
        .collect();
    let expected = [(3, 0), (4, 1), (5, 0), (6, 1)].map(|(line, first)| {
        format!(
            "{line}: `e{first}` is declared at rules/a.rules:{}; both take `a/+/{first}`",
            first + 1
        )
    });
    assert_eq!(said, expected);
}
