//! Every binding against frozen text: what is written for a table of events, and what is read
//! from a table of documents, headers and user properties.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tidegate_rules::decision::Output;
use tidegate_rules::event::{Event, Extension, ExtensionKind};

use super::{Wrong, http, json, mqtt};
use crate::event::delivery::{Delivery, Token};

fn plain() -> Event {
    Event {
        id: "e-1".into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: "plant/A/press7/temp".into(),
        publisher: "press7".into(),
        time: None,
        received: 1_700_000_000_123,
        content_type: None,
        schema: None,
        extensions: Vec::new(),
        data: Bytes::from_static(b"21.5"),
        ..Event::default()
    }
}

/// An event whose payload has this content type.
fn payload(content_type: Option<&str>, data: &'static [u8]) -> Event {
    Event {
        content_type: content_type.map(Arc::from),
        data: Bytes::from_static(data),
        ..plain()
    }
}

fn full() -> Event {
    Event {
        id: "17 \"42\" 100%".into(),
        subject: Some("Presse 7 €".into()),
        time: Some(1_600_000_000_000.into()),
        schema: Some("https://example.org/s".into()),
        extensions: vec![
            Extension::text("traceparent", "00-ab-cd-01"),
            Extension::text("causationid", "e-0"),
            Extension::text("partitionkey", "of the sender"),
            Extension::text("retain", "true"),
        ],
        ..payload(Some("application/json; charset=utf-8"), b"{\"t\" :21.50}")
    }
}

/// JSON that no library writes so.
const SPELT: &[u8] = b"{\"b\": 1.10, \"a\":18446744073709551616,\n \"b\":[1e400,-0,1E+2],\"s\":\"\\u00e9\\/\\ud800\"}";

fn typed() -> Event {
    let extension = |name: &str, value: &str, kind| Extension {
        kind,
        ..Extension::text(name, value)
    };
    Event {
        extensions: vec![
            extension("n", "1.10", ExtensionKind::Number),
            extension("yes", "true", ExtensionKind::Boolean),
            extension("text", "1.10", ExtensionKind::Text),
            extension("historical", "false", ExtensionKind::Boolean),
            extension("a property", "1", ExtensionKind::Property),
        ],
        ..plain()
    }
}

fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("plain", plain()),
        ("full", full()),
        ("no json", payload(None, b"21,5 C")),
        ("bytes", payload(None, b"\xff\x00")),
        (
            "typed bytes",
            payload(Some("application/cbor"), b"\xa1\xff"),
        ),
        ("text", payload(Some("text/plain"), b"7")),
        ("json suffix", payload(Some("application/ld+json"), b"[1]")),
        (
            "json in capitals",
            payload(Some("Application/JSON"), b"[1]"),
        ),
        ("json of another tree", payload(Some("model/json"), b"[1]")),
        ("broken json", payload(Some("text/json"), b"{")),
        ("empty", payload(None, b"")),
        (
            "without data",
            Event {
                without_data: true,
                ..payload(None, b"")
            },
        ),
        ("json of its own spelling", payload(None, SPELT)),
        (
            "json without a type for it",
            payload(Some("text/plain"), SPELT),
        ),
        ("a text of json", payload(Some("text/plain"), b"\"7\"")),
        ("typed extensions", typed()),
        (
            "of nobody",
            Event {
                publisher: "".into(),
                ..plain()
            },
        ),
        (
            "a time of no calendar",
            Event {
                time: Some(i64::MAX.into()),
                ..plain()
            },
        ),
    ]
}

fn outputs() -> Vec<(&'static str, Output, bool)> {
    let changed = Output {
        topic: Some("alarms/A".into()),
        key: Some("A".into()),
        data: Some(Bytes::from_static(b"{\"a\":1}")),
        rule: Some("hot".into()),
        ..Output::default()
    };
    let keyed = Output {
        key: Some("k".into()),
        rule: Some("hot".into()),
        ..Output::default()
    };
    vec![
        ("as it came", Output::default(), false),
        ("with a key, historical", keyed, true),
        ("derived", changed, false),
    ]
}

fn write_all(text: &mut String) {
    for (name, event) in events() {
        let event = Arc::new(event);
        writeln!(text, "\n# {name}").unwrap();
        writeln!(text, "subscriber: {:?}", mqtt::properties(&event, None)).unwrap();
        let view = serde_json::to_string(&json::Document::of(&event)).unwrap();
        writeln!(text, "view: {view}").unwrap();
        for (of, output, historical) in outputs() {
            let delivery = Delivery {
                token: Token {
                    sequence: 7,
                    output: 2,
                },
                event: Arc::clone(&event),
                output,
                historical,
                attempts: 0,
                mark: None,
            };
            writeln!(text, "{of}:").unwrap();
            writeln!(text, "  mqtt: {:?}", mqtt::properties_of(&delivery)).unwrap();
            writeln!(text, "  http: {:?}", headers(&delivery)).unwrap();
            writeln!(
                text,
                "  json: {}",
                String::from_utf8(json::structured(&delivery)).unwrap()
            )
            .unwrap();
        }
    }
}

