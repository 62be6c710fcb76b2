//! Packets to clients, in the bytes of the client's version.

use bytes::{BufMut, BytesMut};

use super::fields::property_id;
use super::packet::V5;
use super::reason;
use crate::event::cloudevents::mqtt::publish::PublishProperties;

/// The CONNACK return code of MQTT 3.1.1 (3.2.2.3 there) for a reason code.
fn return_code(reason: u8) -> u8 {
    match reason {
        reason::SUCCESS => 0,
        reason::UNSUPPORTED_VERSION => 1,
        reason::CLIENT_ID_NOT_VALID => 2,
        reason::BAD_LOGIN => 4,
        reason::NOT_AUTHORIZED => 5,
        _ => 3,
    }
}

/// What an accepting CONNACK tells an MQTT 5 client.
pub struct ConnackProperties<'a> {
    /// An id for a client that gave none.
    pub assigned_client_id: Option<&'a str>,
    /// A keep-alive other than the client's, in seconds.
    pub keep_alive_s: Option<u16>,
    /// Publishes under way at once.
    pub receive_max: u16,
    /// The largest packet.
    pub packet_bytes_max: u32,
}

/// CONNACK with session present = 0: sessions end with their connection.
pub fn connack(out: &mut BytesMut, level: u8, reason: u8, properties: Option<&ConnackProperties>) {
    if level != V5 {
        out.put_slice(&[0x20, 2, 0, return_code(reason)]);
        return;
    }
    let mut bytes = BytesMut::new();
    if let Some(properties) = properties {
        bytes.put_u8(property_id::RECEIVE_MAXIMUM);
        bytes.put_u16(properties.receive_max);
        bytes.put_u8(property_id::MAXIMUM_PACKET_SIZE);
        bytes.put_u32(properties.packet_bytes_max);
        bytes.put_slice(&[property_id::SHARED_AVAILABLE, 0]);
        bytes.put_slice(&[property_id::SUBSCRIPTION_ID_AVAILABLE, 0]);
        bytes.put_u8(property_id::SESSION_EXPIRY);
        bytes.put_u32(0);
        if let Some(keep_alive_s) = properties.keep_alive_s {
            bytes.put_u8(property_id::SERVER_KEEP_ALIVE);
            bytes.put_u16(keep_alive_s);
        }
        if let Some(client_id) = properties.assigned_client_id {
            bytes.put_u8(property_id::ASSIGNED_CLIENT_ID);
            text(&mut bytes, client_id);
        }
    }
    out.put_u8(0x20);
    varint(out, 2 + varint_len(bytes.len()) + bytes.len());
    out.put_slice(&[0, reason]);
    varint(out, bytes.len());
    out.put_slice(&bytes);
}

/// PUBACK or PUBREC that refuses a publish of MQTT 5, with a reason string.
pub fn refuse(out: &mut BytesMut, first: u8, packet_id: u16, reason: u8, why: &str) {
    let mut properties = BytesMut::new();
    properties.put_u8(property_id::REASON_STRING);
    text(&mut properties, why);
    out.put_u8(first);
    varint(out, 3 + varint_len(properties.len()) + properties.len());
    out.put_u16(packet_id);
    out.put_u8(reason);
    varint(out, properties.len());
    out.put_slice(&properties);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP, by its first byte.
pub fn acknowledge(out: &mut BytesMut, level: u8, first: u8, packet_id: u16, reason: u8) {
    let with_reason = level == V5 && reason != reason::SUCCESS;
    out.put_slice(&[first, if with_reason { 3 } else { 2 }]);
    out.put_u16(packet_id);
    if with_reason {
        out.put_u8(reason);
    }
}

/// First byte of PUBACK.
pub const PUBACK: u8 = 0x40;
/// First byte of PUBREC.
pub const PUBREC: u8 = 0x50;
/// First byte of PUBREL.
pub const PUBREL: u8 = 0x62;
/// First byte of PUBCOMP.
pub const PUBCOMP: u8 = 0x70;
/// First byte of SUBACK.
pub const SUBACK: u8 = 0x90;
/// First byte of UNSUBACK.
pub const UNSUBACK: u8 = 0xb0;

/// SUBACK or UNSUBACK with one code per filter. MQTT 3.1.1 knows only 0x80 for a failure, and no
/// codes in an UNSUBACK.
pub fn subscription_ack(out: &mut BytesMut, level: u8, first: u8, packet_id: u16, codes: &[u8]) {
    let v5 = level == V5;
    let codes: &[u8] = if !v5 && first == UNSUBACK { &[] } else { codes };
    out.put_u8(first);
    varint(out, 2 + usize::from(v5) + codes.len());
    out.put_u16(packet_id);
    if v5 {
        out.put_u8(0);
    }
    for code in codes {
        out.put_u8(if v5 { *code } else { (*code).min(0x80) });
    }
}

/// PINGRESP.
pub fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xd0, 0]);
}

/// DISCONNECT with a reason string; MQTT 3.1.1 has none from the server, the connection just closes.
pub fn disconnect(out: &mut BytesMut, level: u8, reason: u8, why: &str) {
    if level != V5 {
        return;
    }
    if why.is_empty() {
        return out.put_slice(&[0xe0, 1, reason]);
    }
    let mut properties = BytesMut::new();
    properties.put_u8(property_id::REASON_STRING);
    text(&mut properties, why);
    out.put_u8(0xe0);
    varint(out, 1 + varint_len(properties.len()) + properties.len());
    out.put_u8(reason);
    varint(out, properties.len());
    out.put_slice(&properties);
}

/// A PUBLISH to a subscriber.
pub struct OutgoingPublish<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// 0 or 1.
    pub qos: u8,
    /// 0 with QoS 0.
    pub packet_id: u16,
    /// Retain flag.
    pub retain: bool,
    /// For MQTT 5.
    pub properties: PublishProperties<'a>,
    /// The payload.
    pub payload: &'a [u8],
}

/// PUBLISH.
pub fn publish(out: &mut BytesMut, level: u8, publish: &OutgoingPublish) {
    let properties = publish.properties.size();
    let mut len = 2 + publish.topic.len() + publish.payload.len();
    if publish.qos > 0 {
        len += 2;
    }
    if level == V5 {
        len += varint_len(properties) + properties;
    }
    out.put_u8(0x30 | (publish.qos << 1) | u8::from(publish.retain));
    varint(out, len);
    text(out, publish.topic);
    if publish.qos > 0 {
        out.put_u16(publish.packet_id);
    }
    if level == V5 {
        varint(out, properties);
        publish.properties.put(out);
    }
    out.put_slice(publish.payload);
}

/// A string with its length; longer ones than the protocol can carry are cut.
fn text(out: &mut BytesMut, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

fn varint(out: &mut BytesMut, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.put_u8(byte);
        }
        out.put_u8(byte | 0x80);
    }
}

fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
