//! The node at the other end of a line: its name, its numbers, its clock, and events of them.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tidegate_link::message::{DeviceId, Hello};
use tidegate_link::{EventId, Mark, Sequence};
use tidegate_rules::event::{Event, UnixMs};

use crate::intake::SYSTEM_TOPIC;
use crate::intake::dedup::Boots;
use crate::source::Identity;

/// The name of a device in ids and topics: its eight characters if they are letters, digits,
/// `-`, `_` or `.`, else its eight bytes in hexadecimal.
pub fn name(device: DeviceId) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    match std::str::from_utf8(&device) {
        Ok(text) if device.iter().all(is_plain) => text.into(),
        _ => format!("{:016x}", u64::from_be_bytes(device)),
    }
}

/// When a node's clock said what.
#[derive(Debug, Clone, Copy)]
struct Clock {
    boot: u32,
    uptime_ms: u64,
    unix_ms: UnixMs,
}

/// One node, from its hello on.
#[derive(Debug)]
pub struct Node {
    device: DeviceId,
    name: Arc<str>,
    boot: u32,
    topic: Arc<str>,
    source: Arc<str>,
    /// The last number handed on or durable, unwrapped; `None` before the first.
    last: Option<u64>,
    clock: Option<Clock>,
}

impl Node {
    /// The node of a hello, with what is durable of its device.
    pub fn new(hello: &Hello<'_>, source: &Arc<str>, topic: &str, durable: &Boots) -> Node {
        let name = name(hello.device);
        Node {
            device: hello.device,
            boot: hello.boot,
            topic: topic.replace("{device}", &name).into(),
            name: name.into(),
            source: Arc::clone(source),
            last: durable.sequence(u64::from(hello.boot)),
            clock: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where the link goes on: the last durable record.
    pub fn mark(&self) -> Option<Mark> {
        let last = self.last?;
        Some(Mark(EventId {
            device: self.device,
            boot: self.boot,
            sequence: Sequence(last as u32),
        }))
    }

    /// Takes a reading of the node's clock, made at `unix_ms`.
    pub fn set_clock(&mut self, boot: u32, uptime_ms: u64, unix_ms: UnixMs) {
        self.clock = Some(Clock {
            boot,
            uptime_ms,
            unix_ms,
        });
    }

    /// A reading as an event with its identity.
    pub fn reading(
        &mut self,
        id: EventId,
        uptime_ms: u64,
        content_type: &str,
        data: Bytes,
    ) -> (Event, Identity) {
        let sequence = self.unwrap(id.sequence);
        let event = Event {
            time: self.made(id.boot, uptime_ms),
            content_type: Some(content_type.into()),
            extensions: vec![("uptimems".into(), uptime_ms.to_string().into())],
            data,
            ..self.event(id.boot, sequence)
        };
        (event, self.identity(id.boot, sequence))
    }

    /// Readings that the node had to drop, as an event that takes their place in the log.
    pub fn gap(&mut self, last: EventId, count: u32) -> (Event, Identity) {
        let sequence = self.unwrap(last.sequence);
        let data = json!({ "device": *self.name, "lost": count, "last": sequence });
        let event = Event {
            kind: "dev.tidegate.device.gap".into(),
            topic: format!("{SYSTEM_TOPIC}/device/gap").into(),
            content_type: Some("application/json".into()),
            data: data.to_string().into(),
            ..self.event(last.boot, sequence)
        };
        (event, self.identity(last.boot, sequence))
    }

    fn event(&self, boot: u32, sequence: u64) -> Event {
        Event {
            id: format!("{}-{boot}-{sequence}", self.name).into(),
            source: Arc::clone(&self.source),
            kind: "reading".into(),
            subject: Some(Arc::clone(&self.name)),
            topic: Arc::clone(&self.topic),
            publisher: Arc::clone(&self.name),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
        }
    }

    fn identity(&self, boot: u32, sequence: u64) -> Identity {
        Identity::Device {
            device: Arc::clone(&self.name),
            boot: u64::from(boot),
            sequence,
        }
    }

    /// The number behind the wire's 32 bits: the link hands records on in order, so it is the
    /// first one after the last that ends in these bits. Without this the step from the highest
    /// number to zero would look like a repetition.
    fn unwrap(&mut self, sequence: Sequence) -> u64 {
        let number = match self.last {
            None => u64::from(sequence.0),
            Some(last) => last + u64::from(sequence.since(Sequence(last as u32))),
        };
        self.last = Some(number);
        number
    }

    /// What was handed on and not stored comes again, from behind `durable`.
    pub fn step_back(&mut self, durable: &Boots) {
        self.last = durable.sequence(u64::from(self.boot));
    }

    /// When a record was made, where the node's clock is known for that boot.
    fn made(&self, boot: u32, uptime_ms: u64) -> Option<UnixMs> {
        let clock = self.clock.filter(|clock| clock.boot == boot)?;
        let since = i64::try_from(uptime_ms).ok()? - i64::try_from(clock.uptime_ms).ok()?;
        clock.unix_ms.checked_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(durable: &Boots) -> Node {
        let hello = Hello {
            device: *b"node-001",
            boot: 3,
            session: 0,
            firmware: "1.0.0",
            slot: 0,
            schema: 7,
            window: 8,
            next: Sequence(9),
            oldest: Sequence(0),
            lost: 0,
        };
        Node::new(&hello, &"plant-a/bench".into(), "devices/{device}", durable)
    }

    fn reading(node: &mut Node, sequence: u32, uptime_ms: u64) -> (Event, Identity) {
        let id = EventId {
            device: *b"node-001",
            boot: 3,
            sequence: Sequence(sequence),
        };
        node.reading(id, uptime_ms, "application/json", Bytes::new())
    }

    fn durable(boot: u64, sequence: u64) -> Boots {
        let bytes = [boot.to_be_bytes(), sequence.to_be_bytes()].concat();
        Boots::from_bytes(&bytes)
    }

    #[test]
    fn a_device_is_called_by_its_characters_or_in_hexadecimal() {
        assert_eq!(name(*b"node-001"), "node-001");
        assert_eq!(name(*b"no/de+01"), "6e6f2f64652b3031");
        assert_eq!(name([0, 0, 0, 0, 0, 0, 0, 255]), "00000000000000ff");
    }

    #[test]
    fn the_wrap_of_the_wire_number_is_a_step_like_any_other() {
        let mut node = node(&durable(3, u64::from(u32::MAX)));
        assert_eq!(node.mark().expect("a mark").0.sequence, Sequence(u32::MAX));
        let (event, identity) = reading(&mut node, 0, 0);
        assert_eq!(&*event.id, "node-001-3-4294967296");
        let Identity::Device { sequence, .. } = identity else {
            panic!("{identity:?}");
        };
        assert_eq!(sequence, 1 << 32);
    }

    #[test]
    fn what_was_refused_has_the_same_number_when_it_comes_again() {
        let mut node = node(&durable(3, 10));
        let first = reading(&mut node, 11, 0).0.id;
        reading(&mut node, 12, 0);
        node.step_back(&durable(3, 10));
        assert_eq!(reading(&mut node, 11, 0).0.id, first);
    }

    #[test]
    fn a_reading_has_a_time_once_the_clock_of_its_boot_is_known() {
        let mut node = node(&Boots::default());
        assert_eq!(reading(&mut node, 0, 100).0.time, None);
        node.set_clock(3, 5_000, 1_700_000_000_000);
        assert_eq!(reading(&mut node, 1, 4_000).0.time, Some(1_699_999_999_000));
        node.set_clock(4, 5_000, 1_700_000_000_000);
        assert_eq!(reading(&mut node, 2, 4_000).0.time, None, "another boot");
    }

    #[test]
    fn a_gap_takes_the_place_of_what_was_lost() {
        let mut node = node(&durable(3, 10));
        let last = EventId {
            device: *b"node-001",
            boot: 3,
            sequence: Sequence(15),
        };
        let (event, _) = node.gap(last, 5);
        assert_eq!(&*event.data, br#"{"device":"node-001","last":15,"lost":5}"#);
        assert_eq!(&*event.topic, "$tidegate/device/gap");
        assert_eq!(&*reading(&mut node, 16, 0).0.id, "node-001-3-16");
    }
}
