//! What the gateway's half hands on, and what it needs kept to go on after a restart.

use crate::message::{self, BootId, DeviceId, Hello, Level, Payload, Record};
use crate::schema::Field;
use crate::sequence::Sequence;

/// What makes a record unique, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The node.
    pub device: DeviceId,
    /// Its boot.
    pub boot: BootId,
    /// The record's number in that boot.
    pub sequence: Sequence,
}

/// What the gateway keeps for one (device, boot): the last sequence number that is durable, with all before it.
///
/// Key: the eight bytes of the device and the four of the boot, big-endian. Value: the four of the sequence, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableMark(pub EventId);

impl DurableMark {
    /// Bytes of the key.
    pub fn key(device: DeviceId, boot: BootId) -> [u8; 12] {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&device);
        key[8..].copy_from_slice(&boot.to_be_bytes());
        key
    }

    /// Bytes of the value.
    pub fn value(&self) -> [u8; 4] {
        self.0.sequence.0.to_be_bytes()
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Values in the order of a schema's fields.
    Readings {
        /// The schema's key.
        schema: u32,
        /// The values; read them with [`crate::schema::read_value`].
        values: &'a [u8],
    },
    /// A record of a newer node that this gateway cannot read; to be stored as it is.
    Unreadable(&'a [u8]),
}

/// What the caller is handed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Incoming<'a> {
    /// A node is there: look up its mark and call [`HostLink::resume`].
    Hello(Hello<'a>),
    /// A record, to be stored and acknowledged.
    Event {
        /// Its identity.
        id: EventId,
        /// The node's clock when it was made; 0 if unreadable.
        uptime_ms: u64,
        /// What it says.
        body: Body<'a>,
    },
    /// Records that the node had to drop; to be stored and acknowledged like an event.
    Gap {
        /// The last one missing.
        last: EventId,
        /// How many, that one included.
        count: u32,
    },
    /// The node's clock said `uptime_ms` at some moment between the two times, which are the gateway's.
    Time {
        /// The boot that `uptime_ms` counts from.
        boot: BootId,
        /// The node's clock.
        uptime_ms: u64,
        /// When the request left.
        sent_ms: u64,
        /// When the answer came.
        received_ms: u64,
    },
    /// One field of the node's schema; they come in order, and before the first event.
    SchemaField {
        /// The schema's key.
        key: u32,
        /// Which field, from 0.
        index: u8,
        /// How many there are. 0: the node does not know this schema any more. More than
        /// [`FIELD_COUNT_MAX`](crate::schema::FIELD_COUNT_MAX): no further one is asked for.
        count: u8,
        /// The field.
        field: Field<'a>,
    },
    /// A field of the node's schema says what this side does not know: events come without it.
    SchemaUnreadable {
        /// The schema's key.
        key: u32,
    },
    /// A line of the node's log.
    Log {
        /// How much it matters.
        level: Level,
        /// The text.
        text: &'a str,
    },
    /// The node reuses the number of an earlier boot: its records cannot be told from stored ones, so none is taken.
    BootReused(EventId),
}

/// Why [`HostLink::resume`] was not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeError {
    /// Nobody said hello.
    NobodyThere,
    /// The node reuses the number of an earlier boot. Its clock or counter for boots must be mended.
    BootReused,
}

impl core::fmt::Display for ResumeError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::NobodyThere => "no node has said hello on this link; wait for one",
            Self::BootReused => {
                "the node has used this boot id before and now counts from a lower number; \
                 give it a boot id that is new at every boot"
            }
        })
    }
}

impl core::error::Error for ResumeError {}

impl<'a> Body<'a> {
    /// Reads a record; also when it was made.
    pub(crate) fn read(record: &'a [u8]) -> (u64, Self) {
        match message::read::<Record<'_>>(record) {
            Some(Record {
                uptime_ms,
                payload: Payload::Readings { schema, values },
            }) => (uptime_ms, Self::Readings { schema, values }),
            None => (0, Self::Unreadable(record)),
        }
    }
}