/// Documents to read; `@` stands for the required attributes.
const DOCUMENTS: &[&str] = &[
    "{",
    "[1]",
    r#"{"id":"a"}"#,
    "{@}",
    r#"{@,"id":""}"#,
    r#"{@,"specversion":"0.3"}"#,
    r#"{@,"time":"noon"}"#,
    r#"{@,"time":"2026-01-02T03:04:05.006Z","subject":"s","dataschema":"d"}"#,
    r#"{@,"topic":"x/y","publisher":"p","n":7,"flag":true,"none":null}"#,
    r#"{@,"Big":"x"}"#,
    r#"{@,"x":[1]}"#,
    r#"{@,"x":"\ud83d"}"#,
    r#"{@,"x":1e400}"#,
    r#"{@,"x":-1.50e+2,"y":false,"z":"-1.50e+2"}"#,
    r#"{@,"data":null}"#,
    r#"{@,"data":""}"#,
    r#"{@,"datacontenttype":"text/plain","data":""}"#,
    r#"{@,"data":{ "b" : 1.50 }}"#,
    r#"{@,"data":"x"}"#,
    r#"{@,"datacontenttype":"text/plain","data":"x\n"}"#,
    r#"{@,"datacontenttype":"text/plain","data":1}"#,
    r#"{@,"datacontenttype":"application/ld+json; a=b","data":"x"}"#,
    r#"{@,"datacontenttype":"Application/JSON","data":"x"}"#,
    r#"{@,"datacontenttype":"model/json","data":"x"}"#,
    r#"{@,"datacontenttype":"a/b","data_base64":"AAE="}"#,
    r#"{@,"data_base64":"AAE="}"#,
    r#"{@,"data_base64":"?"}"#,
    r#"{@,"data_base64":"","data":1}"#,
];

/// Attributes in headers and in user properties.
const ATTRIBUTES: &[&[(&str, &str)]] = &[
    &[
        ("specversion", "1.0"),
        ("id", "a"),
        ("source", "s"),
        ("type", "t"),
    ],
    &[("specversion", "0.3")],
    &[("subject", "Euro%20%E2%82%AC"), ("subject2", "%ff")],
    &[("time", "2026-01-02T03:04:05.006Z"), ("dataschema", "d")],
    &[("time", "2026-01-02T03:04:05.006Z"), ("time", "noon")],
    &[("datacontenttype", "a/b"), ("traceparent", "00-1")],
    &[("topic", "x/y"), ("publisher", "p")],
    &[("id", "")],
    &[("partitionkey", "")],
    &[("publisher", ""), ("datacontenttype", ""), ("note", "")],
    &[("subject", "")],
    &[("time", "")],
    &[("time", "2026-01-02T03:04:05.0061234567891234Z")],
    &[("time", "2026-01-02t03:04:05.9999999999+01:00")],
    &[("time", "2026-01-02T03:04:05.Z")],
    &[("subject", "\"a \\\"b\\\" %25\"")],
    &[("Big", "x")],
    &[("ce_id", "u"), ("ce-id", "d"), ("ce_x", "y")],
    &[("abcdefghijklmnopqrstu", "a name of 21 letters")],
];

/// What an event says, and of what few say only what it has.
fn shown(event: &Event) -> String {
    let pairs = event.extensions.iter();
    let pairs: Vec<(&str, &str)> = pairs.map(|one| (&*one.name, &*one.value)).collect();
    let mut shown = format!(
        "Event {{ id: {:?}, source: {:?}, kind: {:?}, subject: {:?}, topic: {:?}, publisher: {:?}, time: {:?}, \
         received: {:?}, content_type: {:?}, schema: {:?}, extensions: {pairs:?}, data: {:?} }}",
        event.id,
        event.source,
        event.kind,
        event.subject,
        event.topic,
        event.publisher,
        event.time.as_ref().map(|time| time.ms),
        event.received,
        event.content_type,
        event.schema,
        event.data,
    );
    if let Some(text) = event.time.as_ref().and_then(|time| time.text.as_ref()) {
        shown.push_str(&format!(" time as {text:?}"));
    }
    if event.without_data {
        shown.push_str(" without data");
    }
    for one in &event.extensions {
        if one.kind != ExtensionKind::Text {
            shown.push_str(&format!(" {} is {:?}", one.name, one.kind));
        }
    }
    shown
}

fn told(read: Result<Event, Wrong>) -> String {
    match read {
        Ok(event) => shown(&event),
        Err(Wrong::Bad(what)) => format!("! bad: {what}"),
        Err(Wrong::TooLarge(what)) => format!("! too large: {what}"),
    }
}

