//! What expressions mean: tables of expressions and their values.

mod support;

use support::{decide, event, rules, told};
use tidegate_rules::decision::Addressed;

const PAYLOAD: &str = r#"{"i": 7, "f": 2.5, "t": "Über-Hall", "yes": true, "no": false, "n": null,
    "l": [1, 2.0, "x", null], "o": {"a": {"b": 5}, "odd-name": 1}, "d": "1m30s",
    "at": "2026-10-12T12:00:00Z", "in": 3, "zero": 0, "big": 9223372036854775807, "celsius": "98.6"}"#;

const DECLARED: &str = r#"
event e {
  topic "declared/{line}/{rest...}"
  i int  f float  t text  yes bool  no bool  n int  l list  o object  d duration  at time
  zero int  big int  missing float
}
"#;

/// The value of `expression` as JSON, "undefined", or the message of the error.
fn value(expression: &str, on: &str) -> String {
    let text =
        format!("{DECLARED} rule r {{ on {on}\n set value = {expression}\n send to cloud }}");
    let decision = decide(&rules(&text), &event("declared/A/b/c", PAYLOAD));
    let [Addressed { output, .. }] = decision.outputs.as_slice() else {
        panic!("{expression}: {decision:?}");
    };
    if let Some(reason) = &output.reason {
        let (_, message) = reason.split_once(": ").expect("place and message");
        return message.to_owned();
    }
    let data = output.data.as_deref().expect("changed");
    let data: serde_json::Value = serde_json::from_slice(data).expect("JSON");
    data.get("value")
        .map_or("undefined".to_owned(), |value| value.to_string())
}

/// Checks expressions on a declared event and on the same event undeclared: both must agree.
#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        assert_eq!(value(expression, "e"), *expected, "{expression}");
        let undeclared = value(expression, "\"declared/{line}/{rest...}\"");
        assert_eq!(undeclared, *expected, "{expression}, undeclared");
    }
}

#[test]
fn numbers_are_calculated_as_on_paper() {
    check(&[
        ("i + 1", "8"),
        ("i - 10 * 2", "-13"),
        ("(i - 10) * 2", "-6"),
        ("i / 2", "3.5"),
        ("i % 4", "3"),
        ("i + f", "9.5"),
        ("-i + -f", "-9.5"),
        ("2.0 * i", "14.0"),
        ("1 + 2 * 3 - 4 / 2", "5.0"),
        ("abs(-i)", "7"),
        ("abs(f - 10)", "7.5"),
        ("round(f)", "3"),
        ("floor(-f)", "-3"),
        ("ceil(f)", "3"),
        ("round(f * 1.111, 2)", "2.78"),
        ("min(i, f, 9)", "2.5"),
        ("max(i, 3)", "7"),
        ("sqrt(i + 9)", "4.0"),
        ("int(\" 42 \") + int(2.9) + int(true)", "45"),
        ("number(\"1.5\") + float(i)", "8.5"),
        ("hash(\"a\")", "3826002220"),
    ]);
}

#[test]
fn comparisons_and_ranges_give_true_or_false() {
    check(&[
        ("i > 6", "true"),
        ("i > 7", "false"),
        ("i >= 7 and f < 3", "true"),
        ("f == 2.5", "true"),
        ("i == 7.0", "true"),
        ("i != 7", "false"),
        ("t == \"Über-Hall\"", "true"),
        ("t < \"a\"", "false"),
        ("yes == true", "true"),
        ("i in 1..7", "true"),
        ("i in 8..9", "false"),
        ("f in -1..2.5", "true"),
        ("i in [1, 7, 9]", "true"),
        ("t in [\"a\", \"b\"]", "false"),
        ("f in [2, 2.5]", "true"),
        ("not i > 6", "false"),
        ("yes or no and no", "true"),
        ("(yes or no) and no", "false"),
        ("not not yes", "true"),
    ]);
}

#[test]
fn missing_data_is_neither_true_nor_false() {
    check(&[
        ("missing > 1", "undefined"),
        ("not missing > 1", "undefined"),
        ("missing > 1 and no", "false"),
        ("no and missing > 1", "false"),
        ("missing > 1 and yes", "undefined"),
        ("missing > 1 or yes", "true"),
        ("yes or missing > 1", "true"),
        ("missing > 1 or no", "undefined"),
        ("missing + 1", "undefined"),
        ("missing in 1..2", "undefined"),
        ("n == 1", "undefined"),
        ("exists(missing)", "false"),
        ("exists(n)", "false"),
        ("exists(i)", "true"),
        ("exists(o.a.b) and not exists(o.a.c)", "true"),
        ("missing ?? 3.5", "3.5"),
        ("missing ?? f ?? 1", "2.5"),
        ("(missing > 1) ?? yes", "true"),
        ("if missing > 1 then 1 else 2", "undefined"),
        ("if yes then i else 2", "7"),
        ("[i, missing]", "undefined"),
        ("{ a: i, b: missing }", "{\"a\":7}"),
    ]);
}

