//! A line on which everything takes long, up to two seconds each way: welcomes, hellos and questions cross, and what
//! either side said before it started again still arrives. One node, whatever crosses, is never taken for another, every
//! record is stored once, and nothing is let go that is not stored. `TIDEGATE_SEED` repeats the random runs from there.

mod gateway;

use std::collections::VecDeque;

use gateway::{Gateway, Store};
use tidegate_link::device::Identity;
use tidegate_link::frame::FRAME_SIZE_MAX;
use tidegate_link::{DeviceLink, Field, Kind, RamRing, Schema, Value};

const STEP_MS: u64 = 5;
const DEVICE: [u8; 8] = *b"node-001";
const SCHEMA: Schema = Schema {
    fields: &[Field {
        name: "mark",
        unit: "",
        kind: Kind::Integer { exponent: 0 },
    }],
};
type Device = DeviceLink<RamRing<1024>>;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Up,
    Down,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Harm {
    Lose,
    Double,
    /// It comes so much later, and what is behind it waits.
    Late(u64),
}

/// What a record of this boot and number holds.
fn content(boot: u32, sequence: u32) -> i64 {
    i64::from(sequence.wrapping_mul(0x9E37_79B9) >> 8) + i64::from(boot)
}

/// One direction of the line: frames, and when they arrive.
struct Line {
    takes_ms: u64,
    frames: u32,
    waiting: VecDeque<(u64, Vec<u8>)>,
    harm: Option<(u32, Harm)>,
}

impl Line {
    fn new(takes_ms: u64, harm: Option<(u32, Harm)>) -> Self {
        Self {
            takes_ms,
            frames: 0,
            waiting: VecDeque::new(),
            harm,
        }
    }

    fn put(&mut self, frame: Vec<u8>, now_ms: u64) {
        let number = self.frames;
        self.frames += 1;
        let harm = self.harm.filter(|(at, _)| *at == number);
        let harm = harm.map(|(_, harm)| harm);
        let late_ms = match harm {
            Some(Harm::Late(late_ms)) => late_ms,
            _ => 0,
        };
        let last_ms = self.waiting.back().map_or(0, |(at_ms, _)| *at_ms);
        let at_ms = last_ms.max(now_ms + self.takes_ms + late_ms);
        let times = match harm {
            Some(Harm::Lose) => 0,
            Some(Harm::Double) => 2,
            _ => 1,
        };
        for _ in 0..times {
            self.waiting.push_back((at_ms, frame.clone()));
        }
    }

    /// What arrives now.
    fn take(&mut self, now_ms: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((_, frame)) = self.waiting.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
            bytes.extend(frame);
        }
        bytes
    }
}

/// A course of the line.
#[derive(Clone, Debug)]
struct Case {
    up_ms: u64,
    down_ms: u64,
    /// When the node measures for the first time, from one measurement to the next, and when it measures no more.
    measures_ms: (u64, u64, u64),
    gateway_restarts_ms: Vec<u64>,
    node_restarts_ms: Vec<u64>,
    harm: Option<(Way, u32, Harm)>,
    nonce: u16,
}

/// What was seen of it.
#[derive(Debug, Default)]
struct Found {
    up: u32,
    down: u32,
    /// The longest time in which the node let nothing go that it held.
    stop_ms: u64,
    fault: Option<String>,
}

fn node(boot: u32) -> Device {
    let identity = Identity {
        device: DEVICE,
        firmware: "1.0.0",
        slot: 0,
        schema: SCHEMA,
    };
    DeviceLink::new(identity, RamRing::new(boot))
}

/// So long after its last trouble a line must have caught up.
const PATIENCE_MS: u64 = 120_000;

struct World<'a> {
    case: &'a Case,
    up: Line,
    down: Line,
    boot: u32,
    made: u32,
    nonce: u16,
    device: Device,
    gateway: Gateway,
    store: Store,
    went_on_ms: u64,
    turned_away: u32,
    found: Found,
}

