//! What the rules decided about one event.

mod destinations;

use std::sync::Arc;

use bytes::Bytes;

pub use destinations::Destinations;

use crate::event::UnixMs;

/// How urgent an output is. Higher priorities overtake lower ones at every upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Priority {
    /// Overtaken by everything else; the first to be shed.
    Low = 0,
    /// What a `send` without a priority has.
    #[default]
    Normal = 1,
    /// Overtakes normal traffic.
    High = 2,
    /// Overtakes everything; the last to be shed.
    Critical = 3,
}

impl Priority {
    /// All priorities, most urgent first.
    pub const DESCENDING: [Priority; 4] = [
        Priority::Critical,
        Priority::High,
        Priority::Normal,
        Priority::Low,
    ];

    /// The priority stored as `byte`, if there is one.
    pub fn from_byte(byte: u8) -> Option<Priority> {
        Priority::DESCENDING
            .into_iter()
            .find(|priority| *priority as u8 == byte)
    }
}

/// A destination by its place in the list of names the rule set was compiled against.
///
/// Place 0 is always `dead_letter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(pub u16);

impl Destination {
    /// The store of dead letters, which every rule set knows.
    pub const DEAD_LETTER: Destination = Destination(0);
}

/// One thing to send: what it says, wherever it goes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// The topic to send under; `None` leaves the choice to the upstream's own setting.
    pub topic: Option<Arc<str>>,
    /// The partition key, where a rule gave one.
    pub key: Option<Arc<str>>,
    /// The payload, where a rule changed it; `None` sends the event's payload as it came.
    pub data: Option<Bytes>,
    /// Why, for dead letters: the `reason` of the rule, or the evaluation error as
    /// `rules/hot.rules:12:8: division by zero in …`.
    pub reason: Option<Arc<str>>,
    /// The rule that sends it, `unmatched` for that block, `event NAME` for a broken declaration; `None` for a gateway
    /// without rules and for what the gateway sends itself.
    pub rule: Option<Arc<str>>,
    /// How urgent.
    pub priority: Priority,
    /// How it is sent, and as what, where a rule said so.
    pub options: Option<Box<SendOptions>>,
}

/// What a rule says of a sending, beside what most say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SendOptions {
    /// Whether a broker is to retain it; `None` leaves the choice to the upstream.
    pub retain: Option<bool>,
    /// The quality of service of MQTT; `None` leaves the choice to the upstream.
    pub qos: Option<u8>,
    /// What the rule's topic bound, by name: for destinations that are named after it.
    pub captures: Vec<(Arc<str>, Arc<str>)>,
    /// The event it is, where the rule made one out of several.
    pub made: Option<Made>,
    /// Fields of the stored form that this release does not know, as they are there.
    pub unknown: Bytes,
}

impl SendOptions {
    /// Bytes of what is as long as its sender likes.
    pub fn size_bytes(&self) -> usize {
        let captures = self.captures.iter();
        let captures: usize = captures.map(|(name, value)| name.len() + value.len()).sum();
        let made = self.made.as_ref().map_or(0, |made| {
            let others = [&made.kind, &made.causation_id, &made.correlation_id];
            let others = others.into_iter().flatten();
            made.id.len() + others.map(|text| text.len()).sum::<usize>()
        });
        captures + made + self.unknown.len()
    }
}

/// An event that a rule made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Made {
    /// Its CloudEvents `id`.
    pub id: Arc<str>,
    /// Its CloudEvents `type`, where it is another than that of the event it was made at.
    pub kind: Option<Arc<str>>,
    /// When what it tells of happened.
    pub time: Option<UnixMs>,
    /// The `id` of the last event that caused it.
    pub causation_id: Option<Arc<str>>,
    /// The `correlationid` of the first event that caused it, or its `id`.
    pub correlation_id: Option<Arc<str>>,
}

impl Output {
    /// Whether a rule gave it a topic or a payload of its own: then it is another event.
    pub fn is_derived(&self) -> bool {
        self.topic.is_some() || self.data.is_some()
    }
}

/// An output with the destination that the rules give it.
#[derive(Debug, Clone, PartialEq)]
pub struct Addressed {
    /// Where to.
    pub destination: Destination,
    /// What to send there.
    pub output: Output,
}

/// All consequences of one event. Empty `outputs` means: dropped by rule.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// What to send, in the order of the rules.
    pub outputs: Vec<Addressed>,
    /// Whether any rule's topic filter accepted the event.
    pub matched: bool,
}
