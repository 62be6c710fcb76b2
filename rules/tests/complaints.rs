//! The exact words of every complaint about a rule file.

mod support;

use support::{about, complaints};

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (clauses, expected) in cases {
        let found = about(clauses);
        assert_eq!(found, [*expected], "{clauses}");
    }
}

#[test]
fn types_do_not_mix_and_the_way_out_is_shown() {
    check(&[
        (
            "when temperature > \"120\"",
            "a.rules:2:20: error: comparing float with text (write 120 without quotes)",
        ),
        (
            "when held > 30",
            "a.rules:2:13: error: comparing duration with int (write 30s for seconds)",
        ),
        (
            "when temperature > 30s",
            "a.rules:2:20: error: comparing float with duration (write 30 without a unit)",
        ),
        (
            "when unit == 5",
            "a.rules:2:14: error: comparing text with int (write \"5\" in quotes)",
        ),
        (
            "when temperature",
            "a.rules:2:6: error: a condition needs bool, this is float",
        ),
        (
            "set seq = temperature",
            "a.rules:2:11: error: `seq` needs int, this is float (write round(temperature))",
        ),
        (
            "set unit = seq",
            "a.rules:2:12: error: `unit` needs text, this is int (write text(seq))",
        ),
        (
            "set label = unit + \"!\"",
            "a.rules:2:13: error: adding text and text (write concat(unit, \"!\"))",
        ),
        (
            "when seq in [1, \"2\"]",
            "a.rules:2:17: error: comparing int with text (write 2 without quotes)",
        ),
        (
            "when seq in 9..1",
            "a.rules:2:13: error: this range is empty: the lower end goes first",
        ),
        (
            "set x = if seq > 1 then 1 else \"many\"",
            "a.rules:2:32: error: `then` gives int and `else` gives text (both need one type)",
        ),
        ("set x = 1 / 0", "a.rules:2:9: error: division by zero"),
        (
            "set x = temperature.max",
            "a.rules:2:21: error: a float has no members",
        ),
        (
            "when lower(seq) == \"a\"",
            "a.rules:2:12: error: `lower` needs text, this is int (write text(seq))",
        ),
        (
            "when matches(unit, \"[\")",
            "a.rules:2:20: error: this is no regular expression: unclosed character class",
        ),
        (
            "when round() > 1",
            "a.rules:2:6: error: `round` with 0 arguments (write round(x) or round(x, digits))",
        ),
    ]);
}

#[test]
fn there_is_one_way_to_write_each_thing() {
    check(&[
        (
            "when seq > 1 && seq < 3",
            "a.rules:2:14: error: `&&` is written `and` (write `and`)",
        ),
        (
            "when seq > 1 || seq < 3",
            "a.rules:2:14: error: `||` is written `or` (write `or`)",
        ),
        (
            "when !exists(seq)",
            "a.rules:2:6: error: `!` is written `not` (write `not`)",
        ),
        (
            "when seq = 3",
            "a.rules:2:10: error: `=` sets a field; to compare write `==` (did you mean `==`?)",
        ),
        (
            "set x == 3",
            "a.rules:2:7: error: `==` compares; to set a field write `=` (did you mean `=`?)",
        ),
        (
            "when 1 < seq < 3",
            "a.rules:2:14: error: comparisons do not chain (write `x in 1..10`, or two comparisons with `and`)",
        ),
        (
            "when unit == 'C'",
            "a.rules:2:14: error: `'C'` means nothing here (text stands in straight double quotes)",
        ),
        (
            "when seq > 1;",
            "a.rules:2:13: error: `;` means nothing here",
        ),
        (
            "when unit == \"C",
            "a.rules:2:14: error: this text is not closed (a `\"` is missing at the end of the line)",
        ),
        (
            "when held > 30sec",
            "a.rules:2:13: error: `30sec` means nothing here (numbers are written 30 or 0.5, durations 250ms, 30s, 1m30s, 24h, 7d)",
        ),
        (
            "when seq == null",
            "a.rules:2:13: error: there is no `null` (write `exists(x)` or `not exists(x)`)",
        ),
        (
            "set x = \"a\\qb\"",
            "a.rules:2:11: error: `\\q` stands for nothing (write `\\\\` for a backslash)",
        ),
    ]);
}

