//! Every frame of a whole session harmed in turn, in either direction: lost, lost with the next one, damaged, run into
//! the next one, doubled. The session has all there is: joining, a schema, log lines, a refusal, the wrap of the numbers,
//! an overflowing ring, restarts of either side, amid readings and while the node has none. Whatever is harmed, the line
//! goes on within ten seconds and every record is stored once.

use std::collections::{HashMap, VecDeque};
use tidegate_link::device::Identity;
use tidegate_link::frame::FRAME_SIZE_MAX;
use tidegate_link::message::Level;
use tidegate_link::schema::read_value;
use tidegate_link::{
    Body, DeviceLink, DurableMark, EventId, Field, HostLink, Incoming, Kind, RamRing, Schema,
    Sequence, Value,
};

/// The longest that a line may stand still, in ms.
const STOP_MS_MAX: u64 = 10_000;
const STEP_MS: u64 = 5;
const COMMIT_MS: u64 = 10;
const RECORD_MS: u64 = 40;
/// Room for some 40 records.
type Device = DeviceLink<RamRing<512>>;

const DEVICE: [u8; 8] = *b"node-001";
const SCHEMA: Schema = Schema {
    fields: &[
        Field {
            name: "mark",
            unit: "",
            kind: Kind::Integer { exponent: 0 },
        },
        Field {
            name: "open",
            unit: "",
            kind: Kind::Boolean,
        },
    ],
};
/// The first boot's numbers wrap.
const FIRST: [Sequence; 2] = [Sequence(u32::MAX - 20), Sequence(0)];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Up,
    Down,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Harm {
    Lose,
    LoseTwo,
    /// Every second one of six, this one first.
    LoseThree,
    Flip,
    /// Without its delimiter: it runs into the next one.
    Join,
    Double,
    /// Preceded by bytes that begin no frame.
    Noise,
}

const HARMS: [Harm; 7] = [
    Harm::Lose,
    Harm::LoseTwo,
    Harm::LoseThree,
    Harm::Flip,
    Harm::Join,
    Harm::Double,
    Harm::Noise,
];

/// One direction of the line.
struct Line {
    frames: u32,
    waiting: Vec<u8>,
    harm: Option<(Way, u32, Harm)>,
}

impl Line {
    fn new(way: Way, harm: Option<(Way, u32, Harm)>) -> Self {
        Self {
            frames: 0,
            waiting: Vec::new(),
            harm: harm.filter(|(harmed, ..)| *harmed == way),
        }
    }

    fn put(&mut self, frame: &[u8]) {
        let number = self.frames;
        self.frames += 1;
        let Some((_, at, harm)) = self.harm else {
            return self.waiting.extend(frame);
        };
        let ahead = number.wrapping_sub(at);
        match harm {
            Harm::Lose if ahead == 0 => {}
            Harm::LoseTwo if ahead < 2 => {}
            Harm::LoseThree if ahead < 6 && ahead.is_multiple_of(2) => {}
            Harm::Flip if ahead == 0 => {
                let mut frame = frame.to_vec();
                frame[2] ^= 0x10;
                self.waiting.extend(frame);
            }
            Harm::Join if ahead == 0 => self.waiting.extend(&frame[..frame.len() - 1]),
            Harm::Double if ahead == 0 => self.waiting.extend([frame, frame].concat()),
            Harm::Noise if ahead == 0 => self.waiting.extend([&[0xff; 300], frame].concat()),
            _ => self.waiting.extend(frame),
        }
    }
}

#[derive(Clone, Copy)]
enum Pending {
    Record(EventId, i64),
    Gap(EventId, u32),
}

struct World {
    now_ms: u64,
    boot: u32,
    produced: u32,
    device: Device,
    host: HostLink,
    up: Line,
    down: Line,
    pending: VecDeque<(u64, Pending)>,
    stored: Vec<Pending>,
    marks: HashMap<u32, EventId>,
    nonce: u16,
    /// When the line last went on, and its longest stop so far.
    went_on_ms: u64,
    stop_ms: u64,
    /// Records of the first boot that the node had let go when it ended.
    released: u32,
}

