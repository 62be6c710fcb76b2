//! Packets out of the bytes that clients send.

use bytes::{Buf, BytesMut};

use tidegate_rules::topic::is_valid_topic_name;

use super::fields::DecodeError::{self, Malformed, ProtocolError};
use super::fields::{
    FieldReader, FixedHeader, Properties, Property, PropertySet, header, property_id,
};
use super::packet::{ConnectPacket, Packet, PublishPacket, SubscribePacket, V5, V31, V311};

/// User properties of one packet that are read; a publish with more is not taken.
const USER_PROPERTIES_MAX: usize = 1024;

/// What a packet may have (table 2-4).
const OF_CONNECT: PropertySet =
    PropertySet::of(&[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]);
const OF_WILL: PropertySet = PropertySet::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]);
const OF_PUBLISH: PropertySet = PropertySet::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26]);
const OF_SUBSCRIBE: PropertySet = PropertySet::of(&[0x0b, 0x26]);
const OF_UNSUBSCRIBE: PropertySet = PropertySet::of(&[0x26]);
const OF_DISCONNECT: PropertySet = PropertySet::of(&[0x11, 0x1f, 0x26]);

const RESERVED_FLAGS: DecodeError = Malformed("reserved flags are set");

/// What stands at the front of the receive buffer.
#[derive(Debug, PartialEq)]
pub enum Decoded {
    /// A packet, taken out of the buffer.
    Packet(Packet),
    /// Bytes are missing.
    Incomplete,
    /// A packet larger than allowed; its header says how large.
    TooLarge(usize),
}

/// Takes the next packet out of `buffer`.
///
/// The size is checked as soon as the header is there, so a buffer never needs to hold more than
/// `bytes_max`.
///
/// # Errors
/// [`DecodeError`] for everything the standard calls a malformed packet or a protocol error.
pub fn next_packet(
    buffer: &mut BytesMut,
    level: u8,
    bytes_max: usize,
) -> Result<Decoded, DecodeError> {
    let Some(header) = header(buffer)? else {
        return Ok(Decoded::Incomplete);
    };
    if header.remaining > bytes_max {
        return Ok(Decoded::TooLarge(header.remaining));
    }
    if buffer.len() < header.len + header.remaining {
        return Ok(Decoded::Incomplete);
    }
    let mut packet = buffer.split_to(header.len + header.remaining).freeze();
    packet.advance(header.len);
    body(&header, FieldReader::new(packet), level).map(Decoded::Packet)
}

/// The head of a PUBLISH that is too large to be held: what stands before its properties.
#[derive(Debug, PartialEq)]
pub struct PublishHead {
    /// Topic, QoS and packet identifier.
    pub publish: PublishPacket,
    /// Bytes of properties behind it.
    pub properties: usize,
    /// Bytes of payload behind them.
    pub payload: usize,
}

/// Takes the head of a PUBLISH out of `buffer`; `None` while bytes are missing.
///
/// # Errors
/// As [`next_packet`].
pub fn publish_head(buffer: &mut BytesMut, level: u8) -> Result<Option<PublishHead>, DecodeError> {
    let Some(header) = header(buffer)? else {
        return Ok(None);
    };
    let Some(topic) = buffer.get(header.len..header.len + 2) else {
        return Ok(None);
    };
    // The packet identifier and the length of the properties follow the topic.
    let topic = 2 + usize::from(u16::from_be_bytes([topic[0], topic[1]]));
    let head = header.remaining.min(topic + 2 + 4);
    let Some(bytes) = buffer.get(header.len..header.len + head) else {
        return Ok(None);
    };
    let mut fields = FieldReader::new(bytes::Bytes::copy_from_slice(bytes));
    let publish = before_properties(header.first & 0x0f, &mut fields, level)?;
    let properties = if level == V5 { fields.varint()? } else { 0 };
    let head = head - fields.rest().len();
    let payload = (header.remaining - head).checked_sub(properties);
    let payload = payload.ok_or(Malformed("more properties than bytes"))?;
    buffer.advance(header.len + head);
    Ok(Some(PublishHead {
        publish,
        properties,
        payload,
    }))
}

/// The protocol level that a CONNECT claims, as soon as its bytes are there.
pub fn claimed_level(bytes: &[u8]) -> Option<u8> {
    let header = header(bytes).ok()??;
    let name = bytes.get(header.len..)?.strip_prefix(b"\0\x04MQTT")?;
    name.first().copied()
}

