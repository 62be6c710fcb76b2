//! Extraction and rewriting against a general JSON library.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::value::Value;

/// Wanted paths, their ids in this order.
fn wanted(paths: &[&[&str]]) -> Wanted {
    let mut wanted = Wanted::default();
    for (path, id) in paths.iter().zip(0..) {
        let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        wanted.add(FieldId(id), &path);
    }
    wanted
}

const PATHS: [&[&str]; 6] = [
    &["a"],
    &["a", "b"],
    &["c"],
    &["a", "b", "c"],
    &[],
    &["ä\"b"],
];

fn extract(text: &str) -> Result<Vec<Slot>, JsonError> {
    let mut slots = vec![Slot::Bool(true); PATHS.len()];
    wanted(&PATHS).extract(text, &mut slots).map(|()| slots)
}

fn rewritten(text: &str, edits: &[Edit<'_>]) -> Result<String, JsonError> {
    let bytes = rewrite(text, text.as_bytes(), edits)?;
    Ok(String::from_utf8(bytes).expect("of texts"))
}

/// What a value is to rules: `null` members count as missing at the top.
fn as_json(value: &Value) -> Json {
    serde_json::from_str(&value.to_json()).expect("what is written is JSON")
}

/// Equal, but for the last digit of a float: the general decoder does not round exactly.
fn alike(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(a), Json::Number(b)) if a != b => {
            let (a, b) = (
                a.as_f64().unwrap_or(f64::NAN),
                b.as_f64().unwrap_or(f64::NAN),
            );
            (a - b).abs() <= a.abs() * 1e-15 || (a - b).abs() <= f64::MIN_POSITIVE
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        _ => left == right,
    }
}

fn has_no_value(error: &serde_json::Error) -> bool {
    let said = error.to_string();
    ["number out of range", "surrogate", "end of hex escape"]
        .iter()
        .any(|why| said.contains(why))
}