#[test]
fn names_that_are_not_known_are_errors_with_a_suggestion() {
    check(&[
        (
            "drop sequence, unit",
            "a.rules:2:6: error: unknown field `sequence` in event press_temp",
        ),
        (
            "send to cloud topic \"alarms/{lin}\"",
            "a.rules:2:30: error: unknown field `lin` in event press_temp (did you mean `line`?)",
        ),
        (
            "send to cloud topic \"alarms/{line\"",
            "a.rules:2:29: error: this `{` is not closed (write `\\{` for a brace that is sent as it is)",
        ),
        (
            "send to cloud topic \"alarms/#\"",
            "a.rules:2:21: error: a topic to send to cannot contain `+`, `#` or NUL",
        ),
        (
            "send to cloud key pres",
            "a.rules:2:19: error: unknown field `pres` in event press_temp (did you mean `press`?)",
        ),
        (
            "when start_with(unit, \"C\")",
            "a.rules:2:6: error: unknown function `start_with` (did you mean `starts_with`?)",
        ),
        (
            "drop unit set x = unit",
            "a.rules:2:19: error: `unit` is not there any more at this line",
        ),
        (
            "set line = \"B\"",
            "a.rules:2:5: error: `line` is a part of the topic and cannot be set",
        ),
        (
            "send to cloud priority hgih",
            "a.rules:2:24: error: unknown priority `hgih` (did you mean `high`?)",
        ),
    ]);
}

#[test]
fn clauses_to_come_are_errors_that_say_so() {
    let later = [
        ("by press", "by", 1),
        ("limit 1 per 5m", "limit", 1),
        ("settle 2s", "settle", 1),
        ("sample every 10s", "sample", 1),
        ("deadband temperature by 0.5 refresh 1h", "deadband", 1),
        ("window tumbling 5m grace 30s", "window", 1),
        ("emit line_stats { line, n: 1 }", "emit", 1),
        ("while offline flow hold up to 10m", "while", 1),
        ("undefined to dead_letter", "undefined", 1),
        ("late to archive", "late", 1),
        ("keys at most 100", "keys", 1),
        ("renamed from old_rule", "renamed", 1),
        (
            "pattern { start: a by b when c then no d: e by f }",
            "pattern",
            1,
        ),
        ("when temperature > 80 for 2m", "for", 23),
        ("when temperature > 80 until temperature < 75", "until", 23),
    ];
    for (clause, word, column) in later {
        let expected = format!(
            "a.rules:2:{column}: error: `{word}` is not supported yet by this version (take this out for now)"
        );
        assert_eq!(about(clause), [expected], "{clause}");
    }
    let items = "test \"x\" { at 0s \"t\" { a: 1 } }\nlookup l from \"l.csv\" key k\n";
    assert_eq!(
        complaints(items),
        [
            "a.rules:1:1: error: `test` is not supported yet by this version (take this out for now)",
            "a.rules:2:1: error: `lookup` is not supported yet by this version (take this out for now)",
        ]
    );
}

#[track_caller]
fn check_files(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let found = complaints(text);
        let errors: Vec<&String> = found
            .iter()
            .filter(|line| line.contains(" error: "))
            .collect();
        assert_eq!(
            errors,
            [&format!("a.rules:{expected}")],
            "{text}\n{found:#?}"
        );
    }
}

#[test]
fn declarations_are_checked_too() {
    let cases = [
        (
            "event e { a float }",
            "1:7: error: event `e` has no topic (write `topic \"plant/{line}/temp\"` inside)",
        ),
        (
            "event e { topic \"a/b#\" }",
            "1:17: error: `#` matches all remaining levels and must be the last level",
        ),
        (
            "event e { topic \"a/{b}c\" }",
            "1:17: error: `{b}c` is no capture: write `{name}` as a whole level, or `{name...}` as the last",
        ),
        (
            "event e { topic \"t\" a string }",
            "1:23: error: unknown type `string` (did you mean `text`?)",
        ),
        (
            "event e { topic \"t\" a int a int }",
            "1:27: error: field `a` is declared twice",
        ),
        (
            "event e { topic \"t/{a}\" a int }",
            "1:25: error: `a` is a part of the topic already (rename the capture in the topic)",
        ),
        (
            "event e { topic \"t\" a int default \"x\" }",
            "1:35: error: the field needs int, this is text",
        ),
        (
            "event e { topic \"t\" a int in 5..1 }",
            "1:30: error: this range is empty: the lower end goes first",
        ),
        (
            "event e { topic \"t\" a int default 9 in 1..5 }",
            "1:35: error: the default is outside the range of the field",
        ),
        (
            "event e { topic \"t\" a int required default 9 }",
            "1:21: error: field `a` is required, so it needs no default",
        ),
        (
            "event e { topic \"t\" }\nevent e { topic \"u\" }",
            "2:7: error: event `e` is declared twice",
        ),
    ];
    check_files(&cases);
}

