//! A simulated sensor node at the end of a pseudo-terminal, over a line that can be made bad.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tidegate_device::{Node, Pace, Readings, Sensor, SensorError, Simulated};
use tidegate_link::{Identity, RamRing, Schema, Sequence};

use crate::wait;

/// The node's name.
pub const DEVICE: &str = "node-001";
/// Bytes of readings the node keeps.
const RING_BYTES: usize = 256 * 1024;
/// Between two turns of the node.
const TURN: Duration = Duration::from_millis(1);

/// How a node starts.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Its boot.
    pub boot: u32,
    /// The number of its first reading.
    pub first: u32,
    /// From one measurement to the next, in ms.
    pub every_ms: u32,
    /// One byte in so many is harmed, in each direction; 0 for a good line.
    pub harm_one_in: u32,
}

/// What the test tells the node's thread, and what that one tells the test.
#[derive(Default)]
struct Signals {
    ended: AtomicBool,
    resting: AtomicBool,
    /// It was told to rest, and has counted what it made and holds since.
    rested: AtomicBool,
    harmless: AtomicBool,
    held: AtomicU32,
    made: AtomicU32,
}

/// A node on a thread of its own.
pub struct SimulatedNode {
    link: PathBuf,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
    ports: std::sync::mpsc::Sender<File>,
    /// The gateway's end, held so that the line does not hang up while the gateway is gone.
    line: Option<File>,
}

impl SimulatedNode {
    /// Starts a node; the gateway finds its line at `link`.
    ///
    /// # Panics
    /// When the system gives no pseudo-terminal.
    pub fn start(link: &Path, start: Start) -> SimulatedNode {
        let signals = Arc::new(Signals::default());
        let (ports, given) = std::sync::mpsc::channel();
        let turns = Arc::clone(&signals);
        let thread = std::thread::spawn(move || take_turns(start, &given, &turns));
        let mut node = SimulatedNode {
            link: link.into(),
            signals,
            thread: Some(thread),
            ports,
            line: None,
        };
        node.plug();
        node
    }

    /// Plugs the line in: a new pseudo-terminal under the same name.
    ///
    /// # Panics
    /// When the system gives none.
    pub fn plug(&mut self) {
        let (port, path) = pseudo_terminal().expect("a pseudo-terminal");
        let line = raw_line(&path);
        self.line = Some(line);
        let _ = std::fs::remove_file(&self.link);
        std::os::unix::fs::symlink(&path, &self.link).expect("a name for the line");
        self.ports.send(port).expect("the node lives");
    }

    /// Moves the line to another port, whose name is `link`.
    ///
    /// # Panics
    /// When the system gives no pseudo-terminal.
    pub fn plug_at(&mut self, link: &Path) {
        self.link = link.into();
        self.plug();
    }

    /// Lets a new gateway open the line: a killed one could not give it back itself.
    pub fn free(&self) {
        if let Some(line) = &self.line {
            let _ = rustix::termios::ioctl_tiocnxcl(line);
        }
    }

    /// The line harms nothing any more.
    pub fn mend(&self) {
        self.signals.harmless.store(true, Ordering::Relaxed);
    }

    /// No more readings; waits until every one is acknowledged, and returns how many there were.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn drain(&self) -> u32 {
        self.signals.resting.store(true, Ordering::Relaxed);
        wait::until("the node rests", || {
            self.signals.rested.load(Ordering::Acquire)
        });
        wait::find("every reading is acknowledged", || match self.held() {
            0 => Ok(()),
            held => Err(format!("{held} readings are still held")),
        });
        self.made()
    }

    /// Readings not acknowledged.
    pub fn held(&self) -> u32 {
        self.signals.held.load(Ordering::Acquire)
    }

    /// Readings made.
    pub fn made(&self) -> u32 {
        self.signals.made.load(Ordering::Acquire)
    }

    /// Waits until so many readings are acknowledged.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn await_acknowledged(&self, count: u32) {
        wait::for_count("readings are acknowledged", count as usize, || {
            self.made().saturating_sub(self.held()) as usize
        });
    }
}

