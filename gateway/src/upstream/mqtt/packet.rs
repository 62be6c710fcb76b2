//! Packets to and from a broker. CONNECT is written by the client library's codec. What there is for each event is written
//! and read here: without a copy of each text on the way, and the library ends a connection over each reason that it does not
//! know, and thereby does not tell which event it is about.

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttc::v5;

use super::reason;
use crate::config::{Broker, MqttVersion};
use crate::event::cloudevents::mqtt::publish::PublishProperties;

/// The largest packet taken from a broker: nothing that it sends here is large.
pub(super) const INCOMING_BYTES_MAX: usize = 1024 * 1024;
/// The largest length that MQTT has.
const LENGTH_MAX: usize = 268_435_455;
/// Characters of what a broker says in its own words.
const SAID_CHARS_MAX: usize = 200;

/// What is published, in neither version's shape.
pub(super) struct OutgoingMessage<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) payload: Bytes,
    /// For MQTT 5.
    pub(super) properties: PublishProperties<'a>,
}

impl OutgoingMessage<'_> {
    /// The bytes of its PUBLISH, all of them.
    pub(super) fn size(&self, version: MqttVersion) -> usize {
        let rest = self.bytes_behind_length(version);
        1 + length_bytes(rest) + rest
    }

    fn bytes_behind_length(&self, version: MqttVersion) -> usize {
        let properties = match version {
            MqttVersion::V311 => 0,
            MqttVersion::V5 => {
                let properties = self.properties.size();
                length_bytes(properties) + properties
            }
        };
        2 + self.topic.len() + 2 + properties + self.payload.len()
    }

    /// Writes it with its packet identifier. Its texts are checked before, and no longer than MQTT
    /// carries.
    ///
    /// # Errors
    /// What MQTT does not carry: a packet over 256 MiB.
    pub(super) fn write(
        &self,
        version: MqttVersion,
        id: u16,
        out: &mut BytesMut,
    ) -> Result<(), String> {
        let rest = self.bytes_behind_length(version);
        if rest > LENGTH_MAX {
            return Err(format!("{rest} bytes are over the largest packet of MQTT"));
        }
        out.reserve(5 + rest);
        out.put_u8(0x30 | self.qos << 1 | u8::from(self.retain));
        put_length(out, rest);
        put_text(out, &self.topic);
        out.put_u16(id);
        if version == MqttVersion::V5 {
            put_length(out, self.properties.size());
            self.properties.put(out);
        }
        out.put_slice(&self.payload);
        Ok(())
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn put_length(out: &mut BytesMut, mut length: usize) {
    while length > 0x7f {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

/// The bytes that a length takes.
fn length_bytes(length: usize) -> usize {
    match length {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Writes CONNECT: a session that ends with its connection, for the store is the only queue.
///
/// # Errors
/// When the codec cannot write it, in words.
pub(super) fn connect(broker: &Broker, out: &mut BytesMut) -> Result<(), String> {
    let keep_alive = u16::try_from(broker.keep_alive.as_secs()).unwrap_or(u16::MAX);
    match broker.version {
        MqttVersion::V311 => {
            let mut connect = rumqttc::Connect::new(&broker.client_id);
            connect.keep_alive = keep_alive;
            if let Some((user, password)) = &broker.login {
                connect.set_login(user, password.reveal());
            }
            connect
                .write(out)
                .map(drop)
                .map_err(|error| error.to_string())
        }
        MqttVersion::V5 => {
            use v5::mqttbytes::v5::{Connect, ConnectProperties, Login};
            let login = broker.login.as_ref();
            let login = login.map(|(user, password)| Login::new(user, password.reveal()));
            let connect = Connect {
                keep_alive,
                client_id: broker.client_id.clone(),
                clean_start: true,
                properties: Some(ConnectProperties {
                    max_packet_size: Some(INCOMING_BYTES_MAX as u32),
                    ..ConnectProperties::new()
                }),
            };
            let written = connect.write(&None, &login, out);
            written.map(drop).map_err(|error| error.to_string())
        }
    }
}

/// PINGREQ.
pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];
/// DISCONNECT.
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// PUBREL.
pub(super) fn pubrel(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x62, 2, high, low]
}

/// What a broker sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// CONNACK: its reason in MQTT 5's numbers, its words and its properties.
    ConnAck {
        reason: u8,
        said: Option<String>,
        properties: Bytes,
    },
    /// PUBACK.
    PubAck(Acknowledgement),
    /// PUBREC.
    PubRec(Acknowledgement),
    /// PUBCOMP of this packet identifier.
    PubComp(u16),
    /// DISCONNECT, in words.
    Disconnect(String),
    /// PINGRESP, and what a client that subscribes to nothing need not look at.
    Other,
}

/// What a broker says of a publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    pub(super) id: u16,
    pub(super) reason: u8,
    /// Its own words.
    pub(super) said: Option<String>,
}

/// Takes the next packet out of `buffer`; `None` while bytes are missing.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn next(buffer: &mut BytesMut) -> Result<Option<Incoming>, String> {
    let Some(first) = buffer.first().copied() else {
        return Ok(None);
    };
    let Some((length, at)) = varint(&buffer[1..])? else {
        return Ok(None);
    };
    if length > INCOMING_BYTES_MAX {
        return Err(format!("the broker sends a packet of {length} bytes"));
    }
    if buffer.len() < 1 + at + length {
        return Ok(None);
    }
    buffer.advance(1 + at);
    incoming(first >> 4, buffer.split_to(length).freeze()).map(Some)
}

