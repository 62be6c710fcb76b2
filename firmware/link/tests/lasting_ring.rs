//! What a node says that has records of several boots in a ring that lasts.

use tidegate_link::frame::{FRAME_SIZE_MAX, decode, encode};
use tidegate_link::message::{ToDevice, ToGateway};
use tidegate_link::ring::{RingError, Run};
use tidegate_link::{DeviceLink, Field, Identity, Kind, Ring, Schema, Sequence, Value};

const DEVICE: [u8; 8] = *b"node-001";
const FIELDS: &[Field<'static>] = &[Field {
    name: "open",
    unit: "",
    kind: Kind::Boolean,
}];

/// Runs of boots, the oldest first, the present one last; room for so many records.
struct Flash {
    runs: Vec<(Run, Vec<Vec<u8>>)>,
    room: usize,
}

impl Flash {
    /// Boot, first number and how many records of it are held.
    fn new(boots: &[(u32, u32, u32)], room: usize) -> Flash {
        let run = |&(boot, first, count): &(u32, u32, u32)| {
            let oldest = Sequence(first);
            let next = oldest.plus(count);
            (Run { boot, oldest, next }, vec![vec![0]; count as usize])
        };
        Flash {
            runs: boots.iter().map(run).collect(),
            room,
        }
    }

    fn forget_first(&mut self) {
        let (run, records) = &mut self.runs[0];
        records.remove(0);
        run.oldest = run.oldest.next();
        if records.is_empty() && self.runs.len() > 1 {
            self.runs.remove(0);
        }
    }
}

impl Ring for Flash {
    fn boot(&self) -> u32 {
        self.runs[self.runs.len() - 1].0.boot
    }

    fn run(&self) -> Run {
        self.runs[0].0
    }

    fn push(&mut self, record: &[u8]) -> Result<u32, RingError> {
        let mut dropped = 0;
        while self.runs.iter().map(|run| run.1.len()).sum::<usize>() >= self.room {
            self.forget_first();
            dropped += 1;
        }
        let (run, records) = self.runs.last_mut().ok_or(RingError::Storage)?;
        records.push(record.to_vec());
        run.next = run.next.next();
        Ok(dropped)
    }

    fn read(&mut self, sequence: Sequence, out: &mut [u8]) -> Option<usize> {
        let (run, records) = &self.runs[0];
        let record = records.get(sequence.since(run.oldest) as usize)?;
        out.get_mut(..record.len())?.copy_from_slice(record);
        Some(record.len())
    }

    fn release(&mut self, next: Sequence) {
        let boot = self.run().boot;
        while self.run().boot == boot && self.run().oldest.is_before(next) && self.run().count() > 0
        {
            self.forget_first();
        }
    }
}

type Node = DeviceLink<Flash>;

fn node(boots: &[(u32, u32, u32)], room: usize) -> Node {
    let identity = Identity {
        device: DEVICE,
        firmware: "1",
        slot: 0,
        schema: Schema { fields: FIELDS },
    };
    DeviceLink::new(identity, Flash::new(boots, room))
}

fn tell(node: &mut Node, message: ToDevice) {
    let mut buffer = [0; FRAME_SIZE_MAX];
    node.receive(encode(&message, &mut buffer).expect("fits"), 0);
}

/// What the node says at once, in words.
fn says(node: &mut Node) -> Vec<String> {
    let (mut buffer, mut said) = ([0; FRAME_SIZE_MAX], Vec::new());
    while let Some(size) = node.transmit(0, &mut buffer).map(<[u8]>::len) {
        let message = decode(&mut buffer[..size - 1]).expect("a frame");
        said.push(match postcard::from_bytes(message).expect("a message") {
            ToGateway::Hello(hello) => format!(
                "boot {} in {}: {}..{}, {} lost",
                hello.boot, hello.session, hello.oldest.0, hello.next.0, hello.lost
            ),
            ToGateway::Event {
                session, sequence, ..
            } => format!("{} in {session}", sequence.0),
            ToGateway::TimeReply { boot, .. } => format!("clock of {boot}"),
            other => format!("{other:?}"),
        });
    }
    said
}

