//! A simulated node on a tty: `cargo run -p tidegate-device --example host -- <tty> [readings per second] [device id]`.

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_device::{Node, Pace, Sensor, Simulated};
use tidegate_link::{Identity, RamRing};

/// A tty: a thread waits for bytes, so that the node need not.
struct Tty {
    file: File,
    incoming: Receiver<Vec<u8>>,
    waiting: Vec<u8>,
}

impl Tty {
    fn open(path: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut reader = file.try_clone()?;
        let (outgoing, incoming) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 256];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if outgoing.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            file,
            incoming,
            waiting: Vec::new(),
        })
    }
}

impl ErrorType for Tty {
    type Error = ErrorKind;
}

impl ReadReady for Tty {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        if self.waiting.is_empty() {
            match self.incoming.try_recv() {
                Ok(bytes) => self.waiting = bytes,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Err(ErrorKind::BrokenPipe),
            }
        }
        Ok(true)
    }
}

impl Read for Tty {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let count = buffer.len().min(self.waiting.len());
        for (to, from) in buffer.iter_mut().zip(self.waiting.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

impl Write for Tty {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.file.write(bytes).map_err(|_| ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: host <tty> [readings per second] [device id, 8 characters]")?;
    let rate: u32 = arguments.next().map_or(Ok(10), |rate| rate.parse())?;
    let device = arguments.next().unwrap_or_else(|| "sim-0001".into());
    let device = device
        .as_bytes()
        .try_into()
        .map_err(|_| "a device id has 8 characters")?;
    // A board counts its boots in flash; here the seconds of the wall clock differ from run to run.
    let boot = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as u32;
    let identity = Identity {
        device,
        firmware: "simulated",
        slot: 0,
        schema: Simulated::default().schema(),
    };
    let pace = Pace {
        every_ms: 1_000 / rate.clamp(1, 1_000),
    };
    let ring = RamRing::<65_536>::new(boot);
    let mut node = Node::new(
        identity,
        Simulated::default(),
        Tty::open(&path)?,
        ring,
        pace,
    );
    let started = Instant::now();
    let mut told = 0;
    loop {
        let now_ms = started.elapsed().as_millis() as u64;
        node.poll(now_ms)
            .map_err(|kind| format!("{path} failed: {kind:?}"))?;
        if now_ms / 1_000 > told {
            told = now_ms / 1_000;
            println!("{told} s: {} held, {:?}", node.held(), node.counters());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