fn content(boot: u32, sequence: Sequence) -> i64 {
    i64::from(sequence.0.wrapping_mul(0x9E37_79B9) >> 8) + i64::from(boot)
}

fn node(boot: u32) -> Device {
    let identity = Identity {
        device: DEVICE,
        firmware: "1.0.0",
        slot: 0,
        schema: SCHEMA,
    };
    let first = FIRST[boot as usize - 1];
    DeviceLink::new(identity, RamRing::starting_at(boot, first))
}

impl World {
    fn new(harm: Option<(Way, u32, Harm)>) -> Self {
        Self {
            now_ms: 0,
            boot: 1,
            produced: 0,
            device: node(1),
            host: HostLink::new(7),
            up: Line::new(Way::Up, harm),
            down: Line::new(Way::Down, harm),
            pending: VecDeque::new(),
            stored: Vec::new(),
            marks: HashMap::new(),
            nonce: 7,
            went_on_ms: 0,
            stop_ms: 0,
            released: 0,
        }
    }

    /// Whether it is between the two moments.
    fn within(&self, from_ms: u64, to_ms: u64) -> bool {
        (from_ms..to_ms).contains(&self.now_ms)
    }

    /// What happens at this moment.
    fn script(&mut self) {
        let now_ms = self.now_ms;
        let measures = self.within(0, 8_500) || self.within(11_000, 12_000);
        if measures && now_ms.is_multiple_of(RECORD_MS) {
            let n = FIRST[self.boot as usize - 1].plus(self.produced);
            let values = [
                Value::Integer(content(self.boot, n)),
                Value::Boolean(n.0.is_multiple_of(2)),
            ];
            self.device.record(now_ms, &values).expect("room");
            self.produced += 1;
        }
        match now_ms {
            300 | 3_200 => self.device.log(Level::Info, "measuring"),
            // Amid readings, and while there are none.
            3_000 | 9_500 => self.gateway_restarts(),
            4_500 => {
                let dropped = self.device.counters().lost;
                self.released = self.produced - self.device.held() - dropped;
                (self.boot, self.produced) = (2, 0);
                self.device = node(2);
            }
            _ => {}
        }
    }

    fn gateway_restarts(&mut self) {
        self.pending.clear();
        self.nonce = self.nonce.wrapping_mul(31).wrapping_add(11);
        self.host = HostLink::new(self.nonce);
    }

    fn step(&mut self) {
        self.now_ms += STEP_MS;
        self.script();
        let held = self.device.held();
        let mut buffer = [0; FRAME_SIZE_MAX];
        while let Some(frame) = self.device.transmit(self.now_ms, &mut buffer) {
            self.up.put(frame);
        }
        let up = std::mem::take(&mut self.up.waiting);
        let cut = self.within(5_500, 8_000);
        self.gateway_takes(if cut { &[] } else { &up });
        self.commit();
        while let Some(frame) = self.host.transmit(self.now_ms, &mut buffer) {
            self.down.put(frame);
        }
        let down = std::mem::take(&mut self.down.waiting);
        if !cut {
            self.device.receive(&down, self.now_ms);
        }
        if cut || self.device.held() < held || self.device.held() == 0 {
            self.went_on_ms = self.now_ms;
        }
        self.stop_ms = self.stop_ms.max(self.now_ms - self.went_on_ms);
    }