impl Drop for SimulatedNode {
    fn drop(&mut self) {
        // The next pseudo-terminal of anybody may have the same number.
        let _ = std::fs::remove_file(&self.link);
        self.signals.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The gateway's end of a pseudo-terminal, as a serial port is; the line does not hang up while it is held.
pub fn raw_line(path: &Path) -> File {
    let line = File::options()
        .read(true)
        .custom_flags(libc::O_NOCTTY)
        .open(path)
        .expect("the line");
    let mut settings = tcgetattr(&line).expect("its settings");
    settings.make_raw();
    tcsetattr(&line, OptionalActions::Now, &settings).expect("a raw line");
    line
}

/// The node's end of a new pseudo-terminal, and the path of the other. No program that is started
/// meanwhile inherits the node's end: it would keep the line from hanging up.
///
/// # Errors
/// When the system gives none.
pub fn pseudo_terminal() -> rustix::io::Result<(File, PathBuf)> {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&end)?;
    unlockpt(&end)?;
    let name = ptsname(&end, Vec::new())?;
    // A line that takes no bytes must not stop the node.
    fcntl_setfl(&end, OFlags::NONBLOCK)?;
    let path = PathBuf::from(name.to_string_lossy().into_owned());
    Ok((File::from(end), path))
}

/// The node's life: a new port replaces the one before, whose far end thereby hangs up.
fn take_turns(start: Start, ports: &std::sync::mpsc::Receiver<File>, signals: &Arc<Signals>) {
    let Ok(port) = ports.recv() else {
        return;
    };
    let sensor = Counted(Simulated::default(), Arc::clone(signals));
    let identity = Identity {
        device: *b"node-001",
        firmware: "1.0.0",
        slot: 0,
        schema: sensor.schema(),
    };
    let ring = RamRing::<RING_BYTES>::starting_at(start.boot, Sequence(start.first));
    let pace = Pace {
        every_ms: start.every_ms,
    };
    let line = BadLine::new(port, start.harm_one_in, Arc::clone(signals));
    let mut node = Box::new(Node::new(identity, sensor, line, ring, pace));
    let began = Instant::now();
    while !signals.ended.load(Ordering::Relaxed) {
        if let Ok(port) = ports.try_recv() {
            node.port_mut().port = Some(port);
        }
        let is_resting = signals.resting.load(Ordering::Relaxed);
        if is_resting {
            node.rest();
        }
        // A line that takes nothing while the gateway is away is what a node is made for.
        let now_ms = began.elapsed().as_millis() as u64;
        let _ = node.poll(now_ms);
        signals.held.store(node.held(), Ordering::Release);
        signals.rested.store(is_resting, Ordering::Release);
        std::thread::sleep(TURN);
    }
}

/// A sensor whose measurements are counted.
struct Counted(Simulated, Arc<Signals>);

impl Sensor for Counted {
    fn schema(&self) -> Schema {
        self.0.schema()
    }

    fn measure(&mut self) -> Result<Readings, SensorError> {
        let readings = self.0.measure()?;
        // Held before it is counted: the difference never says more than what is acknowledged.
        self.1.held.fetch_add(1, Ordering::AcqRel);
        self.1.made.fetch_add(1, Ordering::AcqRel);
        Ok(readings)
    }
}

/// A pseudo-terminal as the node sees its port, losing, doubling, flipping and inserting bytes.
struct BadLine {
    port: Option<File>,
    random: fastrand::Rng,
    harm_one_in: u32,
    signals: Arc<Signals>,
}

impl BadLine {
    fn new(port: File, harm_one_in: u32, signals: Arc<Signals>) -> BadLine {
        BadLine {
            port: Some(port),
            random: fastrand::Rng::with_seed(7),
            harm_one_in,
            signals,
        }
    }

    /// What the line makes of these bytes.
    fn harmed(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.harm_one_in == 0 || self.signals.harmless.load(Ordering::Relaxed) {
            return bytes.into();
        }
        let mut out = Vec::with_capacity(bytes.len() + 4);
        for &byte in bytes {
            if self.random.u32(..self.harm_one_in) != 0 {
                out.push(byte);
                continue;
            }
            match self.random.u8(..5) {
                0 => {}
                1 => out.extend([byte, byte]),
                2 => out.push(byte ^ (1 << self.random.u8(..8))),
                3 => out.extend([byte, self.random.u8(..)]),
                // A burst longer than any frame, without a delimiter.
                _ => out.extend((0..400).map(|_| self.random.u8(1..))),
            }
        }
        out
    }

    fn port(&mut self) -> Result<&mut File, ErrorKind> {
        self.port.as_mut().ok_or(ErrorKind::NotConnected)
    }
}

impl ErrorType for BadLine {
    type Error = ErrorKind;
}

impl ReadReady for BadLine {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        let waiting = rustix::io::ioctl_fionread(self.port()?);
        waiting.map(|count| count > 0).map_err(|_| ErrorKind::Other)
    }
}

impl Read for BadLine {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let count = self.port()?.read(buffer).map_err(|_| ErrorKind::Other)?;
        let mut harmed = self.harmed(&buffer[..count]);
        harmed.truncate(buffer.len());
        buffer[..harmed.len()].copy_from_slice(&harmed);
        Ok(harmed.len())
    }
}

impl Write for BadLine {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let harmed = self.harmed(bytes);
        let port = self.port()?;
        port.write_all(&harmed).map_err(|_| ErrorKind::TimedOut)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}