#[test]
fn what_no_value_stands_for_is_missing_and_nobody_elses_trouble() {
    let cases = [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""a\ud83dz""#,
        r#""\ud83d\u0041""#,
        r#""\ud83d\n""#,
        "1e400",
        "-1e400",
        "1e99999999999",
        "123456789e999",
        r#"["\ud800", 1e400]"#,
        r#"{"x": "\udfff"}"#,
        "NaN",
        "nan",
        "-nan",
        "Infinity",
        "-Infinity",
        "inf",
        "-INF",
        r#"[1, NaN, {"x": -inf}]"#,
        "\"a\tb\"",
        "\"two\nlines\"",
        "\"\u{0}\"",
        "{\"a\u{1a}\": \"\u{1b}[2J\"}",
        r#"["\ud800", NaN, "\u0041", [], {}]"#,
    ];
    let deep = deep_cases();
    for odd in cases.into_iter().chain(deep.iter().map(String::as_str)) {
        for text in [
            format!(r#"{{"odd": {odd}, "c": 98}}"#),
            format!(r#"{{"c": 98, "odd": {odd}}}"#),
            format!(r#"{{"a": {{"x": {odd}}}, "c": 98}}"#),
        ] {
            let slots = extract(&text).unwrap_or_else(|error| panic!("{text:.80}: {error}"));
            assert_eq!(slots[2], Slot::Int(98), "{text:.80}");
            let kept = rewritten(&text, &[Edit::Set("c", "99".into())]).expect("an object");
            assert!(kept.contains(odd), "{odd:.80} in {kept:.80}");
        }
        if !odd.starts_with(['[', '{']) {
            let text = format!(r#"{{"c": {odd}}}"#);
            assert_eq!(extract(&text).expect("JSON")[2], Slot::Missing, "{text}");
        }
    }
    let names = r#"{"\ud800":1,"\ud801":2,"c":3}"#;
    let kept = rewritten(names, &[Edit::Drop("c")]).expect("an object");
    assert_eq!(kept, r#"{"\ud800":1,"\ud801":2}"#);
    for wrong in [
        r#""\ud80""#,
        r#""\ud800\u12""#,
        r#""\ud800\x""#,
        "1e",
        "1e+",
        "na",
        "nano",
        "infinite",
        "--inf",
        "-",
        "nul",
        "nulls",
        "\"open",
        "\u{1a}",
        "\"a\" \u{1a}",
    ] {
        assert!(extract(&format!(r#"{{"c": {wrong}}}"#)).is_err(), "{wrong}");
    }
}

/// Deeper than all that is decoded, of every kind.
fn deep_cases() -> Vec<String> {
    let most = JSON_DEPTH_MAX;
    let around = |open: &str, inside: &str, close: &str, depth: usize| {
        format!("{}{inside}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        around("[", "", "]", most + 1),
        around("[", "1, [], {}, null", "]", most * 2),
        around("{\"a\": ", "[]", "}", most + 5),
        around("[{\"a\":[], \"b\" : ", "\"x\"", " , \"c\":1 } , 2]", most),
        around("[ ", "\"\\ud800\", 1e999", " ]", 100_000),
    ]
}

#[test]
fn what_nests_too_deep_must_be_json_all_the_same() {
    for odd in deep_cases() {
        let whole = |odd: &str| extract(&format!(r#"{{"odd": {odd}, "c": 98}}"#));
        assert!(whole(&odd).is_ok());
        for at in (0..odd.len()).step_by(odd.len() / 40 + 1) {
            let mut cut = odd.clone();
            if matches!(cut.remove(at), '[' | ']' | '{' | '}') {
                assert!(whole(&cut).is_err(), "{at} of {}", odd.len());
            }
        }
    }
    for wrong in [
        "[1 2]",
        "{\"a\" 1}",
        "{1}",
        "{\"a\":1,}",
        "[1,]",
        "{\"a\":}",
        "[}",
        "{]",
    ] {
        let deep = format!("{}{wrong}{}", "[".repeat(200), "]".repeat(200));
        assert!(
            extract(&format!(r#"{{"odd": {deep}}}"#)).is_err(),
            "{wrong}"
        );
    }
}

/// Whether there is something in it that is read although it is no JSON by the letter.
fn is_read_all_the_same(text: &str) -> bool {
    let small = text.to_ascii_lowercase();
    small.contains("nan") || small.contains("inf") || text.bytes().any(|byte| byte < b' ')
}

fn check_extraction(text: &str) {
    let general = serde_json::from_str::<Json>(text);
    let found = extract(text);
    let general = match general {
        Ok(general) => general,
        // Right by the grammar; the general decoder has no value for it.
        Err(error) if has_no_value(&error) => return,
        Err(_) if is_read_all_the_same(text) => return,
        Err(_) => {
            assert!(found.is_err(), "accepted {text:?}");
            return;
        }
    };
    let slots = found.unwrap_or_else(|error| panic!("refused {text:?}: {error}"));
    for (path, slot) in PATHS.iter().zip(slots) {
        let expected = path.iter().try_fold(&general, |value, name| {
            value.as_object().and_then(|members| members.get(*name))
        });
        let expected = expected.cloned().unwrap_or(Json::Null);
        let found = as_json(&decode(text, slot));
        assert!(alike(&found, &expected), "{path:?} of {text}: {found}");
    }
}

#[test]
fn payloads_are_accepted_and_refused_as_rfc_8259_says() {
    let cases = [
        r#"{"a": 1, "c": "x\n\u00e4\ud83d\ude00"}"#,
        r#" {"a":{"b":{"c":[1,{"a":2}]},"x":null}} "#,
        r#"{"a":{"b":1},"a":{"c":2}}"#,
        r#"{"a":{"b":1},"a":3}"#,
        r#"{"\u0061": 5, "ä\"b": 7}"#,
        "21.5",
        "-0",
        "1e3",
        "-1.5E-3",
        "\"text\"",
        "null",
        "[]",
        "{}",
        "true",
        "9223372036854775807",
        "9223372036854775808",
        "1e400",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "nul",
        "tru",
        "[1 2]",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"a\nb\"",
        "\"open",
        "{} x",
        "\u{feff}{}",
        "[[[[[]]]]]",
        "NaN",
        "{\"a\":\u{0}1}",
        "\u{0}",
    ];
    for text in cases {
        check_extraction(text);
    }
}

#[test]
fn what_nests_too_deep_is_undefined_where_it_is_read() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, known) in [(1, true), (JSON_DEPTH_MAX, true), (1_000_000, false)] {
        let text = nested(depth);
        let slots = extract(&text).expect("JSON");
        assert_eq!(decode(&text, slots[4]) != Value::Null, known, "{depth}");
    }
}

#[test]
fn a_changed_payload_keeps_order_and_untouched_bytes() {
    let text = r#" {"a" : 1.50 , "b":{ "x" : [1 ,2] }, "c":"\u0041", "a2":null } "#;
    let cases: [(&[Edit<'_>], &str); 8] = [
        (&[], text),
        (
            &[Edit::Set("a", "2".to_owned())],
            r#" {"a" : 2 , "b":{ "x" : [1 ,2] }, "c":"\u0041", "a2":null } "#,
        ),
        (
            &[Edit::Drop("b"), Edit::Drop("nothing")],
            r#" {"a" : 1.50, "c":"\u0041", "a2":null } "#,
        ),
        (
            &[Edit::Rename("b", "c"), Edit::Rename("nothing", "a")],
            r#" {"a" : 1.50 , "c":{ "x" : [1 ,2] }, "a2":null } "#,
        ),
        (
            &[
                Edit::Drop("b"),
                Edit::Drop("c"),
                Edit::Set("n\"ew", "[1]".to_owned()),
            ],
            r#" {"a" : 1.50, "a2":null,"n\"ew":[1] } "#,
        ),
        (
            &[
                Edit::Rename("a", "z"),
                Edit::Set("a", "0".to_owned()),
                Edit::Drop("b"),
            ],
            r#" {"z" : 1.50, "c":"\u0041", "a2":null,"a":0 } "#,
        ),
        (
            &[Edit::Rename("a2", "a"), Edit::Drop("b")],
            r#" {"a" : 1.50, "c":"\u0041" } "#,
        ),
        (&["a", "b", "c", "a2"].map(Edit::Drop), " {} "),
    ];
    for (edits, expected) in cases {
        assert_eq!(rewritten(text, edits).as_deref(), Ok(expected), "{edits:?}");
    }
    for no_object in ["[1]", "3", "", "{", "{\"a\":1} x"] {
        assert!(
            rewritten(no_object, &[Edit::Drop("a")]).is_err(),
            "{no_object}"
        );
    }
}

#[test]
fn a_member_that_stands_twice_is_changed_wherever_it_stands_and_others_stay_twice() {
    let text =
        "{\n  \"a\": 1,\n  \"b\": 1E+2,\n  \"\\u0061\" :\t2,\n  \"b\": 18446744073709551616\n}\n";
    let set = |name| Edit::Set(name, "7".to_owned());
    for (edits, expected) in [
        (
            vec![set("a")],
            "{\n  \"a\": 7,\n  \"b\": 1E+2,\n  \"\\u0061\" :\t7,\n  \"b\": 18446744073709551616\n}\n",
        ),
        (
            vec![Edit::Drop("a")],
            "{\n  \"b\": 1E+2,\n  \"b\": 18446744073709551616\n}\n",
        ),
        (
            vec![Edit::Drop("b")],
            "{\n  \"a\": 1,\n  \"\\u0061\" :\t2\n}\n",
        ),
        (
            vec![Edit::Rename("a", "z")],
            "{\n  \"z\": 1,\n  \"b\": 1E+2,\n  \"z\" :\t2,\n  \"b\": 18446744073709551616\n}\n",
        ),
        (
            vec![Edit::Rename("a", "b")],
            "{\n  \"b\": 1,\n  \"b\" :\t2\n}\n",
        ),
        (
            vec![Edit::Drop("a"), Edit::Drop("b"), set("n")],
            "{\n  \"n\":7\n}\n",
        ),
    ] {
        assert_eq!(
            rewritten(text, &edits).as_deref(),
            Ok(expected),
            "{edits:?}"
        );
    }
    let nulls = r#"{"a":1,"a":null,"b":2}"#;
    let renamed = rewritten(nulls, &[Edit::Rename("a", "b")]);
    assert_eq!(renamed.as_deref(), Ok(r#"{"b":2}"#));
    for (empty, with_new) in [("{}", r#"{"n":7}"#), (" { } ", r#" {"n":7 } "#)] {
        assert_eq!(rewritten(empty, &[Edit::Drop("a")]).as_deref(), Ok(empty));
        assert_eq!(rewritten(empty, &[set("n")]).as_deref(), Ok(with_new));
    }
}

/// White space, and a value in a spelling that no library writes.
const BLANK: &str = "[ \t\r\n]{0,2}";
const VALUE: &str = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?|true|null\
    |\"([a-z é€]|\\\\[nt/\\\\\"]|\\\\u00[46][0-9a-f]|\\\\ud800){0,5}\"|\\[ ?1\\.10 , \\{\"a\":-0, \"a\":1e400\\}\\]";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_changes_what_it_names_and_not_one_byte_beside(
        members in prop::collection::vec((BLANK, "[a-c]", BLANK, BLANK, VALUE, BLANK), 0..6),
        around in (BLANK, BLANK),
        inside in BLANK,
    ) {
        let written = |set: bool| {
            let members = members.iter().map(|(a, name, b, c, value, d)| match set && name == "a" {
                true => format!("{a}\"{name}\"{b}:{c}7{d}"),
                false => format!("{a}\"{name}\"{b}:{c}{value}{d}"),
            });
            members.collect::<Vec<String>>()
        };
        let whole = |members: &[String]| match members.is_empty() {
            true => format!("{}{{{inside}}}{}", around.0, around.1),
            false => format!("{}{{{}}}{}", around.0, members.join(","), around.1),
        };
        let text = whole(&written(false));
        prop_assert_eq!(&rewritten(&text, &[]), &Ok(text.clone()));
        let set = rewritten(&text, &[Edit::Set("a", "7".to_owned())]).expect("an object");
        if members.iter().any(|member| member.1 == "a") {
            prop_assert_eq!(&set, &whole(&written(true)));
        } else {
            let new = if members.is_empty() { "\"a\":7" } else { ",\"a\":7" };
            let at = set.find(new).expect("appended");
            prop_assert_eq!(format!("{}{}", &set[..at], &set[at + new.len()..]), text);
        }
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_filter_map("finite", |f| f.is_finite().then(|| json!(f))),
        ".{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let name = prop_oneof![
            prop::sample::select(vec!["a", "b", "c", "ä\"b"]).prop_map(str::to_owned),
            ".{0,3}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((name, inner), 0..5)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn extraction_finds_what_a_general_decoder_finds(value in any_json(), pretty: bool) {
        let text = match pretty {
            true => serde_json::to_string_pretty(&value),
            false => serde_json::to_string(&value),
        };
        check_extraction(&text.expect("written"));
    }

    #[test]
    fn damaged_payloads_are_refused_alike(value in any_json(), at: usize, byte in 0u8..128) {
        let mut text = value.to_string().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) {
            check_extraction(&text);
        }
    }

    #[test]
    fn any_text_is_accepted_or_refused_alike(text in any::<String>()) {
        check_extraction(&text);
    }
}
