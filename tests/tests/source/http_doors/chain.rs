//! A gateway behind a gateway.

use tidegate_tests::{mqtt, wait};

use crate::{STRUCTURED, post, start, with_hooks};

/// Headers and bodies of events as CloudEvents allows them, and a text that the central shows of each.
fn events_on_the_way() -> Vec<(String, String, &'static str)> {
    let event = "ce-specversion: 1.0\r\nce-source: s\r\nce-type: t\r\n";
    let with = |headers: &str| format!("{event}{headers}\r\n");
    let many: String = (0..32).map(|n| format!("ce-x{n}: v\r\n")).collect();
    let long_id = "i".repeat(1024);
    let document = |more: &str| {
        format!(r#"{{"specversion":"1.0","id":"j{more}","source":"s","type":"t","data":1}}"#)
    };
    let id = |id: &str| format!("{event}ce-id: {id}\r\n");
    vec![
        (String::new(), "1".into(), "\"data\":1"),
        ("Content-Type: \r\n".into(), "21,5 C".into(), "21,5 C"),
        (format!("{}{many}", id("many")), "2".into(), "\"x31\":\"v\""),
        (id(&long_id), "3".into(), "\"data\":3"),
        (
            with("ce-id: name\r\nce-averylongnameofanattribute2: v"),
            "4".into(),
            "\"averylongnameofanattribute2\":\"v\"",
        ),
        (
            with("ce-id: nano\r\nce-time: 2026-01-02T03:04:05.123456789012Z"),
            "5".into(),
            "2026-01-02T03:04:05.123",
        ),
        (
            with("ce-id: quoted\r\nce-subject: \"a \\\"b\\\" %E2%82%AC\""),
            "6".into(),
            r#""subject":"a \"b\" €""#,
        ),
        (
            with("ce-id: lone\r\nce-subject: 5%22 \"x\" y"),
            "7".into(),
            r#""subject":"5\" \"x\" y""#,
        ),
        (
            with("ce-id: none\r\nce-note: "),
            "8".into(),
            "\"note\":\"\"",
        ),
        (
            with("ce-id: mixed\r\nCE-Publisher: "),
            "9".into(),
            "\"data\":9",
        ),
        (
            STRUCTURED.into(),
            document("1\",\"publisher\":\"\",\"note\":\""),
            "\"id\":\"j1",
        ),
        (
            STRUCTURED.into(),
            document("2\",\"averylongnameofanattribute2\":\"w"),
            "\"averylongnameofanattribute2\":\"w\"",
        ),
        (
            STRUCTURED.into(),
            document("3\",\"time\":\"2026-01-02t03:04:06.000000000000z"),
            "2026-01-02T03:04:06",
        ),
    ]
}

/// Content types that a proxy would hardly touch, and documents without data.
fn content_types_on_the_way() -> Vec<(String, String, &'static str)> {
    let without = |id: &str, kind: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","datacontenttype":"{kind}","without":"{id}"}}"#
        )
    };
    vec![
        (
            "Content-Type: text/plain; by=\"é\"\r\n".into(),
            "11".into(),
            r#"text/plain; by=\"é\""#,
        ),
        (
            STRUCTURED.into(),
            without("w1", "text/plain"),
            r#""without":"w1""#,
        ),
        (
            STRUCTURED.into(),
            without("w2", "application/json"),
            r#""without":"w2""#,
        ),
    ]
}

const RULES: &str = "rule all { on \"#\" send to central }\n\
    rule derived { on \"#\" send to central topic \"derived/all\" key \"k\" }\n";

#[test]
fn a_gateway_takes_whatever_another_one_sends() {
    for lane in ["", "format = \"structured\"\n", "batch_max = 7\n"] {
        let (mut central, door) = with_hooks("");
        start(&mut central, door);
        let upstream = format!(
            "\n[upstreams.central]\ntype = \"http\"\nurl = \"http://{door}/events\"\n{lane}"
        );
        let (mut edge, hooks) = with_hooks(&upstream);
        edge.write("rules/all.rules", RULES);
        let config = edge.path("gateway.toml");
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let deep = "type = \"mqtt-listener\"\nmax_topic_levels = 200\nmax_topic = \"2000B\"";
        let text = text
            .replace("\"plant-a\"", "\"plant-b\"")
            .replace("type = \"mqtt-listener\"", deep);
        std::fs::write(&config, text).expect("a configuration");
        start(&mut edge, hooks);
        let mut events = events_on_the_way();
        events.extend(content_types_on_the_way());
        for (headers, body, what) in &events {
            let answer = post(hooks, "/events", headers, body.as_bytes());
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "{headers}{what}\n{answer}"
            );
        }
        let topic = vec!["level"; 200].join("/");
        let mut device = mqtt::connect(edge.address, "deep", true).expect("let in");
        mqtt::publish_acknowledged(&mut device, &topic, 1, b"10");
        let sent = 2 * (events.len() + 1);
        let mut listed = Vec::new();
        wait::find("everything arrives", || {
            listed = central.events(&["--limit", "10000"]);
            listed.retain(|event| event["topic"].as_str().is_none_or(|t| !t.starts_with('$')));
            let letters = edge.dead_letters();
            assert!(letters.is_empty(), "{lane}: {letters:?}");
            (listed.len() == sent).then_some(()).ok_or(listed.len())
        });
        let without = listed
            .iter()
            .filter(|event| !event["event"]["without"].is_null());
        for event in without {
            let document = event["event"].as_object().expect("a document");
            let has_data = document
                .keys()
                .any(|name| matches!(&**name, "data" | "data_base64"));
            assert!(!has_data, "{lane} {event}");
        }
        for (_, _, what) in &events {
            let shows = |event: &&serde_json::Value| event.to_string().contains(what);
            assert_eq!(
                listed.iter().filter(shows).count().min(2),
                2,
                "{lane} {what}"
            );
        }
    }
}