fn body(header: &FixedHeader, fields: FieldReader, level: u8) -> Result<Packet, DecodeError> {
    let flags = header.first & 0x0f;
    let kind = header.first >> 4;
    let expected = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
    // A CONNECT looks at them itself. In MQTT 3.1 they are not used, and DUP may be set (2.1 there).
    if !matches!(kind, 1 | 3) && level != V31 && flags != expected {
        return Err(RESERVED_FLAGS);
    }
    match kind {
        1 => connect(flags, fields).map(|connect| Packet::Connect(Box::new(connect))),
        3 => publish(flags, fields, level).map(Packet::Publish),
        4 => acknowledged_id(fields, level).map(Packet::PubAck),
        5 => acknowledged_id(fields, level).map(Packet::PubRec),
        6 => acknowledged_id(fields, level).map(Packet::PubRel),
        7 => acknowledged_id(fields, level).map(Packet::PubComp),
        8 => subscribe(fields, level).map(Packet::Subscribe),
        10 => unsubscribe(fields, level),
        12 if fields.is_empty() => Ok(Packet::PingReq),
        14 => disconnect(fields, level),
        15 => Err(Malformed("enhanced authentication was not agreed on")),
        _ => Err(Malformed("a client does not send this packet type")),
    }
}

fn connect(header_flags: u8, mut fields: FieldReader) -> Result<ConnectPacket, DecodeError> {
    let name = fields.text()?;
    let level = fields.u8()?;
    let is_spoken = match name.as_str() {
        "MQTT" => matches!(level, V311 | V5),
        "MQIsdp" => level == V31,
        _ => return Err(Malformed("the protocol name is neither MQTT nor MQIsdp")),
    };
    let mut connect = ConnectPacket {
        level,
        is_spoken,
        ..ConnectPacket::default()
    };
    if !is_spoken {
        return Ok(connect);
    }
    let flags = fields.u8()?;
    if level != V31 && header_flags != 0 {
        return Err(RESERVED_FLAGS);
    }
    if level != V31 && flags & 1 != 0 {
        return Err(Malformed("the reserved CONNECT flag is set"));
    }
    if level != V5 && flags & 0xc0 == 0x40 {
        return Err(Malformed("a password without a user name"));
    }
    connect.clean = flags & 2 != 0;
    connect.keep_alive_s = fields.u16()?;
    if level == V5 {
        connect_properties(&mut connect, fields.properties()?)?;
    }
    connect.client_id = fields.text()?;
    connect.will = will(flags, &mut fields, level)?;
    // In MQTT 3.1 a login may be missing although its flags are set (3.1 there).
    let may_end = level == V31;
    if flags & 0x80 != 0 && !(may_end && fields.is_empty()) {
        connect.user = Some(fields.text()?);
    }
    if flags & 0x40 != 0 && !(may_end && fields.is_empty()) {
        connect.password = Some(fields.binary()?);
    }
    if !fields.is_empty() {
        return Err(Malformed("bytes follow the CONNECT payload"));
    }
    Ok(connect)
}

fn connect_properties(connect: &mut ConnectPacket, fields: FieldReader) -> Result<(), DecodeError> {
    for property in Properties::new(fields, OF_CONNECT) {
        match property? {
            Property::Number(property_id::RECEIVE_MAXIMUM, 0) => {
                return Err(ProtocolError("the receive maximum is 0"));
            }
            Property::Number(property_id::RECEIVE_MAXIMUM, max) => {
                connect.receive_max = Some(max as u16)
            }
            Property::Number(property_id::MAXIMUM_PACKET_SIZE, 0) => {
                return Err(ProtocolError("the maximum packet size is 0"));
            }
            Property::Number(property_id::MAXIMUM_PACKET_SIZE, max) => {
                connect.packet_bytes_max = Some(max)
            }
            Property::Number(property_id::REQUEST_PROBLEM_INFORMATION, wanted) => {
                connect.declines_reasons = wanted == 0
            }
            Property::Number(property_id::SESSION_EXPIRY, seconds) => {
                connect.session_expiry_s = seconds
            }
            Property::String(property_id::AUTHENTICATION_METHOD, _) => {
                connect.authentication_method = true
            }
            _ => {}
        }
    }
    Ok(())
}

fn will(
    flags: u8,
    fields: &mut FieldReader,
    level: u8,
) -> Result<Option<PublishPacket>, DecodeError> {
    let qos = (flags >> 3) & 3;
    let retain = flags & 0x20 != 0;
    if flags & 4 == 0 {
        return match (qos, retain) {
            _ if level == V31 => Ok(None),
            (0, false) => Ok(None),
            _ => Err(Malformed("will flags are set without a will")),
        };
    }
    if qos == 3 {
        return Err(Malformed("the will's QoS is 3"));
    }
    let mut will = PublishPacket {
        qos,
        retain,
        ..PublishPacket::default()
    };
    if level == V5 {
        publish_properties(&mut will, fields.properties()?, OF_WILL)?;
    }
    will.topic = fields.text()?;
    if !is_valid_topic_name(will.topic.as_str()) {
        return Err(Malformed("the will's topic is empty or has a wildcard"));
    }
    will.payload = fields.binary()?;
    Ok(Some(will))
}

fn publish(flags: u8, mut fields: FieldReader, level: u8) -> Result<PublishPacket, DecodeError> {
    let mut publish = before_properties(flags, &mut fields, level)?;
    if level == V5 {
        publish_properties(&mut publish, fields.properties()?, OF_PUBLISH)?;
    }
    publish.payload = fields.rest();
    Ok(publish)
}

