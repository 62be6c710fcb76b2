//! Cases of names, values and formats, each with what arrives.

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::version_5::{AS_PUBLISHED, Client, Message};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::wait;

use super::{field, of_sender};

type Pairs = &'static [(&'static str, &'static str)];

/// User properties in, and out beside the gateway's own.
const NAMES: &[(Pairs, Pairs)] = &[
    (&[], &[]),
    // Any names, repeats, empty ones, in their order.
    (
        &[("Unit", "C"), ("unit", "K"), ("", "")],
        &[("Unit", "C"), ("unit", "K"), ("", "")],
    ),
    (
        &[("x", "2"), ("x", "1"), ("x", "2")],
        &[("x", "2"), ("x", "1"), ("x", "2")],
    ),
    (
        &[("b", ""), ("A-b", "1"), ("a", "2")],
        &[("b", ""), ("A-b", "1"), ("a", "2")],
    ),
    (
        &[("with space", "1"), ("ü", "ü")],
        &[("with space", "1"), ("ü", "ü")],
    ),
    // The prefixes of CloudEvents.
    (&[("ce_x", "1"), ("x", "2")], &[("x", "1"), ("x", "2")]),
    (&[("x", "1"), ("ce-x", "2")], &[("x", "1"), ("ce-x", "2")]),
    // Of a sender that speaks no CloudEvents.
    (&[("id", "5")], &[("senderid", "5")]),
    (
        &[("id", "5"), ("id", "6")],
        &[("senderid", "5"), ("id", "6")],
    ),
    // Attributes, once; wrong values and further ones under their names.
    (&[("time", "noon")], &[("time", "noon")]),
    (
        &[("time", "2020-01-01T00:00:00Z"), ("time", "x")],
        &[("time", "x")],
    ),
    (
        &[("time", ""), ("time", "2020-01-01T00:00:00Z")],
        &[("time", "")],
    ),
    (
        &[("subject", ""), ("subject", "a")],
        &[("subject", "a"), ("subject", "")],
    ),
    (
        &[("type", "t"), ("z", "1"), ("type", "u")],
        &[("z", "1"), ("type", "u")],
    ),
    (&[("source", "")], &[("source", "")]),
    (&[("specversion", "0.3")], &[("specversion", "0.3")]),
    (
        &[("topic", "a"), ("publisher", "")],
        &[("topic", "a"), ("publisher", "")],
    ),
    (&[("retain", "true")], &[("retain", "true")]),
    // The way is the gateway's own.
    (
        &[("tidegatepath", "x"), ("y", "1"), ("tidegatepath", "z")],
        &[("y", "1")],
    ),
];

#[test]
fn names_values_repeats_and_their_order_arrive_as_they_were_sent() {
    let test = "names_values_repeats_and_their_order_arrive_as_they_were_sent";
    let Some(mut field) = field(test, "") else {
        return;
    };
    let many: Vec<(String, String)> = (0..40).map(|n| (format!("x{n}"), "v".into())).collect();
    let mut cases: Vec<(Message, Message)> = NAMES
        .iter()
        .map(|(sent, arrives)| {
            let message = Message::new("", "1");
            (message.clone().with_user(sent), message.with_user(arrives))
        })
        .collect();
    let with_many = Message {
        user: many,
        ..Message::new("", "1")
    };
    cases.push((with_many.clone(), with_many));
    let typed = |text: &str| Some(text.to_owned());
    let by_name = Message::new("", "1").with_user(&[("datacontenttype", "text/x")]);
    let both = Message {
        content_type: typed("text/plain"),
        ..by_name.clone()
    };
    let as_property = Message {
        content_type: typed("text/x"),
        ..Message::new("", "1")
    };
    cases.extend([(by_name, as_property), (both.clone(), both)]);
    let empty = Message {
        content_type: typed(""),
        response_topic: typed(""),
        correlation_data: Some(Vec::new()),
        payload_format: Some(0),
        ..Message::new("", "")
    };
    cases.push((empty.clone(), empty));
    let inputs = [
        ("floor", field.gateway.address),
        ("near", field.near.address),
    ];
    for (prefix, address) in inputs {
        let mut sender = Client::connect(address, "sender");
        for (number, (sent, arrives)) in cases.iter().enumerate() {
            let topic = format!("{prefix}/{number}");
            let sent = Message {
                topic: topic.clone(),
                ..sent.clone()
            };
            assert!(sender.publish(&sent) < 0x80, "{sent:?}");
            for (place, client) in [("local", &mut field.local), ("remote", &mut field.remote)] {
                let arrived = client.messages_until(&topic).pop().expect("it arrives");
                let arrived = Message {
                    user: of_sender(&arrived),
                    ..arrived
                };
                let expected = Message {
                    topic: topic.clone(),
                    ..arrives.clone()
                };
                assert_eq!(arrived, expected, "{place}, sent {sent:?}");
            }
        }
    }
}