fn welcome(boot: u32, session: u16, next: u32) -> ToDevice {
    ToDevice::Welcome {
        device: DEVICE,
        boot,
        session,
        next: Sequence(next),
    }
}

#[test]
fn one_boot_is_shown_after_the_other() {
    let mut node = node(&[(7, 40, 2), (8, 0, 1), (9, 0, 0)], 10);
    node.record(0, &[Value::Boolean(true)]).expect("room");
    assert_eq!(says(&mut node), ["boot 7 in 0: 40..42, 0 lost"]);
    tell(&mut node, ToDevice::TimeRequest { token: 1 });
    assert_eq!(says(&mut node), ["clock of 9"]);
    // A welcome for the present boot is not meant yet.
    tell(&mut node, welcome(9, 50, 0));
    assert_eq!(says(&mut node), Vec::<String>::new());
    tell(&mut node, welcome(7, 51, 40));
    assert_eq!(says(&mut node), ["40 in 51", "41 in 51"]);
    let ack = |session, next| ToDevice::Ack {
        session,
        next: Sequence(next),
    };
    tell(&mut node, ack(51, 42));
    assert_eq!(says(&mut node), ["boot 8 in 0: 0..1, 0 lost"]);
    // What was said in the session before is over.
    tell(&mut node, ack(51, 1));
    assert_eq!(node.held(), 1);
    // All of a boot may be stored already.
    tell(&mut node, welcome(8, 52, 1));
    assert_eq!(says(&mut node), ["boot 9 in 0: 0..1, 0 lost"]);
    tell(&mut node, welcome(9, 53, 0));
    assert_eq!(says(&mut node), ["0 in 53"]);
}

#[test]
fn an_ack_that_comes_twice_lets_nothing_of_the_next_boot_go() {
    for again in [1, 2, 42, 43] {
        let mut node = node(&[(7, 40, 2), (8, 0, 10), (9, 0, 0)], 20);
        says(&mut node);
        tell(&mut node, welcome(7, 51, 40));
        says(&mut node);
        for next in [42, again] {
            let (session, next) = (51, Sequence(next));
            tell(&mut node, ToDevice::Ack { session, next });
        }
        assert_eq!(node.held(), 10, "{again}");
        assert_eq!(says(&mut node), ["boot 8 in 0: 0..10, 0 lost"], "{again}");
    }
}

#[test]
fn what_was_lost_is_told_of_the_boot_that_lost_it() {
    // What is held at the start, records made since, and what the hello says.
    let cases: [(&[_], u32, &str); 7] = [
        (&[(9, 5, 0)], 0, "boot 9 in 0: 5..5, 0 lost"),
        (&[(9, 5, 0)], 7, "boot 9 in 0: 8..12, 3 lost"),
        (&[(7, 40, 3), (9, 0, 0)], 1, "boot 7 in 0: 40..43, 0 lost"),
        (&[(7, 40, 3), (9, 0, 0)], 3, "boot 7 in 0: 42..43, 2 lost"),
        (&[(7, 40, 3), (9, 0, 0)], 4, "boot 9 in 0: 0..4, 0 lost"),
        (&[(7, 40, 3), (9, 0, 0)], 6, "boot 9 in 0: 2..6, 2 lost"),
        (
            &[(7, 40, 2), (8, 3, 2), (9, 0, 0)],
            3,
            "boot 8 in 0: 4..5, 1 lost",
        ),
    ];
    for (boots, made, expected) in cases {
        let mut node = node(boots, 4);
        for _ in 0..made {
            node.record(0, &[Value::Boolean(true)]).expect("room");
        }
        assert_eq!(says(&mut node), [expected], "{boots:?}, {made}");
    }
}
