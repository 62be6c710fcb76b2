//! What a PUBLISH of MQTT 5 says beside its topic and its payload, and its bytes (section 3.3.2.3 there).

use bytes::{BufMut, BytesMut};
use tidegate_rules::event::Event;

use crate::event::cloudevents::{Attribute, binary_content_type};
use crate::event::delivery::expiry::Remaining;

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const USER: u8 = 0x26;
/// The payload is UTF-8; 0 says nothing of it.
const UTF_8: u8 = 1;

/// Its properties.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    /// Payload Format Indicator.
    pub payload_format: Option<u8>,
    /// Message Expiry Interval in seconds.
    pub expiry_s: Option<u32>,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// Response Topic.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// User properties, in their order.
    pub user: Vec<Attribute<'a>>,
}

impl<'a> PublishProperties<'a> {
    /// Those of an event that leaves with these user properties, this payload and so much of its time.
    pub fn of(
        event: &'a Event,
        payload: &[u8],
        remaining: Remaining,
        user: Vec<Attribute<'a>>,
    ) -> PublishProperties<'a> {
        let mqtt = event.mqtt.as_deref();
        let format = mqtt.and_then(|mqtt| mqtt.payload_format);
        // A rule may have made bytes of what was text; what is untouched is what its sender says.
        let is_so = |format: &u8| match *format {
            0 => true,
            UTF_8 => *payload == *event.data || std::str::from_utf8(payload).is_ok(),
            _ => false,
        };
        PublishProperties {
            payload_format: format.filter(is_so),
            expiry_s: remaining.seconds(),
            content_type: binary_content_type(event, payload),
            response_topic: mqtt.and_then(|mqtt| mqtt.response_topic.as_deref()),
            correlation_data: mqtt.and_then(|mqtt| mqtt.correlation_data.as_deref()),
            user,
        }
    }

    /// Their bytes, without the length in front of them.
    pub fn size(&self) -> usize {
        let user = self.user.iter();
        let user: usize = user
            .map(|(name, value)| 1 + bytes_of(name.as_bytes()) + bytes_of(value.as_bytes()))
            .sum();
        let texts = [self.content_type, self.response_topic];
        let texts = texts.into_iter().flatten().map(str::as_bytes);
        let others = texts.chain(self.correlation_data);
        let others: usize = others.map(|bytes| 1 + bytes_of(bytes)).sum();
        let format = self.payload_format.map_or(0, |_| 2);
        format + self.expiry_s.map_or(0, |_| 5) + others + user
    }

    /// Writes them, without the length in front of them. What is longer than MQTT carries is cut.
    pub fn put(&self, out: &mut BytesMut) {
        if let Some(format) = self.payload_format {
            out.put_slice(&[PAYLOAD_FORMAT, format]);
        }
        if let Some(seconds) = self.expiry_s {
            out.put_u8(MESSAGE_EXPIRY);
            out.put_u32(seconds);
        }
        let others = [
            (CONTENT_TYPE, self.content_type.map(str::as_bytes)),
            (RESPONSE_TOPIC, self.response_topic.map(str::as_bytes)),
            (CORRELATION_DATA, self.correlation_data),
        ];
        for (id, bytes) in others {
            if let Some(bytes) = bytes {
                out.put_u8(id);
                put(out, bytes);
            }
        }
        for (name, value) in &self.user {
            out.put_u8(USER);
            put(out, name.as_bytes());
            put(out, value.as_bytes());
        }
    }
}

fn carried(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(usize::from(u16::MAX))]
}

fn bytes_of(bytes: &[u8]) -> usize {
    2 + carried(bytes).len()
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    let bytes = carried(bytes);
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}
