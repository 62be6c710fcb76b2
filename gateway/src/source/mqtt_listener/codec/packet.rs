//! Packets from clients, MQTT 3.1, 3.1.1 and 5 in one shape.

use bytes::Bytes;

use super::fields::Utf8String;

/// MQTT 5, as opposed to 3.1.1.
pub const V5: u8 = 5;
/// MQTT 3.1.1.
pub const V311: u8 = 4;
/// MQTT 3.1, whose packets are those of 3.1.1 with fewer rules.
pub const V31: u8 = 3;

/// A packet a client may send.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Packet {
    Connect(Box<ConnectPacket>),
    Publish(PublishPacket),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe(SubscribePacket),
    Unsubscribe(u16, Vec<Utf8String>),
    PingReq,
    Disconnect { reason: u8, session_expiry_s: u32 },
}

/// CONNECT (3.1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectPacket {
    /// Protocol level: 3, 4 or 5, or whatever the client claims.
    pub level: u8,
    /// Whether it is one of those, under its own protocol name; else nothing more was read.
    pub is_spoken: bool,
    /// Clean session or clean start.
    pub clean: bool,
    /// Seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// May be empty.
    pub client_id: Utf8String,
    /// Published when the connection ends without DISCONNECT.
    pub will: Option<PublishPacket>,
    /// User name.
    pub user: Option<Utf8String>,
    /// Password.
    pub password: Option<Bytes>,
    /// QoS 1 and 2 publishes the client takes at once.
    pub receive_max: Option<u16>,
    /// The largest packet the client takes.
    pub packet_bytes_max: Option<u32>,
    /// The client wants no reason string but in CONNACK and DISCONNECT.
    pub declines_reasons: bool,
    /// How long the client wants its session kept, in seconds.
    pub session_expiry_s: u32,
    /// Enhanced authentication was asked for.
    pub authentication_method: bool,
}

/// PUBLISH (3.3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PublishPacket {
    /// Sent before.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Retain flag.
    pub retain: bool,
    /// Topic name.
    pub topic: Utf8String,
    /// Packet identifier; 0 with QoS 0.
    pub packet_id: u16,
    /// Topic alias.
    pub alias: Option<u16>,
    /// Payload format: 0 for bytes, 1 for UTF-8.
    pub payload_format: Option<u8>,
    /// Message expiry interval in seconds.
    pub expiry_s: Option<u32>,
    /// Content type.
    pub content_type: Option<Utf8String>,
    /// Response topic.
    pub response_topic: Option<Utf8String>,
    /// Correlation data.
    pub correlation_data: Option<Bytes>,
    /// User properties in order.
    pub user: Vec<(Utf8String, Utf8String)>,
    /// There are more of them than are read.
    pub excess_properties: bool,
    /// The payload.
    pub payload: Bytes,
}

/// SUBSCRIBE (3.8).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubscribePacket {
    /// Packet identifier.
    pub packet_id: u16,
    /// Subscription identifier.
    pub id: Option<u32>,
    /// Topic filters with their options byte.
    pub filters: Vec<(Utf8String, u8)>,
}
