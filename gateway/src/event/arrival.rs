//! What every source hands on: an event, the [`Ack`] its sender waits for, and how to recognise
//! its repetition.

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use tidegate_rules::event::{Event, Extension};

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
        /// Minted for this boot, and no other node's: two nodes may claim one name and boot.
        session: u16,
        /// The session of what is stored of the boot, where the node goes on in another one: it was shown to be the
        /// same, or nothing of it is taken for stored.
        former: u16,
        /// Counts up by one per reading within the boot.
        sequence: u64,
        /// The sequence that must be stored, or on its way into the store, before this one: the
        /// previous one of this session. `None` where nothing of the boot was stored yet.
        after: Option<u64>,
        /// Of what the record says.
        digest: u16,
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
    /// It is kept as a dead letter and goes nowhere: no rule sees it.
    pub set_aside: Option<Box<SetAside>>,
}

/// An event that its source does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Why.
    pub why: Box<str>,
    /// The CloudEvents `source` of the gateway's source that set it aside.
    pub by: Arc<str>,
}

impl Arrival {
    /// An event that its source does not take and its sender cannot be told about: kept with the
    /// reason, and acknowledged as any other once it is on disk. Its id is ours, for the sender may
    /// give its own to the event that it sends instead; it stands in the extension `senderid`.
    pub fn set_aside(
        mut event: Event,
        payload: KeptPayload,
        why: &str,
        by: &Arc<str>,
        ack: Ack,
    ) -> Arrival {
        let id = std::mem::take(&mut event.id);
        event.remove_extension(SENDER_ID);
        event.remove_extension(CUT_LENGTH);
        if !id.is_empty() {
            event.extensions.push(Extension::text(SENDER_ID, id));
        }
        let KeptPayload {
            kept,
            length,
            digest,
        } = payload;
        let mut why = why.to_owned();
        if length > kept.len() as u64 {
            event
                .extensions
                .push(Extension::text(CUT_LENGTH, length.to_string()));
            why.push_str(&format!(
                "; kept are the first {} of {length} bytes, the SHA-256 of them all is ",
                kept.len()
            ));
            for byte in digest.finish().as_ref() {
                why.push_str(&format!("{byte:02x}"));
            }
        }
        event.data = kept.into();
        Arrival {
            event,
            ack,
            identity: Identity::None,
            at_most_once: false,
            set_aside: Some(Box::new(SetAside {
                why: why.into(),
                by: Arc::clone(by),
            })),
        }
    }
}

/// Bytes that are kept of a payload that is set aside.
pub const KEPT_BYTES_MAX: usize = 64 * 1024;
/// The extension that says how long a payload was of which the first part is kept.
const CUT_LENGTH: &str = "cutlength";

/// Whether only the first part of the payload was kept.
pub fn is_cut(event: &Event) -> bool {
    event.extension(CUT_LENGTH).is_some()
}

/// A payload to be set aside, as it comes in: its first part, and the length and digest of it all.
pub struct KeptPayload {
    kept: Vec<u8>,
    length: u64,
    digest: Context,
}

impl std::fmt::Debug for KeptPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} bytes", self.kept.len(), self.length)
    }
}

impl Default for KeptPayload {
    fn default() -> KeptPayload {
        KeptPayload {
            kept: Vec::new(),
            length: 0,
            digest: Context::new(&SHA256),
        }
    }
}

impl KeptPayload {
    /// A payload that is there as a whole.
    pub fn of(bytes: &[u8]) -> KeptPayload {
        let mut payload = KeptPayload::default();
        payload.push(bytes);
        payload
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// Bytes taken so far.
    pub fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_kept_up_to_a_limit_with_the_digest_of_it_all() {
        for (length, cut) in [
            (0, false),
            (KEPT_BYTES_MAX, false),
            (KEPT_BYTES_MAX + 1, true),
        ] {
            let mut payload = KeptPayload::default();
            vec![b'x'; length]
                .chunks(1000)
                .for_each(|bytes| payload.push(bytes));
            let event = Event {
                id: "7".into(),
                source: "a/b".into(),
                kind: "reading".into(),
                subject: None,
                topic: "t".into(),
                publisher: "p".into(),
                time: None,
                received: 0,
                content_type: None,
                schema: None,
                extensions: vec![Extension::text(CUT_LENGTH, "1")],
                data: bytes::Bytes::new(),
                ..Event::default()
            };
            let by = "a/b".into();
            let arrival = Arrival::set_aside(event, payload, "too long", &by, Ack::none());
            assert_eq!(arrival.event.data.len(), length.min(KEPT_BYTES_MAX));
            assert_eq!(is_cut(&arrival.event), cut, "{length}");
            let why = arrival.set_aside.map_or("".into(), |aside| aside.why);
            assert_eq!(why.contains("of 65537 bytes, the SHA-256"), cut, "{why}");
            assert!(arrival.event.id.is_empty(), "the intake gives it one");
            assert_eq!(&*arrival.event.extensions[0].value, "7");
        }
    }
}