fn incoming(kind: u8, mut body: Bytes) -> Result<Incoming, String> {
    let short = || "the broker sends a packet that is too short".to_owned();
    match kind {
        2 => {
            let (_, code) = (body.try_get_u8(), body.try_get_u8());
            let code = code.map_err(|_| short())?;
            let reason = match code {
                // A broker of MQTT 3.1.1 answers in its own numbers, whatever it was asked in.
                1..0x80 => reason::of_return_code(code),
                reason => reason,
            };
            let said = reason_string(&body);
            Ok(Incoming::ConnAck {
                reason,
                said,
                properties: body,
            })
        }
        4 | 5 | 7 => {
            let id = body.try_get_u16().map_err(|_| short())?;
            let reason = body.try_get_u8().unwrap_or(0);
            let said = reason_string(&body);
            let acknowledgement = Acknowledgement { id, reason, said };
            Ok(match kind {
                4 => Incoming::PubAck(acknowledgement),
                5 => Incoming::PubRec(acknowledgement),
                _ => Incoming::PubComp(id),
            })
        }
        14 => {
            let code = body.try_get_u8().unwrap_or(0);
            let said = reason_string(&body);
            let words = match code {
                0 => "without a reason".to_owned(),
                code => reason::words(code, said.as_deref()),
            };
            Ok(Incoming::Disconnect(words))
        }
        3 | 9 | 11 | 13 => Ok(Incoming::Other),
        kind => Err(format!(
            "the broker sends a packet of type {kind}, which only a client does"
        )),
    }
}

/// A length and the bytes that it takes; `None` while bytes are missing.
fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    match bytes.len() < 4 {
        true => Ok(None),
        false => Err("the broker sends a packet with a length that is none".to_owned()),
    }
}

/// A property of MQTT 5, by its number (2.2.2.2 there).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Property<'a> {
    Number(u8, u32),
    Text(u8, &'a [u8]),
}

/// The properties behind their length, up to the first that is none; user properties and bytes are left out.
pub(super) fn properties(bytes: &[u8]) -> impl Iterator<Item = Property<'_>> {
    let length = varint(bytes).ok().flatten();
    let inside = length.and_then(|(length, at)| bytes.get(at..at + length));
    let mut rest = inside.unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            if let Some(property) = property(&mut rest)? {
                return Some(property);
            }
        }
    })
}

fn property<'a>(rest: &mut &'a [u8]) -> Option<Option<Property<'a>>> {
    let id = rest.try_get_u8().ok()?;
    let property = match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => {
            Property::Number(id, rest.try_get_u8().ok()?.into())
        }
        0x13 | 0x21 | 0x22 | 0x23 => Property::Number(id, rest.try_get_u16().ok()?.into()),
        0x02 | 0x11 | 0x18 | 0x27 => Property::Number(id, rest.try_get_u32().ok()?),
        0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Property::Text(id, text(rest)?),
        0x09 | 0x16 => {
            text(rest)?;
            return Some(None);
        }
        0x26 => {
            text(rest)?;
            text(rest)?;
            return Some(None);
        }
        _ => return None,
    };
    Some(Some(property))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(rest.try_get_u16().ok()?);
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(text)
}

