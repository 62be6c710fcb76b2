//! A node in memory: its ring, its half of the link, and a line that is put into other ports.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidegate_link::device::Identity;
use tidegate_link::frame;
use tidegate_link::message::ToDevice;
use tidegate_link::ring::{Ring, RingError, Run};
use tidegate_link::{DeviceLink, FRAME_SIZE_MAX, Field, Kind, Schema, Sequence, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

use crate::time::clock;

/// The name that all have.
pub(super) const DEVICE: [u8; 8] = *b"node-001";
const SCHEMA: Schema = Schema {
    fields: &[Field {
        name: "n",
        unit: "",
        kind: Kind::Integer { exponent: 0 },
    }],
};

/// What a node begins with.
#[derive(Clone, Copy)]
pub(super) enum Begin {
    /// A boot, and nothing.
    Boot(u32),
    /// A boot, and a session from a gateway of an earlier version.
    InSession(u32, u16),
    /// A boot, with so many records of the boot before in its flash, the first of which were stored.
    Flash(u32, u32),
}

/// Boot, first number and records.
type Boot = (u32, u32, Vec<Vec<u8>>);

/// A ring without bounds, which may hold a run of the boot before. The first one is the oldest.
#[derive(Clone)]
pub(super) struct FlashRing(Arc<Mutex<Vec<Boot>>>);

impl FlashRing {
    fn boots(&self) -> MutexGuard<'_, Vec<Boot>> {
        self.0.lock().expect("no test has failed")
    }

    pub(super) fn held(&self) -> u32 {
        self.boots().iter().map(|boot| boot.2.len() as u32).sum()
    }
}

impl Ring for FlashRing {
    fn boot(&self) -> u32 {
        self.boots().last().map_or(0, |run| run.0)
    }

    fn run(&self) -> Run {
        let (boot, first, records) = &self.boots()[0];
        Run {
            boot: *boot,
            oldest: Sequence(*first),
            next: Sequence(first + records.len() as u32),
        }
    }

    fn push(&mut self, record: &[u8]) -> Result<u32, RingError> {
        let mut boots = self.boots();
        let (.., records) = boots.last_mut().ok_or(RingError::Storage)?;
        records.push(record.into());
        Ok(0)
    }

    fn read(&mut self, sequence: Sequence, out: &mut [u8]) -> Option<usize> {
        let (_, first, records) = &self.boots()[0];
        let record = records.get(sequence.since(Sequence(*first)) as usize)?;
        out.get_mut(..record.len())?.copy_from_slice(record);
        Some(record.len())
    }

    fn release(&mut self, next: Sequence) {
        let mut boots = self.boots();
        let (_, first, records) = &mut boots[0];
        let count = (next.since(Sequence(*first)) as usize).min(records.len());
        records.drain(..count);
        *first += count as u32;
        if records.is_empty() && boots.len() > 1 {
            boots.remove(0);
        }
    }
}

enum Command {
    Make(u32),
    /// Gives back the line that it had.
    Wire(Option<DuplexStream>, oneshot::Sender<Option<DuplexStream>>),
}

/// A node on a task of its own.
pub(super) struct NodeTask {
    commands: mpsc::UnboundedSender<Command>,
    pub(super) ring: FlashRing,
    pub(super) made: u32,
}

impl NodeTask {
    pub(super) fn start(number: usize, begin: Begin) -> NodeTask {
        let (commands, given) = mpsc::unbounded_channel();
        let (link, ring, made) = link(number, begin);
        tokio::spawn(live(number, link, made, given));
        NodeTask {
            commands,
            ring,
            made,
        }
    }

    /// Puts the node at another line, or none. Gives back the one before.
    pub(super) async fn wire(&self, line: Option<DuplexStream>) -> Option<DuplexStream> {
        let (back, before) = oneshot::channel();
        let _ = self.commands.send(Command::Wire(line, back));
        before.await.expect("the node lives")
    }

    /// Makes so many records; they are there when this returns.
    pub(super) async fn make(&mut self, count: u32) {
        self.made += count;
        let _ = self.commands.send(Command::Make(count));
        let line = self.wire(None).await;
        self.wire(line).await;
    }
}

/// The node's half of a link, its ring, and how many records it has made.
fn link(number: usize, begin: Begin) -> (DeviceLink<FlashRing>, FlashRing, u32) {
    let identity = Identity {
        device: DEVICE,
        firmware: "1.0.0",
        slot: 0,
        schema: SCHEMA,
    };
    let boot = match begin {
        Begin::Boot(boot) | Begin::InSession(boot, _) => boot,
        Begin::Flash(boot, _) => boot - 1,
    };
    let ring = FlashRing(Arc::new(Mutex::new(vec![(boot, 0, Vec::new())])));
    let mut link = DeviceLink::new(identity, ring.clone());
    match begin {
        Begin::Boot(_) => {}
        Begin::InSession(boot, session) => {
            let welcome = ToDevice::Welcome {
                device: DEVICE,
                boot,
                session,
                next: Sequence(0),
            };
            let mut buffer = [0; FRAME_SIZE_MAX];
            link.receive(frame::encode(&welcome, &mut buffer).expect("fits"), 0);
        }
        Begin::Flash(boot, count) => {
            for n in 0..count {
                link.record(0, &[content(number, n)]).expect("room");
            }
            ring.boots().push((boot, 0, Vec::new()));
            link = DeviceLink::new(identity, ring.clone());
            return (link, ring, count);
        }
    }
    (link, ring, 0)
}

fn content(number: usize, n: u32) -> Value {
    Value::Integer(number as i64 * 1_000_000 + i64::from(n))
}

/// A node's life.
async fn live(
    number: usize,
    mut link: DeviceLink<FlashRing>,
    mut made: u32,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut line: Option<DuplexStream> = None;
    let began = clock::monotonic();
    let now_ms = || began.elapsed().as_millis() as u64;
    let (mut buffer, pause) = ([0; 256], Duration::from_millis(2));
    loop {
        match commands.try_recv() {
            Ok(Command::Make(count)) => {
                for n in made..made + count {
                    link.record(0, &[content(number, n)]).expect("room");
                }
                made += count;
            }
            Ok(Command::Wire(next, back)) => {
                let _ = back.send(std::mem::replace(&mut line, next));
            }
            Err(mpsc::error::TryRecvError::Disconnected) => return,
            Err(mpsc::error::TryRecvError::Empty) => {}
        }
        let mut frame = [0; FRAME_SIZE_MAX];
        while let Some(bytes) = link.transmit(now_ms(), &mut frame) {
            if let Some(line) = &mut line {
                let _ = line.write_all(bytes).await;
            }
        }
        let read = async {
            match &mut line {
                Some(line) => line.read(&mut buffer).await.unwrap_or(0),
                None => 0,
            }
        };
        match tokio::time::timeout(pause, read).await {
            Ok(0) => tokio::time::sleep(pause).await,
            Ok(count) => link.receive(&buffer[..count], now_ms()),
            Err(_) => {}
        }
    }
}