#[test]
fn three_valued_logic_is_kleenes() {
    let words = ["yes", "no", "missing > 1"];
    let kleene = |word: &str| match word {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    let told = |value: Option<bool>| value.map_or("undefined".to_owned(), |v| v.to_string());
    for left in words {
        for right in words {
            let (a, b) = (kleene(left), kleene(right));
            let and = match (a, b) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            let or = match (a, b) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            assert_eq!(
                value(&format!("{left} and {right}"), "e"),
                told(and),
                "{left} and {right}"
            );
            assert_eq!(
                value(&format!("{left} or {right}"), "e"),
                told(or),
                "{left} or {right}"
            );
        }
    }
}

#[test]
fn texts_are_searched_changed_and_put_together() {
    check(&[
        ("len(t)", "9"),
        ("lower(t)", "\"über-hall\""),
        ("upper(t)", "\"ÜBER-HALL\""),
        ("trim(\"  a b \")", "\"a b\""),
        ("contains(t, \"Hall\")", "true"),
        ("starts_with(t, \"Ü\") and ends_with(t, \"ll\")", "true"),
        ("starts_with(topic, \"declared/\")", "true"),
        (r#"matches(t, "^\w+-[A-Z]all$")"#, "true"),
        (r#"matches(t, "\d|\"")"#, "false"),
        ("split(\"a,b,,c\", \",\")", "[\"a\",\"b\",\"\",\"c\"]"),
        ("replace(t, \"-\", \" \")", "\"Über Hall\""),
        (
            "concat(t, \" \", i, \" \", f, \" \", yes)",
            "\"Über-Hall 7 2.5 true\"",
        ),
        ("format(\"{} of {}\", i, 9)", "\"7 of 9\""),
        ("text(i)", "\"7\""),
        ("join([1, \"a\", true], \"-\")", "\"1-a-true\""),
        ("bool(\"true\")", "true"),
        (
            r#""quote \" backslash \\ tab \t sun \u{2600}""#,
            "\"quote \\\" backslash \\\\ tab \\t sun ☀\"",
        ),
    ]);
}

#[test]
fn the_topic_and_the_envelope_are_variables() {
    check(&[
        ("line", "\"A\""),
        ("rest", "\"b/c\""),
        ("topic", "\"declared/A/b/c\""),
        ("source", "\"plant-a/floor\""),
        ("publisher", "\"press7\""),
        ("id", "\"e1\""),
        ("type", "\"reading\""),
        ("subject", "undefined"),
        ("subject ?? \"none\"", "\"none\""),
        ("time", "\"2026-10-12T12:03:22.118Z\""),
        ("received - time", "\"882ms\""),
        ("extension(\"sequence\")", "\"7\""),
        ("extension(\"nothing\")", "undefined"),
    ]);
}

#[test]
fn times_and_durations_keep_their_units() {
    for (expression, expected) in [
        ("d", "\"1m30s\""),
        ("d > 89s", "true"),
        ("d + 30s", "\"2m\""),
        ("d * 2", "\"3m\""),
        ("d / 1.5", "\"1m\""),
        ("d / 30s", "3.0"),
        ("-d", "\"-1m30s\""),
        ("seconds(d)", "90.0"),
        ("time - at", "\"3m22s118ms\""),
        ("time - at > 3m and at + 5m > time", "true"),
        ("at", "\"2026-10-12T12:00:00.000Z\""),
        ("max(d, 1h)", "\"1h\""),
    ] {
        assert_eq!(value(expression, "e"), expected, "{expression}");
    }
}

#[test]
fn lists_and_objects_are_taken_apart_and_made() {
    check(&[
        ("l[0]", "1"),
        ("l[2]", "\"x\""),
        ("l[3]", "undefined"),
        ("l[9]", "undefined"),
        ("o.a.b + 1", "6"),
        ("o[\"odd-name\"]", "1"),
        ("o[lower(\"A\")].b", "5"),
        ("payload.in", "3"),
        ("payload[\"i\"] + payload.f", "9.5"),
        ("o.nothing.deeper", "undefined"),
        ("len(l) + len(o)", "6"),
        ("contains(l, \"x\") and \"x\" in l", "true"),
        ("[i, [f], {}]", "[7,[2.5],{}]"),
        (
            "{ i, \"two words\": t, nested: { yes } }",
            r#"{"i":7,"nested":{"yes":true},"two words":"Über-Hall"}"#,
        ),
        ("o", r#"{"a":{"b":5},"odd-name":1}"#),
    ]);
}

#[test]
fn errors_name_the_expression_and_its_operands() {
    check(&[
        ("i / zero", "division by zero in `i / zero` (i=7, zero=0)"),
        ("i % zero", "division by zero in `i % zero` (i=7, zero=0)"),
        (
            "f / (i - 7)",
            "division by zero in `f / (i - 7)` (f=2.5, (i - 7)=0)",
        ),
        (
            "big + 1",
            "integer overflow in `big + 1` (big=9223372036854775807)",
        ),
        (
            "big * big",
            "integer overflow in `big * big` (big=9223372036854775807, big=9223372036854775807)",
        ),
        (
            "int(t)",
            "not a value for int in `int(t)` (t=\"Über-Hall\")",
        ),
        (
            "float(lower(t))",
            "not a value for float in `float(lower(t))` (lower(t)=\"über-hall\")",
        ),
        (
            "int(concat(t, \"!\"))",
            "not a value for int in `int(concat(t, \"!\"))` (concat(t, \"!\")=\"Über-Hall!\")",
        ),
    ]);
    for (expression, expected) in [
        (
            "t > 3",
            "comparing text with int in `t > 3` (t=\"Über-Hall\")",
        ),
        (
            "t * 2",
            "cannot calculate with text and int in `t * 2` (t=\"Über-Hall\")",
        ),
        (
            "celsius > 30",
            "comparing text with int in `celsius > 30` (celsius=\"98.6\")",
        ),
        (
            "celsius + i",
            "cannot calculate with text and int in `celsius + i` (celsius=\"98.6\", i=7)",
        ),
        ("starts_with(i, \"x\")", "int where text is needed in `i`"),
        ("i.deeper", "undefined"),
        ("l.deeper", "undefined"),
        ("l[\"x\"]", "undefined"),
    ] {
        assert_eq!(
            value(expression, "\"declared/#\""),
            expected,
            "{expression}"
        );
    }
}

#[test]
fn a_rule_is_read_from_top_to_bottom() {
    let text = r#"rule r { on "t"
        send to archive
        set a = a + 1
        when a > 1
        set b = a * 10
        rename b to c
        send to cloud topic "n/{c}"
        drop a, keep
        when c > 30
        send to cloud
    }"#;
    let rules = rules(text);
    let outputs = |data: &str| told(&decide(&rules, &event("t", data)).outputs);
    assert_eq!(outputs(r#"{"a":0,"keep":1}"#), ["archive"]);
    assert_eq!(
        outputs(r#"{"a":1,"keep":1}"#),
        ["archive", r#"cloud n/20 {"a":2,"keep":1,"c":20}"#]
    );
    assert_eq!(
        outputs(r#"{"a":3,"keep":1}"#),
        [
            "archive",
            r#"cloud n/40 {"a":4,"keep":1,"c":40}"#,
            r#"cloud {"c":40}"#
        ]
    );
}

#[test]
fn a_renamed_field_is_read_under_its_new_name_wherever_it_came_from() {
    let text = r#"rule r { on "t" rename temp to celsius when celsius > 20 send to cloud }"#;
    let rules = rules(text);
    let outputs = |data: &str| told(&decide(&rules, &event("t", data)).outputs);
    let cases: [(&str, &[&str]); 5] = [
        (r#"{"temp":21}"#, &[r#"cloud {"celsius":21}"#]),
        (r#"{"celsius":22}"#, &[r#"cloud {"celsius":22}"#]),
        (r#"{"celsius":1,"temp":23}"#, &[r#"cloud {"celsius":23}"#]),
        (
            r#"{"celsius":24,"temp":null}"#,
            &[r#"cloud {"celsius":24}"#],
        ),
        (r#"{"celsius":24,"temp":3}"#, &[]),
    ];
    for (data, expected) in cases {
        assert_eq!(outputs(data), expected, "{data}");
    }
}

#[test]
fn a_set_leaves_every_other_byte_as_it_came() {
    let rules = rules("rule r { on \"t\" set v = 7 send to cloud }");
    let cases: [(&[u8], &[u8]); 12] = [
        (
            br#"{"z": 1.10, "v": 1, "a": 18446744073709551616}"#,
            br#"{"z": 1.10, "v": 7, "a": 18446744073709551616}"#,
        ),
        (
            br#"{"v": 1, "n": [1e400, -0, 1E+2, 1.0]}"#,
            br#"{"v": 7, "n": [1e400, -0, 1E+2, 1.0]}"#,
        ),
        (
            br#"{"a":1,"a":2,"v":3,"v":4}"#,
            br#"{"a":1,"a":2,"v":7,"v":7}"#,
        ),
        (
            b"{\r\n\t\"v\" : 1 ,\r\n\t\"a\" : 2\r\n}\r\n",
            b"{\r\n\t\"v\" : 7 ,\r\n\t\"a\" : 2\r\n}\r\n",
        ),
        (
            b"{\n  \"a\": {\"v\": 1}\n}",
            b"{\n  \"a\": {\"v\": 1},\"v\":7\n}",
        ),
        (br#"{"\u0076": 1}"#, br#"{"\u0076": 7}"#),
        (
            br#"{"s": "\u00e9\/\ud800", "v": 1}"#,
            br#"{"s": "\u00e9\/\ud800", "v": 7}"#,
        ),
        (
            b"{\"s\": \"21 \xb0C\", \"v\": 1}",
            b"{\"s\": \"21 \xb0C\", \"v\": 7}",
        ),
        (
            b"\xef\xbb\xbf {\"v\": 1, \"n\": NaN}",
            b"\xef\xbb\xbf {\"v\": 7, \"n\": NaN}",
        ),
        (br#"{"v": {"deep": [1.10]}}"#, br#"{"v": 7}"#),
        (b"{}", b"{\"v\":7}"),
        (b" { } ", b" {\"v\":7 } "),
    ];
    for (data, expected) in cases {
        let mut event = event("t", "");
        event.data = data.into();
        let decision = decide(&rules, &event);
        let shown = String::from_utf8_lossy(data);
        let changed = decision.outputs[0].output.data.as_deref();
        assert_eq!(
            changed.map(String::from_utf8_lossy),
            Some(String::from_utf8_lossy(expected)),
            "{shown}"
        );
        assert_eq!(changed, Some(expected), "{shown}");
    }
}

#[test]
fn what_a_set_takes_over_keeps_its_bytes() {
    let payload = r#"{"f": 1.10, "n": 7, "big": 18446744073709551616, "far": 1e400, "at": "2026-01-02T03:04:05.1000+05:30", "s": "\u00e9\/", "half": "\ud800", "nothing": null, "no": NaN, "o": {"b": 1, "a": -0, "b": {"x": 1E+2}}, "l": [ 1.0, {"c": 2.50}], "\u0065": 0.10}"#;
    let declared =
        "event d { topic \"t\" f float n int s text default \"none\" o object l list }\n";
    for (on, expression, expected) in [
        ("\"t\"", "big", "18446744073709551616"),
        ("\"t\"", "f", "1.10"),
        ("d", "f", "1.10"),
        ("\"t\"", "far", "1e400"),
        ("\"t\"", "at", r#""2026-01-02T03:04:05.1000+05:30""#),
        ("d", "s", r#""\u00e9\/""#),
        ("\"t\"", "half", r#""\ud800""#),
        ("\"t\"", "e", "0.10"),
        ("d", "o", r#"{"b": 1, "a": -0, "b": {"x": 1E+2}}"#),
        ("\"t\"", "o.a", "-0"),
        ("d", "o.b.x", "1E+2"),
        ("\"t\"", "o.b", r#"{"x": 1E+2}"#),
        ("\"t\"", "o[\"a\"]", "-0"),
        ("d", "l", r#"[ 1.0, {"c": 2.50}]"#),
        ("\"t\"", "l[0]", "1.0"),
        ("d", "l[1].c", "2.50"),
        (
            "\"t\"",
            "[f, n, big, 1 + 1]",
            "[1.10,7,18446744073709551616,2]",
        ),
        (
            "\"t\"",
            "{x: f, y: nothing, z: l[0]}",
            r#"{"x":1.10,"z":1.0}"#,
        ),
        ("\"t\"", "missing ?? f", "1.10"),
        ("\"t\"", "far ?? f", "1.10"),
        ("d", "if f > 1 then f else 0.0", "1.10"),
        ("\"t\"", "if f > 2 then f else 0.5", "0.5"),
        ("d", "f * 1", "1.1"),
        ("\"t\"", "nothing", "undefined"),
        ("\"t\"", "missing", "undefined"),
        ("\"t\"", "no", "undefined"),
        ("\"t\"", "o.missing", "undefined"),
        ("\"t\"", "l[9]", "undefined"),
    ] {
        let rule = format!(
            "{declared}rule r {{ on {on} set copy = {expression}\n set again = copy\n rename again to last\n send to cloud }}"
        );
        let decision = decide(&rules(&rule), &event("t", payload));
        let changed = decision.outputs[0].output.data.clone();
        let changed = changed.map(|data| String::from_utf8_lossy(&data).into_owned());
        let before = payload.trim_end_matches('}');
        let whole = match expected {
            "undefined" => payload.to_owned(),
            json => format!(r#"{before},"copy":{json},"last":{json}}}"#),
        };
        assert_eq!(changed.as_deref(), Some(&*whole), "{on} {expression}");
    }
}