/// The reason string among properties.
fn reason_string(bytes: &[u8]) -> Option<String> {
    let said = properties(bytes).find_map(|property| match property {
        Property::Text(0x1f, text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    })?;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let said: String = said.chars().map(plain).take(SAID_CHARS_MAX).collect();
    Some(said).filter(|said| !said.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reads_what_is_written_and_its_size_is_known_to_the_byte() {
        use v5::mqttbytes::v5::Packet;
        for payload in [0, 1, 70, 100, 113, 16_000, 16_376, 70_000, 2_097_140] {
            for attributes in [0, 1, 9, 16, 17, 1_000] {
                let message = OutgoingMessage {
                    topic: "a/b".into(),
                    qos: 1,
                    retain: payload % 2 == 1,
                    payload: vec![7; payload].into(),
                    properties: PublishProperties {
                        payload_format: (attributes > 1).then_some(1),
                        expiry_s: (attributes > 9).then_some(u32::MAX),
                        content_type: (attributes % 2 == 1).then_some("text/plain"),
                        response_topic: (attributes > 16).then_some(""),
                        correlation_data: (attributes > 17).then_some(b"\0\xff"),
                        user: vec![("id", Cow::Borrowed("x")); attributes],
                    },
                };
                let mut out = BytesMut::new();
                message
                    .write(MqttVersion::V5, 7, &mut out)
                    .expect("it fits");
                assert_eq!(out.len(), message.size(MqttVersion::V5));
                let Ok(Packet::Publish(read)) = Packet::read(&mut out, None) else {
                    panic!("{payload} {attributes}");
                };
                assert!(out.is_empty());
                assert_eq!((&*read.topic, read.pkid), (&b"a/b"[..], 7));
                assert_eq!(
                    (&read.payload, read.retain),
                    (&message.payload, message.retain)
                );
                let properties = read.properties.unwrap_or_default();
                let sent = &message.properties;
                let texts = (&properties.content_type, &properties.response_topic);
                let texts = (texts.0.as_deref(), texts.1.as_deref());
                assert_eq!(texts, (sent.content_type, sent.response_topic));
                let numbers = (
                    properties.payload_format_indicator,
                    properties.message_expiry_interval,
                );
                assert_eq!(numbers, (sent.payload_format, sent.expiry_s));
                let correlation_data = properties.correlation_data.as_deref();
                assert_eq!(correlation_data, sent.correlation_data);
                let user = sent.user.iter();
                let user = user.map(|(name, value)| ((*name).to_owned(), value.to_string()));
                assert!(user.eq(properties.user_properties));
                message
                    .write(MqttVersion::V311, 8, &mut out)
                    .expect("it fits");
                assert_eq!(out.len(), message.size(MqttVersion::V311));
                let read = rumqttc::Packet::read(&mut out, usize::MAX);
                let Ok(rumqttc::Packet::Publish(read)) = read else {
                    panic!("{payload}");
                };
                assert_eq!(
                    (&*read.topic, read.pkid, &read.payload),
                    ("a/b", 8, &message.payload)
                );
            }
        }
    }

    #[test]
    fn an_acknowledgement_is_read_with_any_reason_and_any_properties() {
        let mut with_words = vec![0x40, 16, 0, 7, 0x95, 12, 0x26, 0, 1, b'a', 0, 0, 0x1f, 0, 3];
        with_words.extend(b"\nno");
        let cases: Vec<(Vec<u8>, u8, Option<&str>)> = vec![
            (vec![0x40, 2, 0, 7], 0, None),
            (vec![0x40, 3, 0, 7, 0x10], 0x10, None),
            (vec![0x40, 3, 0, 7, 0x95], 0x95, None),
            (vec![0x40, 4, 0, 7, 0xfe, 0], 0xfe, None),
            (with_words, 0x95, Some(" no")),
            (vec![0x40, 6, 0, 7, 0x87, 200, 1, 2], 0x87, None),
        ];
        for (bytes, reason, said) in cases {
            let mut buffer = BytesMut::new();
            for byte in &bytes[..bytes.len() - 1] {
                buffer.extend([*byte]);
                assert_eq!(next(&mut buffer), Ok(None), "{bytes:?}");
            }
            buffer.extend(bytes.last());
            let expected = Acknowledgement {
                id: 7,
                reason,
                said: said.map(str::to_owned),
            };
            assert_eq!(next(&mut buffer), Ok(Some(Incoming::PubAck(expected))));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_refusal_of_a_broker_of_the_other_version_is_read() {
        for (bytes, reason) in [
            (&[0x20, 2, 0, 0][..], 0),
            (&[0x20, 2, 0, 1], 0x84),
            (&[0x20, 2, 0, 5], 0x87),
            (&[0x20, 3, 0, 0x84, 0], 0x84),
            (&[0x20, 3, 0, 0xff, 0], 0xff),
        ] {
            let mut buffer = BytesMut::from(bytes);
            match next(&mut buffer) {
                Ok(Some(Incoming::ConnAck { reason: read, .. })) => assert_eq!(read, reason),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8.., 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = next(&mut buffer) {}
            properties(&bytes).for_each(drop);
        }
    }
}
