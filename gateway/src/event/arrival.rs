//! What every source hands on: an event, the [`Ack`] its sender waits for, and how to recognise
//! its repetition.

use std::sync::Arc;

use tidegate_rules::event::Event;

use super::ack::Ack;

/// The extension with the id that a sender gave, where the event is stored under one of ours.
pub const SENDER_ID: &str = "senderid";

/// How the intake recognises an event that it has stored before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Identity {
    /// Nothing to recognise it by: the intake mints an id.
    #[default]
    None,
    /// The sender gave `event.id`: remembered with what the event says, over a bounded window.
    Id {
        /// The CloudEvents `source` of the gateway's source that took it.
        taken_by: Arc<str>,
    },
    /// A framed serial device: stored once per (device, boot, sequence), whatever happens.
    Device {
        /// The device's own stable id.
        device: Arc<str>,
        /// Unique per boot of the device.
        boot: u64,
        /// Counts up by one per reading within the boot.
        sequence: u64,
        /// The sequence that must be stored, or on its way into the store, before this one: the
        /// previous one of this session. `None` where nothing of the boot was stored yet.
        after: Option<u64>,
    },
}

impl Identity {
    /// That of an event with the id that its sender gave; an empty one is none.
    pub fn of_id(id: &str, taken_by: &Arc<str>) -> Identity {
        match id {
            "" => Identity::None,
            _ => Identity::Id {
                taken_by: Arc::clone(taken_by),
            },
        }
    }
}

/// One event at the gateway's door.
#[derive(Debug)]
pub struct Arrival {
    /// The event. An empty `id` is minted by the intake; `received` is stamped there too.
    pub event: Event,
    /// What the sender waits for.
    pub ack: Ack,
    /// How to recognise a repetition.
    pub identity: Identity,
    /// Its sender asked for no acknowledgement: subscribers get it with QoS 0.
    pub at_most_once: bool,
}
