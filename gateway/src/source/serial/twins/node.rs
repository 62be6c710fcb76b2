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
    /// A boot, and a session from a gateway of an earlier version, to which it let so many records go.
    InSession(u32, u16, u32),
    /// A boot, with so many records of the boot before in its flash, of which so many were let go.
    Flash(u32, u32, u32),
}

/// Boot, first number and records.
type Boot = (u32, u32, Vec<Vec<u8>>);

/// A ring without bounds, which may hold a run of the boot before. The first one is the oldest.
#[derive(Clone)]
pub(super) struct FlashRing {
    boots: Arc<Mutex<Vec<Boot>>>,
    /// The last run that was let go of, in whole or in part, with its first records.
    let_go: Arc<Mutex<Boot>>,
}

impl FlashRing {
    fn new(boot: u32) -> FlashRing {
        FlashRing {
            boots: Arc::new(Mutex::new(vec![(boot, 0, Vec::new())])),
            let_go: Arc::new(Mutex::new((boot, 0, Vec::new()))),
        }
    }

    fn boots(&self) -> MutexGuard<'_, Vec<Boot>> {
        self.boots.lock().expect("no test has failed")
    }

    /// A new boot; the flash does not know that the last `back` records were let go.
    fn reboot(&self, boot: u32, back: usize) {
        let mut boots = self.boots();
        boots.retain(|run| !run.2.is_empty());
        let mut let_go = self.let_go.lock().expect("no test has failed");
        let (last, _, records) = &mut *let_go;
        let records = records.split_off(records.len() - back);
        if boots.first().is_none_or(|run| run.0 != *last) {
            let first = let_go.1;
            boots.insert(0, (let_go.0, first, Vec::new()));
        }
        boots[0].1 -= records.len() as u32;
        boots[0].2.splice(..0, records);
        boots.retain(|run| !run.2.is_empty());
        boots.push((boot, 0, Vec::new()));
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
        let (boot, first, records) = &mut boots[0];
        let count = (next.since(Sequence(*first)) as usize).min(records.len());
        let mut let_go = self.let_go.lock().expect("no test has failed");
        if let_go.0 != *boot {
            *let_go = (*boot, 0, Vec::new());
        }
        let_go.2.extend(records.drain(..count));
        *first += count as u32;
        let_go.1 = *first;
        drop(let_go);
        if records.is_empty() && boots.len() > 1 {
            boots.remove(0);
        }
    }
}

enum Command {
    Make(u32),
    /// This boot begins, with so many records that were let go of.
    Reboot(u32, u32),
    /// Gives back the line that it had.
    Wire(Option<DuplexStream>, oneshot::Sender<Option<DuplexStream>>),
}

/// A node on a task of its own.
pub(super) struct NodeTask {
    commands: mpsc::UnboundedSender<Command>,
    pub(super) ring: FlashRing,
    pub(super) made: u32,
    /// Of these, those that it had let go of at first.
    pub(super) let_go: u32,
}

impl NodeTask {
    pub(super) fn start(number: usize, begin: Begin) -> NodeTask {
        let (commands, given) = mpsc::unbounded_channel();
        let (link, ring, made) = link(number, begin);
        let let_go = made - ring.held();
        tokio::spawn(live(number, link, made, ring.clone(), given));
        NodeTask {
            commands,
            ring,
            made,
            let_go,
        }
    }

    /// Starts it anew; it has when this returns.
    pub(super) async fn reboot(&self, boot: u32, back: u32) {
        let _ = self.commands.send(Command::Reboot(boot, back));
        let line = self.wire(None).await;
        self.wire(line).await;
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

fn node_link(ring: &FlashRing) -> DeviceLink<FlashRing> {
    let identity = Identity {
        device: DEVICE,
        firmware: "1.0.0",
        slot: 0,
        schema: SCHEMA,
    };
    DeviceLink::new(identity, ring.clone())
}

/// The node's half of a link, its ring, and how many records it has made.
fn link(number: usize, begin: Begin) -> (DeviceLink<FlashRing>, FlashRing, u32) {
    let (boot, made, let_go) = match begin {
        Begin::Boot(boot) => (boot, 0, 0),
        Begin::InSession(boot, _, let_go) => (boot, let_go, let_go),
        Begin::Flash(boot, count, let_go) => (boot - 1, count, let_go),
    };
    let mut ring = FlashRing::new(boot);
    let mut link = node_link(&ring);
    for n in 0..made {
        link.record(0, &[content(number, n)]).expect("room");
    }
    ring.release(Sequence(let_go));
    match begin {
        Begin::Boot(_) => {}
        Begin::InSession(boot, session, let_go) => {
            let welcome = ToDevice::Welcome {
                device: DEVICE,
                boot,
                session,
                next: Sequence(let_go),
            };
            let mut buffer = [0; FRAME_SIZE_MAX];
            link.receive(frame::encode(&welcome, &mut buffer).expect("fits"), 0);
        }
        Begin::Flash(boot, ..) => {
            ring.boots().push((boot, 0, Vec::new()));
            link = node_link(&ring);
        }
    }
    (link, ring, made)
}

fn content(number: usize, n: u32) -> Value {
    Value::Integer(number as i64 * 1_000_000 + i64::from(n))
}

/// A node's life.
async fn live(
    number: usize,
    mut link: DeviceLink<FlashRing>,
    mut made: u32,
    ring: FlashRing,
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
            Ok(Command::Reboot(boot, back)) => {
                ring.reboot(boot, back as usize);
                link = node_link(&ring);
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
