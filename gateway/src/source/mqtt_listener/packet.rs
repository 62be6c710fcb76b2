//! Packets from clients, MQTT 3.1.1 and 5 in one shape.

use bytes::{Buf, Bytes, BytesMut};

use tidegate_rules::topic::is_valid_topic_name;

use super::wire::Invalid::{self, Malformed, ProtocolError};
use super::wire::{Fields, Header, Ids, Properties, Property, Text, header, id};

/// User properties of one packet that are read; more close the connection.
const USER_PROPERTIES_MAX: usize = 64;

/// What a packet may have (table 2-4).
const OF_CONNECT: Ids = Ids::of(&[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]);
const OF_WILL: Ids = Ids::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]);
const OF_PUBLISH: Ids = Ids::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26]);
const OF_SUBSCRIBE: Ids = Ids::of(&[0x0b, 0x26]);
const OF_UNSUBSCRIBE: Ids = Ids::of(&[0x26]);

/// MQTT 5, as opposed to 3.1.1.
pub const V5: u8 = 5;
/// MQTT 3.1.1.
pub const V311: u8 = 4;

/// A packet a client may send.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe(Subscribe),
    Unsubscribe(u16, Vec<Text>),
    PingReq,
    Disconnect { with_will: bool },
}

/// CONNECT (3.1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Connect {
    /// Protocol level: 4 or 5, or whatever the client claims.
    pub level: u8,
    /// Clean session or clean start.
    pub clean: bool,
    /// Seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// May be empty.
    pub client_id: Text,
    /// Published when the connection ends without DISCONNECT.
    pub will: Option<Publish>,
    /// User name.
    pub user: Option<Text>,
    /// Password.
    pub password: Option<Bytes>,
    /// QoS 1 and 2 publishes the client takes at once.
    pub receive_max: Option<u16>,
    /// The largest packet the client takes.
    pub packet_bytes_max: Option<u32>,
    /// Enhanced authentication was asked for.
    pub authentication_method: bool,
}

/// PUBLISH (3.3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Publish {
    /// Sent before.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Retain flag.
    pub retain: bool,
    /// Topic name.
    pub topic: Text,
    /// Packet identifier; 0 with QoS 0.
    pub packet_id: u16,
    /// Topic alias.
    pub alias: Option<u16>,
    /// Content type.
    pub content_type: Option<Text>,
    /// Response topic.
    pub response_topic: Option<Text>,
    /// User properties in order.
    pub user: Vec<(Text, Text)>,
    /// The payload.
    pub payload: Bytes,
}

/// SUBSCRIBE (3.8).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Subscribe {
    /// Packet identifier.
    pub packet_id: u16,
    /// Subscription identifier.
    pub id: Option<u32>,
    /// Topic filters with their options byte.
    pub filters: Vec<(Text, u8)>,
}

/// What stands at the front of the receive buffer.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// A packet, taken out of the buffer.
    Packet(Packet),
    /// Bytes are missing.
    Wait,
    /// A packet larger than allowed; its header says how large.
    TooLarge(usize),
}

/// Takes the next packet out of `buffer`.
///
/// The size is checked as soon as the header is there, so a buffer never needs to hold more than
/// `bytes_max`.
///
/// # Errors
/// [`Invalid`] for everything the standard calls a malformed packet or a protocol error.
pub fn next(buffer: &mut BytesMut, level: u8, bytes_max: usize) -> Result<Next, Invalid> {
    let Some(header) = header(buffer)? else {
        return Ok(Next::Wait);
    };
    if header.remaining > bytes_max {
        return Ok(Next::TooLarge(header.remaining));
    }
    if buffer.len() < header.len + header.remaining {
        return Ok(Next::Wait);
    }
    let mut packet = buffer.split_to(header.len + header.remaining).freeze();
    packet.advance(header.len);
    body(&header, Fields::new(packet), level).map(Next::Packet)
}

/// The protocol level that a CONNECT claims, as soon as its bytes are there.
pub fn claimed_level(bytes: &[u8]) -> Option<u8> {
    let header = header(bytes).ok()??;
    let name = bytes.get(header.len..)?.strip_prefix(b"\0\x04MQTT")?;
    name.first().copied()
}

fn body(header: &Header, fields: Fields, level: u8) -> Result<Packet, Invalid> {
    let flags = header.first & 0x0f;
    let kind = header.first >> 4;
    let expected = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
    if kind != 3 && flags != expected {
        return Err(Malformed("reserved flags are set"));
    }
    match kind {
        1 => connect(fields).map(|connect| Packet::Connect(Box::new(connect))),
        3 => publish(flags, fields, level).map(Packet::Publish),
        4 => acknowledged(fields, level).map(Packet::PubAck),
        5 => acknowledged(fields, level).map(Packet::PubRec),
        6 => acknowledged(fields, level).map(Packet::PubRel),
        7 => acknowledged(fields, level).map(Packet::PubComp),
        8 => subscribe(fields, level).map(Packet::Subscribe),
        10 => unsubscribe(fields, level),
        12 if fields.is_empty() => Ok(Packet::PingReq),
        14 => disconnect(fields),
        15 => Err(Malformed("enhanced authentication was not agreed on")),
        _ => Err(Malformed("a client does not send this packet type")),
    }
}

