//! A node that does something no node should, on a thread of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_link::frame::{self, FRAME_SIZE_MAX};
use tidegate_link::message::{ToDevice, ToGateway};
use tidegate_link::{DeviceLink, Field, Identity, Kind, RamRing, Schema, Value};

use super::line::{self, Line};

/// Readings that each boot makes, one every [`EVERY_MS`].
pub(super) const READINGS: u32 = 60;
const EVERY_MS: u64 = 40;
/// Between two turns.
const TURN: Duration = Duration::from_millis(1);

/// What is odd about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// Nothing: the line is.
    Nothing,
    /// Its power goes in the middle of a frame, four times.
    CutInFrame,
    /// It says hello twice a second, in a session too.
    Eager,
    /// It hears none of these messages, by their numbers.
    DeafTo(&'static [u8]),
    /// Its port hangs up and is there again every 300 ms, ten times.
    Flaps,
    /// It sends what it hears, and nothing else.
    Echoes,
    /// It sends events before it is welcome.
    Hasty,
    /// Each boot has another schema, three times.
    NewSchema,
}

const N: Field<'static> = Field {
    name: "n",
    unit: "",
    kind: Kind::Integer { exponent: 0 },
};
const TENTHS: Field<'static> = Field {
    name: "n",
    unit: "Cel",
    kind: Kind::Integer { exponent: -1 },
};
const SCHEMAS: [Schema; 2] = [Schema { fields: &[N] }, Schema { fields: &[TENTHS] }];

/// What the test tells it, and what it tells the test.
#[derive(Default)]
pub(super) struct Signals {
    ended: AtomicBool,
    /// The gateway is to be let in again.
    pub(super) frees: AtomicBool,
    pub(super) boot: AtomicU32,
    /// Of the present boot.
    pub(super) made: AtomicU32,
    pub(super) held: AtomicU32,
    /// Boots that are over, and how many readings each let go.
    pub(super) let_go: Mutex<Vec<(u32, u32)>>,
}

pub(super) struct OddNode {
    pub(super) signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

impl OddNode {
    pub(super) fn start(device: [u8; 8], odd: Odd, kind: line::Kind, link: PathBuf) -> OddNode {
        let signals = Arc::new(Signals::default());
        let shared = Arc::clone(&signals);
        let thread = std::thread::spawn(move || {
            let line = Line::new(&link, kind);
            Life::new(device, odd, line, shared).live();
        });
        OddNode {
            signals,
            thread: Some(thread),
        }
    }