impl World<'_> {
    fn new(case: &Case) -> World<'_> {
        let harm = |way| {
            let harm = case.harm.filter(|(harmed, ..)| *harmed == way);
            harm.map(|(_, at, harm)| (at, harm))
        };
        World {
            case,
            up: Line::new(case.up_ms, harm(Way::Up)),
            down: Line::new(case.down_ms, harm(Way::Down)),
            boot: 1,
            made: 0,
            nonce: case.nonce,
            device: node(1),
            gateway: Gateway::new(case.nonce),
            store: Store::default(),
            went_on_ms: 0,
            turned_away: 0,
            found: Found::default(),
        }
    }

    fn restarts(&mut self, now_ms: u64) {
        if self.case.gateway_restarts_ms.contains(&now_ms) {
            self.turned_away += self.gateway.turned_away;
            self.nonce = self.nonce.wrapping_mul(31).wrapping_add(0x1234);
            self.gateway = Gateway::new(self.nonce);
        }
        if self.case.node_restarts_ms.contains(&now_ms) {
            self.audit();
            (self.boot, self.made) = (self.boot + 1, 0);
            self.device = node(self.boot);
            self.went_on_ms = now_ms;
        }
    }

    fn measure(&mut self, now_ms: u64) {
        let (first_ms, every_ms, last_ms) = self.case.measures_ms;
        let is_time = (first_ms..last_ms).contains(&now_ms);
        if is_time && (now_ms - first_ms).is_multiple_of(every_ms) {
            let value = Value::Integer(content(self.boot, self.made));
            self.device.record(now_ms, &[value]).expect("room");
            self.made += 1;
        }
    }

    fn step(&mut self, now_ms: u64) {
        self.restarts(now_ms);
        self.measure(now_ms);
        let held = self.device.held();
        let came = self.up.take(now_ms);
        self.gateway.receive(&came, &mut self.store, now_ms);
        self.gateway.commit(&mut self.store, now_ms);
        for frame in self.gateway.transmit(now_ms) {
            self.down.put(frame, now_ms);
        }
        self.device.receive(&self.down.take(now_ms), now_ms);
        let mut buffer = [0; FRAME_SIZE_MAX];
        while let Some(frame) = self.device.transmit(now_ms, &mut buffer) {
            self.up.put(frame.to_vec(), now_ms);
        }
        if self.device.held() < held || self.device.held() == 0 {
            self.went_on_ms = now_ms;
        }
        self.found.stop_ms = self.found.stop_ms.max(now_ms - self.went_on_ms);
    }

    /// What the present boot let go of is stored.
    fn audit(&mut self) {
        let dropped = self.device.counters().lost;
        let released = self.made - self.device.held() - dropped;
        self.fault(self.store.fault_of(self.boot, released));
    }

    fn fault(&mut self, fault: Option<String>) {
        self.found.fault = self.found.fault.take().or(fault);
    }
}

fn run(case: &Case) -> Found {
    let mut world = World::new(case);
    let restarts = case
        .gateway_restarts_ms
        .iter()
        .chain(&case.node_restarts_ms);
    let end_ms = restarts.fold(case.measures_ms.2, |last, at| last.max(*at));
    let mut now_ms = 0;
    while now_ms <= end_ms + 10_000 || world.device.held() > 0 {
        now_ms += STEP_MS;
        world.step(now_ms);
        if now_ms > end_ms + PATIENCE_MS {
            let (held, running) = (world.device.held(), world.gateway.is_running());
            world.fault(Some(format!("{held} are held, running {running}")));
            break;
        }
    }
    world.audit();
    let turned_away = world.turned_away + world.gateway.turned_away;
    world.fault((turned_away > 0).then(|| format!("taken for another {turned_away} times")));
    (world.found.up, world.found.down) = (world.up.frames, world.down.frames);
    world.found
}