fn headers(delivery: &Delivery) -> Vec<(String, String)> {
    let mut headers = HeaderMap::new();
    http::write(delivery, &mut headers);
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

fn with_headers(attributes: &[(&str, &str)]) -> Result<Event, Wrong> {
    let mut headers = HeaderMap::new();
    for (name, value) in attributes {
        let name = HeaderName::try_from(format!("ce-{name}")).unwrap();
        headers.append(name, value.parse().unwrap());
    }
    let mut event = plain();
    http::read_headers(&mut event, &headers)?;
    Ok(event)
}

fn with_properties(attributes: &[(&str, &str)]) -> Event {
    let mut event = plain();
    let read = mqtt::read_properties(&mut event, attributes.iter().copied());
    assert_eq!(read, Ok(()));
    event
}

fn read_all(text: &mut String) {
    let required = r#""specversion":"1.0","id":"a","source":"s","type":"t""#;
    for document in DOCUMENTS {
        let document = document.replace('@', required);
        let read = told(json::read_structured(document.as_bytes(), &plain()));
        writeln!(text, "\n# {document}\n{read}").unwrap();
    }
    for document in [
        "[{@},{@,\"data\":7}]",
        "[{@},{}]",
        "{@}",
        "[]",
        "[{@,\"data\":123456789}]",
    ] {
        let document = document.replace('@', required);
        let read = json::read_batch(document.as_bytes(), &plain(), 8);
        writeln!(text, "\n# {document}").unwrap();
        match read {
            Ok(events) => events.into_iter().for_each(|event| {
                writeln!(text, "{}", told(Ok(event))).unwrap();
            }),
            Err(wrong) => writeln!(text, "{}", told(Err(wrong))).unwrap(),
        }
    }
    let long = "x".repeat(1025);
    let many: Vec<(String, &str)> = (0..33).map(|n| (format!("x{n}"), "v")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, *value)).collect();
    let mut all: Vec<(&str, &[(&str, &str)])> = ATTRIBUTES
        .iter()
        .map(|attributes| ("", *attributes))
        .collect();
    let long = [("subject", &*long)];
    all.extend([("long", &long[..]), ("many", &many)]);
    for (name, attributes) in all {
        match name {
            "" => writeln!(text, "\n# {attributes:?}").unwrap(),
            name => writeln!(text, "\n# {name}").unwrap(),
        }
        let http = told(with_headers(attributes));
        let mqtt = told(Ok(with_properties(attributes)));
        writeln!(text, "http: {http}\nmqtt: {mqtt}").unwrap();
    }
}

#[test]
fn every_binding_writes_and_reads_what_is_frozen() {
    let mut text = String::new();
    write_all(&mut text);
    read_all(&mut text);
    for (number, (now, frozen)) in (1..).zip(text.lines().zip(include_str!("frozen.txt").lines())) {
        assert_eq!(now, frozen, "line {number} of frozen.txt");
    }
    assert_eq!(text.len(), include_str!("frozen.txt").len());
}

#[test]
fn a_time_keeps_its_digits_and_its_offset() {
    let cases = [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.006Z", "2026-01-02T03:04:05.006Z"),
        (
            "2026-01-02T03:04:05.1234567891234Z",
            "2026-01-02T03:04:05.1234567891234Z",
        ),
        (
            "2026-01-02T03:04:05.000+01:00",
            "2026-01-02T03:04:05.000+01:00",
        ),
        (
            "2026-01-02T03:04:05.50-00:00",
            "2026-01-02T03:04:05.50-00:00",
        ),
        ("2026-01-02t03:04:06.000z", "2026-01-02T03:04:06.000Z"),
        ("2026-01-02 03:04:06+05:30", "2026-01-02T03:04:06+05:30"),
        // What is read, though it is none of RFC 3339.
        ("2026-01-02T03:04+01:00", "2026-01-02T02:04:00Z"),
        ("2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05.5Z"),
    ];
    for (given, written) in cases {
        let mut event = plain();
        if super::read(&mut event, "time", given).is_ok() {
            assert_eq!(super::time(&event), written, "{given}");
        } else {
            assert!(super::as_rfc3339(given).is_none(), "{given} is refused");
        }
    }
}

#[test]
fn a_subscriber_gets_time_and_schema_as_an_upstream_does() {
    let event = full();
    let of_subscriber = mqtt::properties(&event, None);
    for wanted in [
        ("time", "2020-09-13T12:26:40Z"),
        ("dataschema", "https://example.org/s"),
    ] {
        assert!(
            of_subscriber.contains(&(wanted.0, wanted.1.into())),
            "{wanted:?}"
        );
    }
    let delivery = Delivery {
        token: Token {
            sequence: 7,
            output: 2,
        },
        event: Arc::new(event.clone()),
        output: Output::default(),
        historical: false,
        attempts: 0,
        mark: None,
    };
    assert_eq!(of_subscriber, mqtt::properties_of(&delivery));
}

#[test]
fn json_is_by_its_content_type_what_the_rules_take_for_json() {
    for (content_type, expected) in [
        ("Application/JSON", "\"x\""),
        ("text/json; charset=utf-8", "\"x\""),
        ("application/ld+json", "\"x\""),
        ("model/json", "x"),
        ("text/plain", "x"),
    ] {
        let document = format!(
            r#"{{"specversion":"1.0","id":"a","source":"s","type":"t","datacontenttype":"{content_type}","data":"x"}}"#
        );
        let event = json::read_structured(document.as_bytes(), &plain()).unwrap();
        assert_eq!(event.data, expected, "{content_type}");
    }
}