fn before_properties(
    flags: u8,
    fields: &mut FieldReader,
    level: u8,
) -> Result<PublishPacket, DecodeError> {
    let mut publish = PublishPacket {
        dup: flags & 8 != 0,
        qos: (flags >> 1) & 3,
        retain: flags & 1 != 0,
        ..PublishPacket::default()
    };
    if publish.qos == 3 {
        return Err(Malformed("the QoS is 3"));
    }
    if publish.qos == 0 && publish.dup && level != V31 {
        return Err(Malformed("DUP is set with QoS 0"));
    }
    publish.topic = fields.text()?;
    if publish.qos > 0 {
        publish.packet_id = fields.packet_id()?;
    }
    Ok(publish)
}

fn publish_properties(
    publish: &mut PublishPacket,
    fields: FieldReader,
    allowed: PropertySet,
) -> Result<(), DecodeError> {
    for property in Properties::new(fields, allowed) {
        match property? {
            Property::Number(property_id::TOPIC_ALIAS, alias) => publish.alias = Some(alias as u16),
            Property::Number(property_id::PAYLOAD_FORMAT, format @ 0..=1) => {
                publish.payload_format = Some(format as u8)
            }
            Property::Number(property_id::PAYLOAD_FORMAT, _) => {
                return Err(ProtocolError("the payload format is neither 0 nor 1"));
            }
            Property::Number(property_id::MESSAGE_EXPIRY, seconds) => {
                publish.expiry_s = Some(seconds)
            }
            Property::Binary(property_id::CORRELATION_DATA, bytes) => {
                publish.correlation_data = Some(bytes)
            }
            Property::String(property_id::CONTENT_TYPE, text) => publish.content_type = Some(text),
            Property::String(property_id::RESPONSE_TOPIC, text) => {
                publish.response_topic = Some(text)
            }
            Property::User(..) if publish.user.len() >= USER_PROPERTIES_MAX => {
                publish.excess_properties = true;
            }
            Property::User(name, value) => publish.user.push((name, value)),
            Property::Number(property_id::SUBSCRIPTION_ID, _) => {
                return Err(ProtocolError(
                    "a client's PUBLISH has a subscription identifier",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP: reason code and properties may follow in MQTT 5.
fn acknowledged_id(mut fields: FieldReader, level: u8) -> Result<u16, DecodeError> {
    let id = fields.packet_id()?;
    if level != V5 && !fields.is_empty() {
        return Err(Malformed("bytes follow the packet identifier"));
    }
    Ok(id)
}

fn subscribe(mut fields: FieldReader, level: u8) -> Result<SubscribePacket, DecodeError> {
    let mut subscribe = SubscribePacket {
        packet_id: fields.packet_id()?,
        ..SubscribePacket::default()
    };
    if level == V5 {
        for property in Properties::new(fields.properties()?, OF_SUBSCRIBE) {
            if let Property::Number(property_id::SUBSCRIPTION_ID, id) = property? {
                subscribe.id = Some(id);
            }
        }
    }
    while !fields.is_empty() {
        let filter = fields.text()?;
        let options = fields.u8()?;
        let reserved = match level {
            V5 => 0xc0,
            V31 => 0,
            _ => 0xfc,
        };
        if level == V5 && options & 0x30 == 0x30 {
            return Err(ProtocolError("the retain handling is 3"));
        }
        if options & reserved != 0 || options & 3 == 3 {
            return Err(Malformed("subscription options are not valid"));
        }
        subscribe.filters.push((filter, options));
    }
    match subscribe.filters.is_empty() {
        true => Err(ProtocolError("SUBSCRIBE without a topic filter")),
        false => Ok(subscribe),
    }
}

fn unsubscribe(mut fields: FieldReader, level: u8) -> Result<Packet, DecodeError> {
    let packet_id = fields.packet_id()?;
    if level == V5 {
        let mut properties = Properties::new(fields.properties()?, OF_UNSUBSCRIBE);
        properties.try_for_each(|property| property.map(drop))?;
    }
    let mut filters = Vec::new();
    while !fields.is_empty() {
        filters.push(fields.text()?);
    }
    match filters.is_empty() {
        true => Err(ProtocolError("UNSUBSCRIBE without a topic filter")),
        false => Ok(Packet::Unsubscribe(packet_id, filters)),
    }
}

fn disconnect(mut fields: FieldReader, level: u8) -> Result<Packet, DecodeError> {
    let (mut reason, mut session_expiry_s) = (0, 0);
    if level == V5 && !fields.is_empty() {
        reason = fields.u8()?;
    }
    if level == V5 && !fields.is_empty() {
        for property in Properties::new(fields.properties()?, OF_DISCONNECT) {
            if let Property::Number(property_id::SESSION_EXPIRY, seconds) = property? {
                session_expiry_s = seconds;
            }
        }
    }
    match fields.is_empty() {
        true => Ok(Packet::Disconnect {
            reason,
            session_expiry_s,
        }),
        false => Err(Malformed("bytes follow the DISCONNECT")),
    }
}
