//! Payloads through every pair of a binding that is read and one that is written: not a byte of them changes.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::value::RawValue;
use tidegate_rules::decision::Output;

use super::*;
use crate::event::cloudevents::{http, mqtt};
use crate::event::delivery::Token;

/// Numbers of any length, duplicates, escapes, nesting, white space: JSON as no library writes it.
fn any_json() -> impl Strategy<Value = String> {
    let blank = || "[ \t\r\n]{0,3}";
    let number = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?";
    let string = || {
        let piece = prop_oneof![
            4 => "[ !#-\\[\\]-~\u{80}-\u{2fff}😀]{1,6}",
            1 => "\\\\[\"\\\\/bfnrt]",
            1 => "\\\\u[0-9a-fA-F]{4}",
            1 => Just("\\ud83d\\ude00".to_owned()),
        ];
        let pieces = prop::collection::vec(piece, 0..4);
        pieces.prop_map(|pieces| format!("\"{}\"", pieces.concat()))
    };
    let word = prop::sample::select(vec!["true", "false", "null", "-0", "1.10", "{}", "[ ]"]);
    let leaf = prop_oneof![
        number.prop_map(|it| it),
        string(),
        word.prop_map(str::to_owned)
    ];
    let value = leaf.prop_recursive(5, 40, 5, move |inner| {
        let name = prop_oneof![
            Just("\"a\"".to_owned()),
            Just("\"\\u0061\"".to_owned()),
            string()
        ];
        let member = (blank(), name, blank(), blank(), inner.clone(), blank())
            .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
        let element = (blank(), inner, blank())
            .prop_map(|(before, value, behind)| format!("{before}{value}{behind}"));
        prop_oneof![
            prop::collection::vec(member, 1..5).prop_map(|all| format!("{{{}}}", all.join(","))),
            prop::collection::vec(element, 1..5).prop_map(|all| format!("[{}]", all.join(","))),
        ]
    });
    (blank(), value, blank()).prop_map(|(before, value, behind)| format!("{before}{value}{behind}"))
}

fn template() -> Event {
    Event {
        id: "e-1".into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        topic: "a/b".into(),
        publisher: "press7".into(),
        ..Event::default()
    }
}

const REQUIRED: &str = r#""specversion":"1.0","id":"a","source":"s","type":"t""#;