#[test]
fn more_properties_than_are_kept_are_refused_or_set_aside_and_none_is_lost_silently() {
    let test = "more_properties_than_are_kept_are_refused_or_set_aside_and_none_is_lost_silently";
    let Some(field) = field(test, "") else {
        return;
    };
    let long = "v".repeat(60_000);
    let message =
        |topic: &str| Message::new(topic, "kept").with_user(&[("A", &long), ("A", &long)]);
    let mut sender = Client::connect(field.gateway.address, "sender");
    assert_eq!(sender.publish(&message("floor/x")), 0x97, "quota exceeded");
    let mut sender = Client::connect(field.near.address, "sender");
    assert!(sender.publish(&message("near/x")) < 0x80);
    let letter = wait::find("the dead letter", || {
        let letters = field.gateway.dead_letters();
        letters.first().cloned().ok_or("none")
    });
    let reason = letter["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("user properties"), "{letter}");
    assert_eq!(letter["event"]["topic"], "near/x", "{letter}");
}

/// A message that says everything.
fn full(topic: &str) -> Message {
    Message {
        payload_format: Some(1),
        expiry_s: Some(1000),
        content_type: Some("text/plain".into()),
        response_topic: Some("answers".into()),
        correlation_data: Some(vec![0, 255]),
        ..Message::new(topic, "21.5").with_user(&[("Unit", "C"), ("unit", "K"), ("Unit", "")])
    }
}

#[test]
fn a_structured_document_has_the_properties_of_mqtt_beside_it() {
    let test = "a_structured_document_has_the_properties_of_mqtt_beside_it";
    let Some(mut field) = field(test, "format = \"structured\"") else {
        return;
    };
    let mut sender = Client::connect(field.gateway.address, "sender");
    assert!(sender.publish(&full("floor/x")) < 0x80);
    let arrived = field.remote.messages_until("floor/x").pop().expect("it");
    let text = String::from_utf8(arrived.payload.clone()).expect("UTF-8");
    let document: serde_json::Value = serde_json::from_str(&text).expect("a document");
    assert_eq!(document["unit"], "K", "{text}");
    assert!(!text.contains("Unit"), "{text}");
    let expected = full("floor/x").with_user(&[("Unit", "C"), ("Unit", "")]);
    assert!(arrived.expiry_s.is_some_and(|left| left <= 1000));
    let arrived = Message {
        user: of_sender(&arrived),
        payload: expected.payload.clone(),
        content_type: expected.content_type.clone(),
        expiry_s: expected.expiry_s,
        ..arrived
    };
    assert_eq!(arrived, expected);
}

#[test]
fn what_has_no_place_in_mqtt_3_1_1_or_json_is_left_out_without_an_error() {
    let test = "what_has_no_place_in_mqtt_3_1_1_or_json_is_left_out_without_an_error";
    let Some(mut far) = Mosquitto::new(test) else {
        return;
    };
    far.start();
    let mut remote = Client::connect(far.address, "remote");
    remote.subscribe("#", AS_PUBLISHED);
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nversion = \"3.1.1\"\n\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n",
        far.address
    ));
    gateway.start();
    let mut sender = Client::connect(gateway.address, "sender");
    assert!(sender.publish(&full("floor/x")) < 0x80);
    let arrived = remote.messages_until("floor/x").pop().expect("it arrives");
    assert_eq!(arrived, Message::new("floor/x", "21.5"));
    let line = wait::find("the line", || {
        let text = std::fs::read_to_string(gateway.path("out.jsonl")).unwrap_or_default();
        text.lines().next().map(str::to_owned).ok_or(text)
    });
    let document: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(document["unit"], "K", "{line}");
    assert!(
        !line.contains("Unit") && !line.contains("answers"),
        "{line}"
    );
    assert!(gateway.dead_letters().is_empty());
}