fn seed() -> u64 {
    let seed = std::env::var("TIDEGATE_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("TIDEGATE_SEED={seed}");
    seed
}

const LATENCIES_MS: [u64; 9] = [0, 20, 120, 260, 400, 520, 800, 1_200, 2_000];

fn random_case(random: &mut fastrand::Rng) -> Case {
    let latency = |random: &mut fastrand::Rng| {
        let at = random.usize(..LATENCIES_MS.len());
        LATENCIES_MS[at] + random.u64(..20) * 5
    };
    let moments = |random: &mut fastrand::Rng, count: usize| -> Vec<u64> {
        (0..random.usize(..=count))
            .map(|_| random.u64(..4_000) * 5)
            .collect()
    };
    let every_ms = [40, 200, 500, 1_500, 4_000][random.usize(..5)];
    let harm = match random.u8(..4) {
        0 => None,
        kind => {
            let way = if random.bool() { Way::Up } else { Way::Down };
            let harm = match kind {
                1 => Harm::Lose,
                2 => Harm::Double,
                _ => Harm::Late(random.u64(..400) * 5),
            };
            Some((way, random.u32(..60), harm))
        }
    };
    Case {
        up_ms: latency(random),
        down_ms: latency(random),
        measures_ms: (random.u64(1..3_000) * 5, every_ms, 25_000),
        gateway_restarts_ms: moments(random, 2),
        node_restarts_ms: moments(random, 1),
        harm,
        nonce: random.u16(..),
    }
}

#[test]
fn whatever_crosses_on_a_slow_line_the_node_stays_the_one_it_is() {
    let long = std::env::var_os("TIDEGATE_LONG").is_some();
    let runs = if long { 50_000 } else { 1_000 };
    let mut random = fastrand::Rng::with_seed(seed());
    let mut faults = Vec::new();
    for _ in 0..runs {
        let case = random_case(&mut random);
        let found = run(&case);
        faults.extend(found.fault.map(|fault| format!("{fault}: {case:?}")));
    }
    check(&faults);
}

/// The gateway starts again, and then the node, each amid readings; both join anew.
fn course(takes_ms: u64, harm: Option<(Way, u32, Harm)>) -> Case {
    Case {
        up_ms: takes_ms,
        down_ms: takes_ms,
        measures_ms: (505, 500, 45_000),
        gateway_restarts_ms: vec![20_000],
        node_restarts_ms: vec![32_500],
        harm,
        nonce: 7,
    }
}

#[test]
fn no_frame_that_is_lost_late_or_doubled_stops_a_slow_line_for_ten_seconds() {
    const HARMS: [Harm; 3] = [Harm::Lose, Harm::Double, Harm::Late(2_000)];
    let mut faults = Vec::new();
    for takes_ms in [500, 2_000] {
        let good = run(&course(takes_ms, None));
        let mut longest_ms = 0;
        for (way, frames) in [(Way::Up, good.up), (Way::Down, good.down)] {
            for (at, harm) in (0..frames).flat_map(|at| HARMS.map(|harm| (at, harm))) {
                let found = run(&course(takes_ms, Some((way, at, harm))));
                longest_ms = longest_ms.max(found.stop_ms);
                // To join takes three round trips by itself.
                let is_long = found.stop_ms > (good.stop_ms + 5_000).max(10_000);
                let stop = is_long.then(|| format!("it stands for {} ms", found.stop_ms));
                let fault = found.fault.or(stop);
                faults.extend(
                    fault.map(|fault| format!("{takes_ms} {way:?} {at} {harm:?}: {fault}")),
                );
            }
        }
        println!("{takes_ms} ms: {} ms, harmed {longest_ms} ms", good.stop_ms);
    }
    check(&faults);
}

fn check(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults, of these {:#?}",
        faults.len(),
        &faults[..faults.len().min(12)]
    );
}