/// The payload as each binding reads it, with the name of the binding.
fn arrivals(payload: &str, content_type: Option<&str>) -> Vec<(&'static str, Event)> {
    let binary = Event {
        content_type: content_type.map(Arc::from),
        data: Bytes::copy_from_slice(payload.as_bytes()),
        ..template()
    };
    let mut of_mqtt = binary.clone();
    let attributes = [
        ("specversion", "1.0"),
        ("id", "a"),
        ("source", "s"),
        ("type", "t"),
    ];
    let read = mqtt::read_properties(&mut of_mqtt, attributes.into_iter());
    assert_eq!(read, Ok(()), "within all bounds");
    let mut of_http = binary;
    let mut headers = HeaderMap::new();
    for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "a")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type.parse().expect("a header"));
    }
    http::read_headers(&mut of_http, &headers).expect("attributes");
    let declared = content_type.map(|it| format!(r#","datacontenttype":"{it}""#));
    let declared = declared.unwrap_or_default();
    let document = format!(r#"{{{REQUIRED}{declared},"data":{payload},"n":1}}"#);
    let structured = read_structured(document.as_bytes(), &template()).expect("an event");
    let batch = format!("[{document} , {document}]");
    let mut batch = read_batch(batch.as_bytes(), &template(), usize::MAX).expect("events");
    // Over MQTT a document is a payload like any other.
    let of_document = Event {
        content_type: Some(CONTENT_TYPE_OF_ONE.into()),
        data: document.into(),
        ..template()
    };
    vec![
        ("mqtt binary", of_mqtt),
        ("mqtt structured", of_document),
        ("http binary", of_http),
        ("http structured", structured),
        ("http batch", batch.remove(1)),
    ]
}

const CONTENT_TYPE_OF_ONE: &str = super::CONTENT_TYPE;

fn delivery(event: Event) -> Delivery {
    Delivery {
        token: Token {
            sequence: 7,
            output: 2,
        },
        event: Arc::new(event),
        output: Output::default(),
        historical: false,
        attempts: 0,
        mark: None,
    }
}

/// What another program finds as the payload in a document.
fn data_in(document: &[u8]) -> String {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(document).expect("JSON");
    members["data"].get().to_owned()
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

fn check_pairs(payload: &str, content_type: Option<&str>) {
    for (input, event) in arrivals(payload, content_type) {
        let came = String::from_utf8(event.data.to_vec()).expect("UTF-8");
        let expected = match input {
            "mqtt binary" | "http binary" => payload,
            "mqtt structured" => came.as_str(),
            _ => payload,
        };
        assert_eq!(came, expected, "{input}");
        let delivery = delivery(event);
        assert_eq!(delivery.payload(), came.as_bytes(), "{input} to binary");
        let document = structured(&delivery);
        assert_eq!(data_in(&document), trimmed(&came), "{input} to structured");
        let text = String::from_utf8(document).expect("UTF-8");
        assert!(
            text.contains(&came),
            "{input} to structured with all white space"
        );
        let batch = batch(&[delivery.clone(), delivery.clone()]);
        let elements: Vec<&RawValue> = serde_json::from_slice(&batch).expect("JSON");
        for element in elements {
            assert_eq!(element.get(), text, "{input} to batch");
        }
        let line = String::from_utf8(line(&delivery)).expect("UTF-8");
        let without_ends = |text: &str| text.replace(['\r', '\n'], " ");
        assert_eq!(
            line,
            format!("{}\n", without_ends(&text)),
            "{input} to file"
        );
        let shown = serde_json::to_vec_pretty(&Document::of(&delivery.event)).expect("JSON");
        assert_eq!(data_in(&shown), trimmed(&came), "{input} to events show");
        let again = read_structured(text.as_bytes(), &template()).expect("an event");
        assert_eq!(again.data, came.as_bytes(), "{input} to the next gateway");
        assert!(again.content_type.as_deref().is_none_or(is_json));
    }
}

fn any_content_type() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![
        None,
        Some("application/json"),
        Some("Application/JSON; charset=utf-8"),
        Some("application/ld+json"),
        Some("text/plain"),
        Some("text/csv; header=present"),
        Some("application/octet-stream"),
        Some("model/json"),
    ])
}

/// What is hardly JSON, or not at all.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any_json().prop_map(String::into_bytes),
        (any_json(), any::<usize>(), any::<u8>()).prop_map(|(json, at, byte)| {
            let mut bytes = json.into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes
        }),
        ".{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_goes_through_every_pair_of_bindings_as_it_came(json in any_json()) {
        for content_type in [None, Some("application/json"), Some("application/ld+json; a=b")] {
            check_pairs(&json, content_type);
        }
    }

    #[test]
    fn whatever_a_payload_is_the_next_gateway_has_it_byte_for_byte(
        payload in any_payload(),
        content_type in any_content_type(),
    ) {
        let event = Event {
            content_type: content_type.map(Arc::from),
            data: payload.clone().into(),
            ..template()
        };
        let shown = serde_json::to_vec(&Document::of(&event)).unwrap();
        let documents = [(true, structured(&delivery(event))), (false, shown)];
        for (with_space, document) in documents {
            let text = String::from_utf8_lossy(&document);
            let read = read_structured(&document, &template()).unwrap();
            if let Some(content_type) = content_type {
                prop_assert_eq!(read.content_type.as_deref(), Some(content_type), "{}", text);
            }
            // Who looks sees JSON without the white space around it.
            let is_same = read.data == payload || !with_space && {
                let (came, sent) = (str::from_utf8(&read.data), str::from_utf8(&payload));
                content_type.is_none_or(is_json) && came == sent.map(trimmed)
            };
            prop_assert!(is_same, "{:?} became {:?} by {}", payload, read.data, text);
        }
    }
}

