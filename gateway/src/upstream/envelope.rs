//! CloudEvents on the way out: attributes for the protocol's metadata, or one JSON document
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use serde_json::{Map, Value};

use super::Delivery;

/// The attributes of a delivery by their CloudEvents names, `datacontenttype` left out.
pub fn attributes(delivery: &Delivery) -> Vec<(&str, String)> {
    let event = &delivery.event;
    let mut attributes = vec![
        ("id", delivery.id().into_owned()),
        ("source", event.source.to_string()),
        ("type", event.kind.to_string()),
    ];
    attributes.push(("time", rfc3339(event.happened())));
    if let Some(subject) = &event.subject {
        attributes.push(("subject", subject.to_string()));
    }
    if let Some(schema) = &event.schema {
        attributes.push(("dataschema", schema.to_string()));
    }
    if let Some(key) = &delivery.output.key {
        attributes.push(("partitionkey", key.to_string()));
    }
    if delivery.is_derived() {
        attributes.push(("causationid", event.id.to_string()));
    }
    if delivery.historical {
        attributes.push(("historical", "true".into()));
    }
    let own = |name: &str| name != "causationid" || !delivery.is_derived();
    for (name, value) in event.extensions.iter().filter(|(name, _)| own(name)) {
        attributes.push((name, value.to_string()));
    }
    attributes
}

/// A time as RFC 3339 in UTC; what no calendar holds becomes the epoch.
pub fn rfc3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

/// One JSON document with attributes and payload: `data` where the payload is JSON, text where
/// it is UTF-8, else `data_base64`.
pub fn structured(delivery: &Delivery) -> Vec<u8> {
    let mut document = Map::new();
    document.insert("specversion".into(), "1.0".into());
    for (name, value) in attributes(delivery) {
        document.insert(name.into(), value.into());
    }
    document.insert("topic".into(), delivery.topic().into());
    document.insert(
        "publisher".into(),
        delivery.event.publisher.to_string().into(),
    );
    let payload = delivery.payload();
    let content_type = delivery.event.content_type.as_deref();
    let json = serde_json::from_slice::<Value>(payload).ok();
    match (json, std::str::from_utf8(payload)) {
        (Some(value), _) if is_json(content_type) => {
            document.insert("datacontenttype".into(), "application/json".into());
            document.insert("data".into(), value);
        }
        (_, Ok(text)) => {
            document.insert(
                "datacontenttype".into(),
                content_type.unwrap_or("text/plain").into(),
            );
            document.insert("data".into(), text.into());
        }
        (_, Err(_)) => {
            document.insert(
                "datacontenttype".into(),
                content_type.unwrap_or("application/octet-stream").into(),
            );
            document.insert("data_base64".into(), base64(payload).into());
        }
    }
    serde_json::to_vec(&Value::Object(document)).unwrap_or_default()
}

/// No content type counts as JSON if it parses as such.
fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_none_or(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.ends_with("/json") || kind.ends_with("+json")
    })
}

/// Standard base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = (group >> (18 - 6 * digit)) & 63;
                text.push(char::from(DIGITS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Fills the places of a topic template from a delivery.
pub fn topic(template: &str, delivery: &Delivery, gateway: &str) -> String {
    let event = &delivery.event;
    let topic = delivery.topic();
    if template == "{topic}" {
        return topic.to_owned();
    }
    template
        .replace("{topic}", topic)
        .replace("{source}", &event.source)
        .replace("{publisher}", &event.publisher)
        .replace("{type}", &event.kind)
        .replace("{id}", &delivery.id())
        .replace("{key}", delivery.output.key.as_deref().unwrap_or_default())
        .replace("{gateway}", gateway)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_rules::decision::Output;
    use tidegate_rules::event::Event;

    use super::*;
    use crate::upstream::Token;

    fn event() -> Event {
        Event {
            id: "e-1".into(),
            source: "plant-a/floor".into(),
            kind: "reading".into(),
            subject: None,
            topic: "plant/A/press7/temp".into(),
            publisher: "press7".into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::new(),
        }
    }

    fn delivery(output: u16, topic: Option<&str>) -> Delivery {
        Delivery {
            token: Token {
                sequence: 7,
                output,
            },
            event: Arc::new(event()),
            output: Output {
                topic: topic.map(Arc::from),
                rule: Some("hot".into()),
                ..Output::default()
            },
            historical: false,
            attempts: 0,
        }
    }

    #[test]
    fn what_a_rule_derives_leaves_under_an_id_of_its_own() {
        assert_eq!(delivery(0, None).id(), "e-1", "unchanged, it is the event");
        let alarm = delivery(1, Some("alarms/A"));
        assert_eq!(alarm.id(), "e-1/hot/1");
        assert_ne!(alarm.id(), delivery(2, Some("alarms/B")).id());
        assert!(attributes(&alarm).contains(&("causationid", "e-1".to_owned())));
    }

    #[test]
    fn base64_agrees_with_the_vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded, "{plain}");
        }
    }
}