    /// All that its last boot made is acknowledged.
    pub(super) fn is_done(&self, boots: u32) -> bool {
        let of = |number: &AtomicU32| number.load(Ordering::Acquire);
        let signals = &self.signals;
        of(&signals.boot) == boots && of(&signals.made) == READINGS && of(&signals.held) == 0
    }
}

impl Drop for OddNode {
    fn drop(&mut self) {
        self.signals.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Life {
    device: [u8; 8],
    odd: Odd,
    line: Line,
    signals: Arc<Signals>,
    link: DeviceLink<RamRing<8192>>,
    boot: u32,
    made: u32,
    began: Instant,
    heard: Vec<u8>,
    /// What it did last of what it does again and again, and how often.
    odd_at_ms: u64,
    odd_count: u32,
}

impl Life {
    fn new(device: [u8; 8], odd: Odd, line: Line, signals: Arc<Signals>) -> Life {
        Life {
            device,
            odd,
            line,
            signals,
            link: link(device, 1, odd),
            boot: 1,
            made: 0,
            began: Instant::now(),
            heard: Vec::new(),
            odd_at_ms: 0,
            odd_count: 0,
        }
    }

    fn live(&mut self) {
        let signals = Arc::clone(&self.signals);
        while !signals.ended.load(Ordering::Relaxed) {
            let now_ms = self.began.elapsed().as_millis() as u64;
            if signals.frees.swap(false, Ordering::AcqRel) {
                self.line.free();
            }
            self.is_odd(now_ms);
            if self.made < READINGS && now_ms >= u64::from(self.made) * EVERY_MS {
                let value = Value::Integer(i64::from(self.made));
                self.link.record(now_ms, &[value]).expect("room");
                self.made += 1;
            }
            let came = self.line.turn();
            self.hear(&came, now_ms);
            self.say(now_ms);
            signals.held.store(self.link.held(), Ordering::Release);
            signals.made.store(self.made, Ordering::Release);
            signals.boot.store(self.boot, Ordering::Release);
            std::thread::sleep(TURN);
        }
    }

    /// What it does by itself.
    fn is_odd(&mut self, now_ms: u64) {
        let every_ms = match self.odd {
            Odd::Eager => 500,
            Odd::Flaps | Odd::Hasty => 300,
            Odd::NewSchema if self.boot < 4 && self.made == READINGS && self.link.held() == 0 => 0,
            _ => return,
        };
        if now_ms < self.odd_at_ms + every_ms {
            return;
        }
        (self.odd_at_ms, self.odd_count) = (now_ms, self.odd_count + 1);
        match self.odd {
            Odd::Eager => self.tell(ToDevice::Discover, now_ms),
            Odd::Flaps if self.odd_count <= 10 => self.line.plug_anew(),
            Odd::Hasty if !self.link.is_welcome() => {
                let event = ToGateway::Event {
                    session: 0,
                    sequence: tidegate_link::Sequence(0),
                    record: &[5, 0, 9, 1, 1],
                };
                self.line.send(&framed(&event));
            }
            Odd::NewSchema => self.reboot(),
            _ => {}
        }
    }

    fn reboot(&mut self) {
        let let_go = (self.boot, self.made - self.link.held());
        self.signals.let_go.lock().expect("no panic").push(let_go);
        self.boot += 1;
        (self.made, self.began, self.odd_at_ms) = (0, Instant::now(), 0);
        self.link = link(self.device, self.boot, self.odd);
    }

    fn tell(&mut self, message: ToDevice, now_ms: u64) {
        self.link.receive(&framed(&message), now_ms);
    }

    fn hear(&mut self, came: &[u8], now_ms: u64) {
        if self.odd == Odd::Echoes {
            return self.line.send(came);
        }
        self.heard.extend_from_slice(came);
        while let Some(end) = self.heard.iter().position(|byte| *byte == 0) {
            let mut bytes: Vec<u8> = self.heard.drain(..=end).collect();
            let frame = bytes.clone();
            let message = frame::decode(&mut bytes[..end]).unwrap_or_default();
            let number = message.first().copied();
            let is_deaf = match self.odd {
                Odd::DeafTo(numbers) => number.is_some_and(|number| numbers.contains(&number)),
                _ => false,
            };
            if !is_deaf {
                self.link.receive(&frame, now_ms);
            }
        }
    }

    fn say(&mut self, now_ms: u64) {
        if self.odd == Odd::Echoes {
            return;
        }
        let mut buffer = [0; FRAME_SIZE_MAX];
        while let Some(frame) = self.link.transmit(now_ms, &mut buffer) {
            let is_half = self.odd == Odd::CutInFrame && self.boot < 5 && self.made >= 25;
            if is_half {
                let half = frame[..frame.len() / 2].to_vec();
                self.line.send(&half);
                return self.reboot();
            }
            self.line.send(frame);
        }
    }
}

fn link(device: [u8; 8], boot: u32, odd: Odd) -> DeviceLink<RamRing<8192>> {
    let which = if odd == Odd::NewSchema {
        boot as usize % 2
    } else {
        0
    };
    let identity = Identity {
        device,
        firmware: "odd",
        slot: 0,
        schema: SCHEMAS[which],
    };
    DeviceLink::new(identity, RamRing::new(boot))
}

fn framed(message: &impl serde::Serialize) -> Vec<u8> {
    let mut buffer = [0; FRAME_SIZE_MAX];
    frame::encode(message, &mut buffer).expect("fits").to_vec()
}