#[test]
fn numbers_and_spellings_that_no_library_keeps_stay() {
    for json in [
        "18446744073709551616",
        "1.10",
        "1e400",
        "-0",
        "1E+2",
        "0.1000000000000000055511151231257827",
        r#"{"b":1,"a":2,"b":3}"#,
        r#""\u0041\/\ud800""#,
        "{\r\n\t\"a\" : [ 1 ,2 ]\n}\n",
        "null",
        "[]",
    ] {
        check_pairs(json, None);
        check_pairs(json, Some("application/json"));
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    check_pairs(&deep, None);
}

#[test]
fn what_is_no_json_does_not_become_a_json_text() {
    for (content_type, payload, expected) in [
        (
            Some("application/json"),
            "{v: 1}",
            r#""data_base64":"e3Y6IDF9""#,
        ),
        (Some("application/json"), "ON", r#""data_base64":"T04=""#),
        (Some("application/json"), "", r#""data_base64":"""#),
        (
            Some("application/json"),
            "\u{feff}1",
            r#""data_base64":"77u/MQ==""#,
        ),
        (Some("application/json"), "NaN", r#""data_base64":"TmFO""#),
        (Some("application/json"), "\"x\"", r#""data":"x""#),
        (None, "ON", r#""data":"ON","datacontenttype":"text/plain""#),
        (Some("text/plain"), "7", r#""data":"7""#),
        (Some("text/plain"), "", r#""data":"""#),
    ] {
        let event = Event {
            content_type: content_type.map(Arc::from),
            data: payload.into(),
            ..template()
        };
        let document = structured(&delivery(event));
        let document = String::from_utf8(document).expect("UTF-8");
        assert!(
            document.contains(expected),
            "{content_type:?} {payload}: {document}"
        );
    }
}

#[test]
fn numbers_and_booleans_keep_their_type_from_document_to_document() {
    let came = format!(
        r#"{{{REQUIRED},"data":1,"n":18446744073709551616,"o":1.10,"s":"1","yes":true,"no":"false","time":"2026-01-02T03:04:05.1000000001+05:30"}}"#
    );
    for document in [came.clone(), format!("[{came}]")] {
        let event = match document.starts_with('[') {
            true => read_batch(document.as_bytes(), &template(), 9)
                .expect("events")
                .remove(0),
            false => read_structured(document.as_bytes(), &template()).expect("an event"),
        };
        let text = String::from_utf8(structured(&delivery(event.clone()))).expect("UTF-8");
        let shown = serde_json::to_string(&Document::of(&event)).expect("JSON");
        for expected in [
            r#""n":18446744073709551616"#,
            r#""o":1.10"#,
            r#""s":"1""#,
            r#""yes":true"#,
            r#""no":"false""#,
            r#""time":"2026-01-02T03:04:05.1000000001+05:30""#,
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        let mut headers = HeaderMap::new();
        http::write(&delivery(event), &mut headers);
        assert_eq!(headers["ce-o"], "1.10");
        assert_eq!(headers["ce-yes"], "true");
    }
}

#[test]
fn an_event_without_data_stays_without() {
    for (data, expected) in [
        ("", None),
        (r#","data":"""#, Some(r#""data":"""#)),
        (r#","data":null"#, Some(r#""data":null"#)),
        (r#","data_base64":"""#, Some(r#""data":"""#)),
        (
            r#","datacontenttype":"text/plain","data":"""#,
            Some(r#""data":"""#),
        ),
        (r#","datacontenttype":"a/json+json""#, None),
    ] {
        let document = format!("{{{REQUIRED}{data}}}");
        let event = read_structured(document.as_bytes(), &template()).expect("an event");
        assert_eq!(event.without_data, expected.is_none(), "{data}");
        let text = String::from_utf8(structured(&delivery(event.clone()))).expect("UTF-8");
        let shown = serde_json::to_string(&Document::of(&event)).expect("JSON");
        for written in [&text, &shown] {
            match expected {
                Some(expected) => assert!(written.contains(expected), "{written}"),
                None => assert!(
                    !written.contains(r#""data"#) || data.contains("datacontent"),
                    "{written}"
                ),
            }
            let again = read_structured(written.as_bytes(), &template()).expect("an event");
            assert_eq!(again.without_data, event.without_data, "{written}");
            assert_eq!(again.data, event.data, "{written}");
        }
    }
}

#[test]
fn what_a_rule_put_in_place_of_no_data_is_data() {
    let document = format!("{{{REQUIRED}}}");
    let event = read_structured(document.as_bytes(), &template()).expect("an event");
    let mut delivery = delivery(event);
    delivery.output.data = Some(Bytes::from_static(b"{}"));
    let text = String::from_utf8(structured(&delivery)).expect("UTF-8");
    assert!(text.contains(r#""data":{}"#), "{text}");
}
