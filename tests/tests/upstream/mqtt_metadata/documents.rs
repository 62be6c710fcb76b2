//! CloudEvents documents over MQTT 5: the content type says that the payload is one, and it is the event, from the listener
//! and from the `mqtt` source alike.

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::version_5::{AS_PUBLISHED, Client, Message};
use tidegate_tests::{mqtt, wait};

use super::field;

const KIND: &str = "application/cloudevents+json";

fn document(id: &str, more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"{more}}}"#)
}

fn sent(topic: &str, kind: &str, payload: &str) -> Message {
    Message {
        content_type: Some(kind.into()),
        ..Message::new(topic, payload)
    }
}

/// What a document says beside, the payload and content type that leave, and user properties that do.
type Opened = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
);

const OPENED: &[Opened] = &[
    (
        r#","data":{"b": 1.10, "a":1e400, "b":-0}"#,
        r#"{"b": 1.10, "a":1e400, "b":-0}"#,
        Some("application/json"),
        &[],
    ),
    (
        ",\"data\": 21.50\n",
        " 21.50\n",
        Some("application/json"),
        &[],
    ),
    (
        r#", "data": 21.50 "#,
        "21.50",
        Some("application/json"),
        &[],
    ),
    (
        r#","datacontenttype":"text/plain","data":"21 °C""#,
        "21 °C",
        Some("text/plain"),
        &[],
    ),
    (
        r#","datacontenttype":"application/octet-stream","data_base64":"AAEC""#,
        "\0\u{1}\u{2}",
        Some("application/octet-stream"),
        &[],
    ),
    (
        r#","datacontenttype":"application/json","data_base64":"eyJhIjoxfQo=""#,
        "{\"a\":1}\n",
        Some("application/json"),
        &[],
    ),
    ("", "", None, &[]),
    (
        r#","n":18446744073709551616,"yes":true,"x":"1""#,
        "",
        None,
        &[("n", "18446744073709551616"), ("x", "1"), ("yes", "true")],
    ),
    (
        r#","time":"2016-12-31T23:59:60.1234567890+00:00","subject":"é","data":1"#,
        "1",
        Some("application/json"),
        &[
            ("time", "2016-12-31T23:59:60.1234567890+00:00"),
            ("subject", "é"),
        ],
    ),
    // Where it says another topic or publisher than its packet, that is kept beside.
    (
        r#","topic":"elsewhere","publisher":"press7","data":1"#,
        "1",
        Some("application/json"),
        &[("topic", "elsewhere"), ("publisher", "press7")],
    ),
];

/// Content types and payloads that are none.
fn no_documents() -> Vec<(&'static str, String)> {
    let good = document("n", ",\"data\":1");
    vec![
        (KIND, good.replace("\"id\":\"n\",", "")),
        (KIND, good.replace("}", ",\"data\":2}")),
        (KIND, format!("{good}x")),
        (KIND, good.replace("1.0", "0.3")),
        (KIND, good.replace("\"s\"", "{}")),
        (KIND, "21.5".into()),
        (KIND, String::new()),
        ("application/json", good.clone()),
        ("application/cloudevents", good.clone()),
        ("application/cloudevents-batch+json", format!("[{good}]")),
    ]
}

#[test]
fn a_document_is_the_event_that_it_says_and_what_is_none_stays_a_payload() {
    let test = "a_document_is_the_event_that_it_says_and_what_is_none_stays_a_payload";
    let Some(mut field) = field(test, "") else {
        return;
    };
    for (door, address) in [
        ("floor", field.gateway.address),
        ("near", field.near.address),
    ] {
        let mut sender = Client::connect(address, "sender");
        for (number, (more, payload, kind, user)) in OPENED.iter().enumerate() {
            let (topic, id) = (format!("{door}/{number}"), format!("{door}-{number}"));
            let spelt = if number % 2 == 0 {
                KIND
            } else {
                "Application/CloudEvents+JSON; charset=utf-8"
            };
            let beside: &[(&str, &str)] = &[("id", &id), ("Unit", "C"), ("Unit", "")];
            let message = sent(&topic, spelt, &document(&id, more)).with_user(beside);
            assert!(sender.publish(&message) < 0x80, "{message:?}");
            for client in [&mut field.local, &mut field.remote] {
                let got = client.messages_until(&topic).pop().expect("it arrives");
                assert_eq!(got.payload, payload.as_bytes(), "{topic} {more}");
                assert_eq!(got.content_type.as_deref(), *kind, "{topic} {more}");
                let has = |name: &str| {
                    got.user
                        .iter()
                        .filter(|it| it.0 == name)
                        .map(|it| &*it.1)
                        .collect::<Vec<_>>()
                };
                assert_eq!(has("id"), [&id], "{topic} {more}");
                assert_eq!(
                    (has("source"), has("type")),
                    (vec!["s"], vec!["t"]),
                    "{topic}"
                );
                assert_eq!(has("Unit"), ["C", ""], "{topic}");
                for (name, value) in *user {
                    assert_eq!(has(name), [*value], "{name} of {topic}");
                }
            }
        }
        for (number, (kind, payload)) in no_documents().into_iter().enumerate() {
            let message = sent(&format!("{door}/no/{number}"), kind, &payload);
            assert!(sender.publish(&message) < 0x80);
            for client in [&mut field.local, &mut field.remote] {
                let got = client
                    .messages_until(&message.topic)
                    .pop()
                    .expect("it arrives");
                assert_eq!(
                    (got.payload, got.content_type),
                    (message.payload.clone(), message.content_type.clone())
                );
            }
        }
    }
    let again = sent("floor/again", KIND, &document("again", ",\"data\":1"));
    let mut sender = Client::connect(field.gateway.address, "sender");
    assert!((0..3).all(|_| sender.publish(&again) < 0x80));
    assert_eq!(
        field.gateway.events(&["--topic", "floor/again"]).len(),
        1,
        "by its id"
    );
    assert!(field.gateway.dead_letters().is_empty());
}

#[test]
fn a_gateway_that_gets_documents_from_another_has_its_events() {
    let mut central = Gateway::new("");
    central.start();
    let mut subscriber = Client::connect(central.address, "subscriber");
    subscriber.subscribe("#", AS_PUBLISHED);
    let mut edge = Gateway::new(&format!(
        "[upstreams.central]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nformat = \"structured\"\n",
        central.address
    ));
    let config = std::fs::read_to_string(edge.path("gateway.toml")).expect("a configuration");
    edge.write("gateway.toml", &config.replace("plant-a", "plant-b"));
    edge.start();
    let mut device = mqtt::connect(edge.address, "device", true).expect("let in");
    let payloads = [
        "{\"a\":1.10}\r\n",
        " -0 ",
        "21 °C",
        "",
        "\"x\"",
        "{\"a\":1,}",
        "\u{feff}{}",
        "null",
    ];
    for payload in payloads {
        mqtt::publish_acknowledged(&mut device, "t/1", 1, payload.as_bytes());
        let got = subscriber.messages_until("t/1").pop().expect("it arrives");
        assert_eq!(String::from_utf8_lossy(&got.payload), payload);
    }
    let mut events = Vec::new();
    wait::until("all are there", || {
        events = central.events(&["--topic", "t/1"]);
        events.len() == payloads.len()
    });
    for event in &events {
        let event = &event["event"];
        assert_eq!(event["source"], "plant-b/floor", "{event}");
        assert_eq!(event["publisher"], "device", "{event}");
        assert!(event.get("senderid").is_none(), "{event}");
    }
}
