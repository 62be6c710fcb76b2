//! What frames say. Encoded with postcard, which does not evolve: variants and their fields are frozen once released,
//! new ones are appended, and what a side does not know it counts and leaves alone.

use crate::schema::Field;
use crate::sequence::Sequence;
use serde::{Deserialize, Serialize};

/// A node's name for itself: eight bytes, for instance the chip's serial number.
pub type DeviceId = [u8; 8];
/// A number that no two boots of one node share.
pub type BootId = u32;
/// Minted by the gateway for one boot of one node; an ack of another session is stale. Never 0.
pub type SessionId = u16;

/// Longest record in bytes (see [`Record`]).
pub const RECORD_SIZE_MAX: usize = 200;
/// Longest firmware version in bytes.
pub const FIRMWARE_SIZE_MAX: usize = 32;
/// Longest log text in bytes; longer ones are cut.
pub const LOG_SIZE_MAX: usize = 120;
/// Events a node may have on the way unacknowledged.
pub const WINDOW: u8 = 8;

/// Reads a message or a record that takes all of `bytes`; `None` if they are no such thing. What follows behind one is
/// of a sender that counts lengths wrong: nothing of it may be taken for what was meant.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (read, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(read)
}

/// Key and index of a schema's field of which the rest cannot be read, as that of a newer node.
pub(crate) fn unreadable_field(bytes: &[u8]) -> Option<(u32, u8)> {
    /// The number of [`ToGateway::SchemaField`].
    const NUMBER: u8 = 3;
    let ((number, key, index), _) = postcard::take_from_bytes::<(u8, u32, u8)>(bytes).ok()?;
    (number == NUMBER).then_some((key, index))
}

/// From node to gateway.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToGateway<'a> {
    /// Who is here and what it holds. Sent until welcomed, when asked, and when the ring has moved on.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// One record of the ring.
    Event {
        /// The session it is sent in.
        session: SessionId,
        /// Its number.
        sequence: Sequence,
        /// A [`Record`] in postcard.
        record: &'a [u8],
    },
    /// Answer to a time request.
    TimeReply {
        /// The request's token.
        token: u16,
        /// The boot that `uptime_ms` counts from.
        boot: BootId,
        /// The node's clock.
        uptime_ms: u64,
    },
    /// Answer to a schema request: one field.
    SchemaField {
        /// The schema's key.
        key: u32,
        /// Which field, from 0.
        index: u8,
        /// How many there are. 0: the node does not know this schema.
        count: u8,
        /// The field; empty when `count` is 0.
        field: Field<'a>,
    },
    /// A line of the node's log. Not acknowledged.
    Log {
        /// How much it matters.
        level: Level,
        /// The text, at most [`LOG_SIZE_MAX`] bytes.
        text: &'a str,
    },
}

/// From gateway to node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToDevice {
    /// Say hello.
    Discover,
    /// Events are welcome, starting at `next`.
    Welcome {
        /// The node that is meant.
        device: DeviceId,
        /// The boot that is meant.
        boot: BootId,
        /// The session from now on.
        session: SessionId,
        /// Everything before this is durable.
        next: Sequence,
    },
    /// Everything before `next` is durable.
    Ack {
        /// The session it holds for.
        session: SessionId,
        /// First number that is not durable.
        next: Sequence,
    },
    /// `next` did not arrive, but a later one did: go back to it.
    Resend {
        /// The session it holds for.
        session: SessionId,
        /// First number wanted.
        next: Sequence,
    },
    /// The gateway cannot store at present: keep what is not acknowledged and be silent for `retry_ms`.
    Refuse {
        /// The session it holds for.
        session: SessionId,
        /// Everything before this is durable nevertheless.
        next: Sequence,
        /// How long to hold, in ms.
        retry_ms: u32,
    },
    /// What does the node's clock say?
    TimeRequest {
        /// To tell answers apart.
        token: u16,
    },
    /// Send one field of a schema.
    SchemaRequest {
        /// Which schema.
        key: u32,
        /// Which field.
        index: u8,
    },
}

/// Who a node is and which records it holds: those from `oldest` up to, not including, `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// The node.
    pub device: DeviceId,
    /// The boot whose records follow.
    pub boot: BootId,
    /// The session the node is in; 0 for none.
    pub session: SessionId,
    /// Firmware version.
    pub firmware: &'a str,
    /// Firmware slot it runs from.
    pub slot: u8,
    /// Key of the schema of its readings.
    pub schema: u32,
    /// How many events it may have on the way.
    pub window: u8,
    /// Number of the next record it will make.
    pub next: Sequence,
    /// Number of the oldest record it holds.
    pub oldest: Sequence,
    /// Records of `boot` dropped unacknowledged, up to the one before `oldest`.
    pub lost: u32,
}

/// A record as it lies in the ring: when, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// The node's clock when the record was made.
    pub uptime_ms: u64,
    /// What was recorded.
    #[serde(borrow)]
    pub payload: Payload<'a>,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload<'a> {
    /// Values in the order of a schema's fields (see [`crate::schema`]).
    Readings {
        /// The schema's key.
        schema: u32,
        /// The values.
        values: &'a [u8],
    },
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}
