//! The README's session in hex: both halves of the code, brought together at its moments, say what stands there.

use super::between;
use std::collections::BTreeMap;
use std::fmt::Write;
use tidegate_link::frame::{FRAME_SIZE_MAX, decode};
use tidegate_link::message::{Payload, Record, ToDevice, ToGateway};
use tidegate_link::schema::read_value;
use tidegate_link::{
    DeviceLink, DurableMark, EventId, Field, HostLink, Identity, Incoming, Kind, RamRing, Schema,
    Sequence, Value,
};

const FIELDS: &[Field<'static>] = &[Field {
    name: "temperature",
    unit: "Cel",
    kind: Kind::Integer { exponent: -1 },
}];
/// The gateway's numbers begin behind these: of its first run, and of its second.
const NONCES: [u16; 2] = [512, 768];
const REFUSED_FOR_MS: u32 = 500;

/// One line: `<ms> <who> <hex> <what it says>`.
struct Line {
    at_ms: u64,
    who: &'static str,
    frame: Vec<u8>,
    says: &'static str,
}

fn lines() -> Vec<Line> {
    let block = between("```session\n", "```");
    let line = |line: &'static str| {
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap_or_default();
        let (at_ms, who, hex) = (next(), next(), next());
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("hex");
            u8::from_str_radix(pair, 16).expect("hex")
        };
        Line {
            at_ms: at_ms.parse().expect("a time"),
            who,
            frame: match who {
                "restart" => Vec::new(),
                _ => hex.as_bytes().chunks(2).map(byte).collect(),
            },
            says: next(),
        }
    };
    block.lines().map(line).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// The word that a debug text begins with: the name of the message.
fn name(message: &impl std::fmt::Debug) -> String {
    let text = format!("{message:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].into()
}

/// What the node made, by number: when, and the value.
fn records(lines: &[Line]) -> BTreeMap<u32, (u64, Value)> {
    let mut records = BTreeMap::new();
    for line in lines.iter().filter(|line| line.says == "Event") {
        let mut frame = line.frame.clone();
        let size = frame.len() - 1;
        let message = decode(&mut frame[..size]).expect("a frame");
        let Ok(ToGateway::Event {
            sequence, record, ..
        }) = postcard::from_bytes(message)
        else {
            panic!("{} is no event", hex(&line.frame));
        };
        let record: Record<'_> = postcard::from_bytes(record).expect("a record");
        let Payload::Readings { mut values, .. } = record.payload;
        let value = read_value(FIELDS[0].kind, &mut values).expect("a value");
        records.insert(sequence.0, (record.uptime_ms, value));
    }
    records
}

struct Course {
    device: DeviceLink<RamRing<512>>,
    host: HostLink,
    runs: usize,
    records: BTreeMap<u32, (u64, Value)>,
    made: u32,
    stored: Option<EventId>,
    /// Handed on, and not yet stored.
    pending: Option<EventId>,
}

impl Course {
    fn make(&mut self, until: u32) {
        while self.made < until {
            let (uptime_ms, value) = self.records[&self.made];
            self.device.record(uptime_ms, &[value]).expect("room");
            self.made += 1;
        }
    }

    /// The node's next frame.
    fn node(&mut self, line: &Line) -> Vec<u8> {
        let made_by = |records: &BTreeMap<u32, (u64, Value)>| {
            let made = records.values().filter(|(at_ms, _)| *at_ms <= line.at_ms);
            made.count() as u32
        };
        self.make(made_by(&self.records));
        let mut buffer = [0; FRAME_SIZE_MAX];
        let frame = self.device.transmit(line.at_ms, &mut buffer);
        frame.unwrap_or_default().to_vec()
    }

    fn hear(&mut self, frame: &[u8], now_ms: u64) {
        let mut bytes = frame;
        while let Some(incoming) = self.host.receive(&mut bytes, now_ms) {
            match incoming {
                Incoming::Hello(_) => {
                    let mark = self.stored.map(DurableMark);
                    self.host.resume(mark, false, now_ms).expect("somebody");
                }
                Incoming::Event { id, .. } => self.pending = Some(id),
                _ => {}
            }
        }
    }

    /// The gateway's next frame.
    fn gateway(&mut self, line: &Line) -> Vec<u8> {
        match (line.says, self.pending.take()) {
            ("Ack", Some(id)) => {
                self.stored = Some(id);
                self.host.acknowledge(id);
            }
            ("Refuse", Some(_)) => self.host.refuse(REFUSED_FOR_MS),
            (_, pending) => self.pending = pending,
        }
        let mut buffer = [0; FRAME_SIZE_MAX];
        let frame = self.host.transmit(line.at_ms, &mut buffer);
        frame.unwrap_or_default().to_vec()
    }
}

#[test]
fn both_halves_say_the_session_of_the_readme() {
    let lines = lines();
    let identity = Identity {
        device: *b"node-001",
        firmware: "1.0.0",
        slot: 0,
        schema: Schema { fields: FIELDS },
    };
    let mut course = Course {
        device: DeviceLink::new(identity, RamRing::new(3)),
        host: HostLink::new(NONCES[0]),
        runs: 1,
        records: records(&lines),
        made: 0,
        stored: None,
        pending: None,
    };
    let mut said = Vec::new();
    for line in &lines {
        if line.who == "restart" {
            course.host = HostLink::new(NONCES[course.runs]);
            (course.runs, course.pending) = (course.runs + 1, None);
            continue;
        }
        let mut frame = match line.who {
            "gateway" => course.gateway(line),
            "node" | "lost" => course.node(line),
            who => panic!("nobody is called {who}"),
        };
        match line.who {
            "gateway" => course.device.receive(&frame, line.at_ms),
            "node" => course.hear(&frame, line.at_ms),
            _ => {}
        }
        let shown = hex(&frame);
        let size = frame.len().saturating_sub(1);
        let message = decode(&mut frame[..size]).unwrap_or_default();
        let says = match line.who {
            "gateway" => postcard::from_bytes::<ToDevice>(message).map(|m| name(&m)),
            _ => postcard::from_bytes::<ToGateway<'_>>(message).map(|m| name(&m)),
        };
        assert_eq!(
            (says.as_deref(), &*shown),
            (Ok(line.says), &*hex(&line.frame)),
            "{} {}, after {said:#?}",
            line.at_ms,
            line.who
        );
        said.push(shown);
    }
    for who in ["gateway", "node", "lost", "restart"] {
        assert!(lines.iter().any(|line| line.who == who), "no {who}");
    }
    assert_eq!(course.device.held(), 0);
    assert!(
        course
            .stored
            .is_some_and(|id| id.sequence == Sequence(course.made - 1))
    );
}