#[test]
fn the_frame_of_a_rule_is_checked_too() {
    let cases = [
        (
            "rule r { send to cloud }",
            "1:6: error: rule `r` has no `on` (the first line says which events it takes: `on press_temp`)",
        ),
        (
            "rule r { on nothing send to cloud }",
            "1:13: error: unknown event `nothing` (declare it, or write a topic in quotes)",
        ),
        (
            "rule r { on \"a\" on \"b\" send to cloud }",
            "1:17: error: a rule has one `on`, and it is the first line (several events go into one `on`, with commas)",
        ),
        (
            "rule r { on \"a\" send to cloud }\nrule r { on \"b\" send to cloud }",
            "2:6: error: there are two rules called `r`",
        ),
        (
            "rule r { on \"a\" send to cloud",
            "1:30: error: expected `}` to close this rule (the file ends here)",
        ),
        (
            "rule r { on \"a\" send to cloud\nrule q { on \"a\" send to cloud }",
            "2:1: error: expected `}` to close this rule (before this)",
        ),
        (
            "unmatched { on \"a\" send to cloud }",
            "1:13: error: `unmatched` takes the events no rule is `on` (take this line out)",
        ),
        (
            "rulle r { on \"a\" }",
            "1:1: error: expected `event`, `rule` or `unmatched`, found `rulle` (did you mean `rule`?)",
        ),
        ("}", "1:1: error: this `}` closes nothing"),
    ];
    check_files(&cases);
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let cases = [
        (
            "rule r { on \"a\" when 1 > 2 send to cloud }",
            "1:22: warning: this condition is never true: nothing gets past it",
        ),
        (
            "rule r { on \"a\" when true send to cloud }",
            "1:22: warning: this condition is always true",
        ),
        (
            "rule r { on \"a\" when topic == \"a\" }",
            "1:6: warning: rule `r` sends nothing (its events count as dropped by rule)",
        ),
        ("event e { topic \"t\" }", "1:7: warning: no rule is `on e`"),
        (
            "rule r { on \"a/+\" when temperature > 2 send to cloud }",
            "1:13: warning: no `event` declares this topic, so its fields are not checked",
        ),
        (
            "event e { topic \"a\" x int in 0..9 y float } rule r { on e when y > 5 when 3 > y and x > 1 send to cloud }",
            "1:75: warning: no `y` can pass this and what is above or declared",
        ),
        (
            "event e { topic \"a\" x int in 0..9 } rule r { on e when x in 10..20 send to cloud }",
            "1:56: warning: no `x` can pass this and what is above or declared",
        ),
        (
            "rule r { on \"a\" set topic = \"b\" send to cloud }",
            "1:21: warning: this sets a field of the payload, not the event's `topic` (to send under another topic: `send to … topic \"…\"`)",
        ),
        (
            "rule r { on \"a\" send to cloud reason \"x\" }",
            "1:38: warning: a reason is kept for dead letters only",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(complaints(text), [format!("a.rules:{expected}")], "{text}");
    }
}

#[test]
fn characters_that_mqtt_does_not_carry_are_found_in_what_is_sent_to() {
    for character in [
        "\u{1}",
        "\\n",
        "\\t",
        "\u{1f}",
        "\u{7f}",
        "\u{85}",
        "\u{9f}",
        "\u{fdd0}",
        "\u{ffff}",
        "\u{1fffe}",
    ] {
        let code = match character {
            "\\n" => 0xa,
            "\\t" => 0x9,
            literal => u32::from(literal.chars().next().expect("one")),
        };
        for topic in [format!("a{character}"), format!("{{line}}/{character}b")] {
            let found = about(&format!("send to cloud topic \"{topic}\""));
            let named = format!("cannot contain U+{code:04X}, which MQTT does not carry");
            assert!(
                found.iter().any(|said| said.contains(&named)),
                "{topic:?}: {found:?}"
            );
        }
    }
    assert_eq!(
        about("send to cloud topic \"grün/{line}/🌡\""),
        Vec::<String>::new()
    );
}
