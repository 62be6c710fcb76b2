//! Both halves over a simulated line that loses, doubles, flips and inserts bytes, with outages and restarts of either
//! side: every record is stored once, in order, as it was made. `TIDEGATE_SEED` replays a run.

use std::collections::{HashMap, VecDeque};
use tidegate_link::device::Identity;
use tidegate_link::frame::FRAME_SIZE_MAX;
use tidegate_link::schema::read_value;
use tidegate_link::{
    Body, DeviceLink, DurableMark, EventId, Field, HostLink, Incoming, Kind, RamRing, Schema,
    Sequence, Value,
};

const DEVICE: [u8; 8] = *b"node-001";
const SCHEMA: Schema = Schema {
    fields: &[Field {
        name: "mark",
        unit: "",
        kind: Kind::Integer { exponent: 0 },
    }],
};
/// One byte in so many is harmed, in each direction.
const HARM_ONE_IN: u32 = 150;
const COMMIT_MS: u64 = 7;

/// Ways to build the gateway wrongly, so that the checker can be seen to notice.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Gateway {
    Right,
    ForgetsMarks,
    AcksBeforeStoring,
}

#[derive(Default)]
struct Store {
    durable: Vec<(EventId, i64)>,
    gaps: Vec<(EventId, u32)>,
    marks: HashMap<u32, EventId>,
}

enum Pending {
    Event(EventId, i64),
    Gap(EventId, u32),
}

struct World {
    random: fastrand::Rng,
    gateway: Gateway,
    now_ms: u64,
    boot: u32,
    produced: u32,
    first: Sequence,
    device: DeviceLink<RamRing<2048>>,
    host: HostLink,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    pending: VecDeque<(u64, Pending)>,
    store: Store,
    harm: bool,
    frames: u32,
    /// Nothing passes before.
    outage_until_ms: u64,
    /// The gateway cannot store before.
    full_until_ms: u64,
    /// Earlier boots, and how many of its records each had released.
    released: Vec<(u32, u32)>,
}

fn seed() -> u64 {
    let seed = std::env::var("TIDEGATE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("TIDEGATE_SEED={seed}");
    seed
}

/// What record `sequence` of `boot` must hold.
fn content(boot: u32, sequence: Sequence) -> i64 {
    let mixed = (u64::from(boot) << 32 | u64::from(sequence.0)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)) as i64 >> 16
}

fn node(boot: u32, first: Sequence) -> DeviceLink<RamRing<2048>> {
    let identity = Identity {
        device: DEVICE,
        firmware: "1.0.0",
        slot: 0,
        schema: SCHEMA,
    };
    DeviceLink::new(identity, RamRing::starting_at(boot, first))
}