fn connect(mut fields: Fields) -> Result<Connect, Invalid> {
    if fields.text()?.as_str() != "MQTT" {
        return Err(Malformed("the protocol name is not MQTT"));
    }
    let level = fields.u8()?;
    let mut connect = Connect {
        level,
        ..Connect::default()
    };
    if level != V311 && level != V5 {
        return Ok(connect);
    }
    let flags = fields.u8()?;
    if flags & 1 != 0 {
        return Err(Malformed("the reserved CONNECT flag is set"));
    }
    if level == V311 && flags & 0xc0 == 0x40 {
        return Err(Malformed("a password without a user name"));
    }
    connect.clean = flags & 2 != 0;
    connect.keep_alive_s = fields.u16()?;
    if level == V5 {
        connect_properties(&mut connect, fields.properties()?)?;
    }
    connect.client_id = fields.text()?;
    connect.will = will(flags, &mut fields, level)?;
    if flags & 0x80 != 0 {
        connect.user = Some(fields.text()?);
    }
    if flags & 0x40 != 0 {
        connect.password = Some(fields.binary()?);
    }
    if !fields.is_empty() {
        return Err(Malformed("bytes follow the CONNECT payload"));
    }
    Ok(connect)
}

fn connect_properties(connect: &mut Connect, fields: Fields) -> Result<(), Invalid> {
    for property in Properties::new(fields, OF_CONNECT) {
        match property? {
            Property::Number(id::RECEIVE_MAXIMUM, 0) => {
                return Err(ProtocolError("the receive maximum is 0"));
            }
            Property::Number(id::RECEIVE_MAXIMUM, max) => connect.receive_max = Some(max as u16),
            Property::Number(id::MAXIMUM_PACKET_SIZE, 0) => {
                return Err(ProtocolError("the maximum packet size is 0"));
            }
            Property::Number(id::MAXIMUM_PACKET_SIZE, max) => connect.packet_bytes_max = Some(max),
            Property::Text(id::AUTHENTICATION_METHOD, _) => connect.authentication_method = true,
            _ => {}
        }
    }
    Ok(())
}

fn will(flags: u8, fields: &mut Fields, level: u8) -> Result<Option<Publish>, Invalid> {
    let qos = (flags >> 3) & 3;
    let retain = flags & 0x20 != 0;
    if flags & 4 == 0 {
        return match (qos, retain) {
            (0, false) => Ok(None),
            _ => Err(Malformed("will flags are set without a will")),
        };
    }
    if qos == 3 {
        return Err(Malformed("the will's QoS is 3"));
    }
    let mut will = Publish {
        qos,
        retain,
        ..Publish::default()
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

fn publish(flags: u8, mut fields: Fields, level: u8) -> Result<Publish, Invalid> {
    let mut publish = Publish {
        dup: flags & 8 != 0,
        qos: (flags >> 1) & 3,
        retain: flags & 1 != 0,
        ..Publish::default()
    };
    if publish.qos == 3 {
        return Err(Malformed("the QoS is 3"));
    }
    if publish.qos == 0 && publish.dup {
        return Err(Malformed("DUP is set with QoS 0"));
    }
    publish.topic = fields.text()?;
    if publish.qos > 0 {
        publish.packet_id = fields.packet_id()?;
    }
    if level == V5 {
        publish_properties(&mut publish, fields.properties()?, OF_PUBLISH)?;
    }
    publish.payload = fields.rest();
    Ok(publish)
}

fn publish_properties(publish: &mut Publish, fields: Fields, allowed: Ids) -> Result<(), Invalid> {
    for property in Properties::new(fields, allowed) {
        match property? {
            Property::Number(id::TOPIC_ALIAS, alias) => publish.alias = Some(alias as u16),
            Property::Text(id::CONTENT_TYPE, text) => publish.content_type = Some(text),
            Property::Text(id::RESPONSE_TOPIC, text) => publish.response_topic = Some(text),
            Property::User(..) if publish.user.len() >= USER_PROPERTIES_MAX => {
                return Err(Malformed("more than 64 user properties"));
            }
            Property::User(name, value) => publish.user.push((name, value)),
            Property::Number(id::SUBSCRIPTION_ID, _) => {
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
fn acknowledged(mut fields: Fields, level: u8) -> Result<u16, Invalid> {
    let id = fields.packet_id()?;
    if level != V5 && !fields.is_empty() {
        return Err(Malformed("bytes follow the packet identifier"));
    }
    Ok(id)
}

fn subscribe(mut fields: Fields, level: u8) -> Result<Subscribe, Invalid> {
    let mut subscribe = Subscribe {
        packet_id: fields.packet_id()?,
        ..Subscribe::default()
    };
    if level == V5 {
        for property in Properties::new(fields.properties()?, OF_SUBSCRIBE) {
            if let Property::Number(id::SUBSCRIPTION_ID, id) = property? {
                subscribe.id = Some(id);
            }
        }
    }
    while !fields.is_empty() {
        let filter = fields.text()?;
        let options = fields.u8()?;
        let reserved = if level == V5 { 0xc0 } else { 0xfc };
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

fn unsubscribe(mut fields: Fields, level: u8) -> Result<Packet, Invalid> {
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

fn disconnect(mut fields: Fields) -> Result<Packet, Invalid> {
    let reason = if fields.is_empty() { 0 } else { fields.u8()? };
    Ok(Packet::Disconnect {
        with_will: reason == 4,
    })
}