    fn gateway_takes(&mut self, mut bytes: &[u8]) {
        while let Some(incoming) = self.host.receive(&mut bytes, self.now_ms) {
            let pending = match incoming {
                Incoming::Hello(hello) => {
                    let mark = self.marks.get(&hello.boot).copied().map(DurableMark);
                    self.pending.clear();
                    self.host.resume(mark, false, self.now_ms).expect("resumed");
                    continue;
                }
                Incoming::Event {
                    id,
                    body: Body::Readings { mut values, .. },
                    ..
                } => match read_value(Kind::Integer { exponent: 0 }, &mut values) {
                    Some(Value::Integer(value)) => Pending::Record(id, value),
                    other => panic!("not a reading: {other:?}"),
                },
                Incoming::Gap { last, count } => Pending::Gap(last, count),
                Incoming::BootReused(id) => panic!("no boot was reused, but {id:?}"),
                _ => continue,
            };
            if (1_500..2_100).contains(&self.now_ms) {
                self.pending.clear();
                self.host.refuse(500);
            } else {
                self.pending.push_back((self.now_ms + COMMIT_MS, pending));
            }
        }
    }

    fn commit(&mut self) {
        while let Some((_, pending)) = self
            .pending
            .pop_front_if(|(due_ms, _)| *due_ms <= self.now_ms)
        {
            let (Pending::Record(id, _) | Pending::Gap(id, _)) = pending;
            self.stored.push(pending);
            self.marks.insert(id.boot, id);
            self.host.acknowledge(id);
        }
    }

    /// What is wrong with what is stored of a boot that let go of so many records, if anything.
    fn fault_of(&self, boot: u32, released: u32) -> Option<String> {
        let first = FIRST[boot as usize - 1];
        let mut next = first;
        for pending in &self.stored {
            let (id, begins) = match *pending {
                Pending::Record(id, value) if id.boot == boot => {
                    if value != content(boot, id.sequence) {
                        return Some(format!("invented {id:?}"));
                    }
                    (id, id.sequence)
                }
                Pending::Gap(id, count) if id.boot == boot => (id, id.sequence.minus(count - 1)),
                _ => continue,
            };
            if begins != next {
                return Some(format!("{begins:?} instead of {next:?} of boot {boot}"));
            }
            next = id.sequence.next();
        }
        let stored = next.since(first);
        (stored < released).then(|| format!("{stored} of {released} of boot {boot} are stored"))
    }
}

/// The whole session; what is wrong with it, if anything.
fn run(harm: Option<(Way, u32, Harm)>) -> (World, Option<String>) {
    let mut world = World::new(harm);
    while world.now_ms < 12_000 || (world.device.held() > 0 && world.stop_ms <= STOP_MS_MAX) {
        world.step();
    }
    let fault = world
        .fault_of(1, world.released)
        .or_else(|| world.fault_of(2, world.produced))
        .or_else(|| {
            (world.stop_ms > STOP_MS_MAX).then(|| format!("it stands for {} ms", world.stop_ms))
        });
    (world, fault)
}

#[test]
fn a_whole_session_on_a_good_line_has_every_kind_of_frame() {
    let (world, fault) = run(None);
    assert_eq!(fault, None);
    let gaps = world
        .stored
        .iter()
        .filter(|one| matches!(one, Pending::Gap(..)));
    assert!(gaps.count() > 0, "the ring never overflowed");
    let first = world.marks.get(&1).expect("a mark");
    assert!(first.sequence.0 < 1_000, "the numbers never wrapped");
    assert!(world.device.counters().retransmits > 0);
}

#[test]
fn no_frame_that_is_harmed_stops_the_line_or_costs_a_record() {
    let (good, _) = run(None);
    let (mut faults, mut longest_ms) = (Vec::new(), 0);
    for (way, frames) in [(Way::Up, good.up.frames), (Way::Down, good.down.frames)] {
        for harm in HARMS {
            for at in 0..frames {
                let (world, fault) = run(Some((way, at, harm)));
                longest_ms = longest_ms.max(world.stop_ms);
                faults.extend(fault.map(|fault| format!("{harm:?} {way:?} {at}: {fault}")));
            }
        }
    }
    println!(
        "{} frames up, {} down; the longest stop: {longest_ms} ms",
        good.up.frames, good.down.frames
    );
    assert!(
        faults.is_empty(),
        "{} faults, of these {:#?}",
        faults.len(),
        &faults[..faults.len().min(12)]
    );
}