impl World {
    fn new(seed: u64, gateway: Gateway, first: Sequence) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            gateway,
            now_ms: 0,
            boot: 1,
            produced: 0,
            first,
            device: node(1, first),
            host: HostLink::new(1),
            up: VecDeque::new(),
            down: VecDeque::new(),
            pending: VecDeque::new(),
            store: Store::default(),
            harm: true,
            frames: 0,
            outage_until_ms: 0,
            full_until_ms: 0,
            released: Vec::new(),
        }
    }

    fn produce(&mut self) {
        let value = Value::Integer(content(self.boot, self.first.plus(self.produced)));
        self.device.record(self.now_ms, &[value]).unwrap();
        self.produced += 1;
    }

    /// One millisecond on both sides.
    fn step(&mut self) {
        self.now_ms += 1;
        let mut buffer = [0; FRAME_SIZE_MAX];
        for _ in 0..4 {
            if let Some(frame) = self.device.transmit(self.now_ms, &mut buffer) {
                self.frames += 1;
                let harmed = harmed(frame, &mut self.random, self.harm);
                self.up.extend(
                    harmed
                        .into_iter()
                        .filter(|_| self.now_ms >= self.outage_until_ms),
                );
            }
        }
        let bytes: Vec<u8> = self.up.drain(..).collect();
        self.gateway_takes(&bytes);
        self.commit();
        while let Some(frame) = self.host.transmit(self.now_ms, &mut buffer) {
            let harmed = harmed(frame, &mut self.random, self.harm);
            self.down.extend(
                harmed
                    .into_iter()
                    .filter(|_| self.now_ms >= self.outage_until_ms),
            );
        }
        let bytes: Vec<u8> = self.down.drain(..).collect();
        self.device.receive(&bytes, self.now_ms);
    }

    fn gateway_takes(&mut self, mut bytes: &[u8]) {
        let due_ms = self.now_ms + COMMIT_MS;
        loop {
            let (id, pending) = match self.host.receive(&mut bytes, self.now_ms) {
                None => return,
                Some(Incoming::Hello(hello)) => {
                    let boot = hello.boot;
                    self.pending.clear();
                    let mark = self.store.marks.get(&boot).copied().map(DurableMark);
                    let mark = mark.filter(|_| self.gateway != Gateway::ForgetsMarks);
                    self.host.resume(mark, false, self.now_ms).unwrap();
                    continue;
                }
                Some(Incoming::Event {
                    id,
                    body: Body::Readings { mut values, .. },
                    ..
                }) => {
                    let value = read_value(Kind::Integer { exponent: 0 }, &mut values);
                    let Some(Value::Integer(value)) = value else {
                        panic!("not a reading: {value:?}")
                    };
                    (id, Pending::Event(id, value))
                }
                Some(Incoming::Gap { last, count }) => (last, Pending::Gap(last, count)),
                Some(Incoming::BootReused(id)) => panic!("no boot was reused, but {id:?}"),
                Some(_) => continue,
            };
            if self.now_ms < self.full_until_ms {
                self.pending.clear();
                self.host.refuse(50);
                continue;
            }
            self.pending.push_back((due_ms, pending));
            if self.gateway == Gateway::AcksBeforeStoring {
                self.store.marks.insert(id.boot, id);
                self.host.acknowledge(id);
            }
        }
    }

    fn commit(&mut self) {
        while self
            .pending
            .front()
            .is_some_and(|(due, _)| *due <= self.now_ms)
        {
            let Some((_, pending)) = self.pending.pop_front() else {
                return;
            };
            let id = match pending {
                Pending::Event(id, value) => {
                    self.store.durable.push((id, value));
                    id
                }
                Pending::Gap(last, count) => {
                    self.store.gaps.push((last, count));
                    last
                }
            };
            self.store.marks.insert(id.boot, id);
            self.host.acknowledge(id);
        }
    }

    fn gateway_restarts(&mut self) {
        self.pending.clear();
        self.host = HostLink::new(self.random.u16(..));
    }

    /// The node starts again: what its ring held is gone, what it had released must be stored.
    fn node_restarts(&mut self) {
        self.released
            .push((self.boot, self.produced - self.device.held()));
        (self.boot, self.produced) = (self.boot + 1, 0);
        self.device = node(self.boot, self.first);
    }

    fn trouble(&mut self) {
        match self.random.u32(..8_000) {
            0..4 => self.gateway_restarts(),
            4 => self.node_restarts(),
            5 => self.outage_until_ms = self.now_ms + self.random.u64(..3_000),
            6 => self.full_until_ms = self.now_ms + self.random.u64(..1_000),
            _ => {}
        }
    }

    fn settle(&mut self) {
        self.harm = false;
        for _ in 0..30_000 {
            if self.device.held() == 0 && self.pending.is_empty() {
                return;
            }
            self.step();
        }
        panic!(
            "{} records were never acknowledged: {:?}",
            self.device.held(),
            self.host.counters()
        );
    }

    /// What is wrong with the store, if anything.
    fn fault(&self) -> Option<String> {
        let present = [(self.boot, self.produced)];
        self.released
            .iter()
            .chain(&present)
            .find_map(|(boot, count)| self.fault_of(*boot, *count))
    }

    /// Of one boot, which must have `released` records stored at least.
    fn fault_of(&self, boot: u32, released: u32) -> Option<String> {
        let mut next = self.first;
        for (id, value) in self.store.durable.iter().filter(|(id, _)| id.boot == boot) {
            if id.sequence.is_before(next) {
                return Some(format!("duplicate {id:?}"));
            }
            if id.sequence != next {
                return Some(format!("loss of {} before {id:?}", id.sequence.since(next)));
            }
            if id.device != DEVICE || *value != content(boot, id.sequence) {
                return Some(format!("invented {id:?}"));
            }
            next = next.next();
        }
        let stored = next.since(self.first);
        (stored < released).then(|| format!("loss: {stored} of {released} stored"))
    }
}

/// What the line makes of these bytes.
fn harmed(frame: &[u8], random: &mut fastrand::Rng, harm: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len() + 2);
    for &byte in frame {
        if !harm || random.u32(..HARM_ONE_IN) != 0 {
            out.push(byte);
            continue;
        }
        match random.u8(..4) {
            0 => {}
            1 => out.extend([byte, byte]),
            2 => out.push(byte ^ (1 << random.u8(..8))),
            _ => out.extend([byte, random.u8(..)]),
        }
    }
    out
}

fn run(seed: u64, gateway: Gateway, first: Sequence, records: u32) -> (World, Option<String>) {
    let mut world = World::new(seed, gateway, first);
    let mut produced = 0;
    while produced < records {
        if world.device.held() < 60 {
            world.produce();
            produced += 1;
        }
        world.step();
        world.trouble();
    }
    world.settle();
    let fault = world.fault();
    (world, fault)
}

#[test]
fn on_a_bad_line_with_restarts_and_outages_every_record_is_stored_once() {
    let (world, fault) = run(seed(), Gateway::Right, Sequence(0), 50_000);
    println!(
        "{} frames up, {} boots; {:?}",
        world.frames,
        world.boot,
        world.host.counters()
    );
    assert_eq!(fault, None);
    assert!(world.boot > 1, "the node never started again");
    assert!(world.store.gaps.is_empty(), "{:?}", world.store.gaps);
}

#[test]
fn sequence_numbers_may_wrap() {
    let (_, fault) = run(seed(), Gateway::Right, Sequence(u32::MAX - 500), 2_000);
    assert_eq!(fault, None);
}

#[test]
fn the_checker_sees_duplicates_when_marks_are_forgotten() {
    let (_, fault) = run(7, Gateway::ForgetsMarks, Sequence(0), 20_000);
    assert!(
        fault
            .as_ref()
            .is_some_and(|fault| fault.starts_with("duplicate")),
        "{fault:?}"
    );
}

#[test]
fn the_checker_sees_loss_when_the_gateway_acks_before_it_stores() {
    let (_, fault) = run(7, Gateway::AcksBeforeStoring, Sequence(0), 20_000);
    assert!(
        fault
            .as_ref()
            .is_some_and(|fault| fault.starts_with("loss")),
        "{fault:?}"
    );
}
