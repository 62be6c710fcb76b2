//! The structured mode of the MQTT binding: the payload is a document, and the content type of MQTT 5 says so (section 3.2
//! there).

use tidegate_rules::event::Event;

use super::super::{json, read_extension};

/// Makes the event of its document, where its payload is one. What cannot be read stays a payload like any other: nothing
/// is lost by it. The topic, and who publishes, are those of the packet; what the document says of them are extensions.
pub(super) fn open(event: &mut Event) -> bool {
    let is_one = event.content_type.as_deref().is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case(json::CONTENT_TYPE)
    });
    let opened = is_one.then(|| of_document(event)).flatten();
    let is_opened = opened.is_some();
    if let Some(opened) = opened {
        *event = opened;
    }
    is_opened
}

fn of_document(packet: &Event) -> Option<Event> {
    let mut event = json::read_structured(&packet.data, packet).ok()?;
    let topic = std::mem::replace(&mut event.topic, packet.topic.clone());
    let publisher = std::mem::replace(&mut event.publisher, packet.publisher.clone());
    if topic != packet.topic {
        read_extension(&mut event, "topic", &topic).ok()?;
    }
    if publisher != packet.publisher {
        read_extension(&mut event, "publisher", &publisher).ok()?;
    }
    let is_text = std::str::from_utf8(&event.data).is_ok();
    if let Some(mqtt) = event.mqtt.as_mut().filter(|_| !is_text) {
        mqtt.payload_format = None;
    }
    Some(event)
}
