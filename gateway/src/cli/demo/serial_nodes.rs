//! The demo's serial devices: the node that boards run, each on a thread and a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use serialport::{SerialPort, TTYPort};
use tidegate_device::{Node, Pace, Readings, Sensor, SensorError, Simulated};
use tidegate_link::{Identity, RamRing, Schema};

use super::ledger::Ledger;
use crate::time::clock;

/// How often a node measures, in ms.
const EVERY_MS: u32 = 50;
/// Bytes of readings a node keeps; about two minutes of them.
const RING_BYTES: usize = 64 * 1024;
/// How long a node waits for a line that takes no bytes.
const WRITE_MAX: Duration = Duration::from_millis(10);
/// Between two turns of a node.
const TURN: Duration = Duration::from_millis(1);

/// Nodes on their pseudo-terminals.
pub(super) struct SerialNodes {
    nodes: Vec<NodeSlot>,
    resting: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

/// A node on its pseudo-terminal.
struct NodeSlot {
    /// The gateway's end, held open so that the line does not hang up while the gateway is gone.
    line: File,
    path: PathBuf,
    held: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl SerialNodes {
    /// Starts `count` nodes; they measure at once, and keep their readings until a gateway comes.
    ///
    /// # Errors
    /// When the system gives no pseudo-terminal or no thread.
    pub(super) fn start(count: usize, ledger: &Arc<Ledger>) -> std::io::Result<SerialNodes> {
        let mut started = SerialNodes {
            nodes: Vec::new(),
            resting: Arc::default(),
            ended: Arc::default(),
        };
        for number in 0..count {
            let node = started.start_node(number, Arc::clone(ledger))?;
            started.nodes.push(node);
        }
        Ok(started)
    }

    fn start_node(&self, number: usize, ledger: Arc<Ledger>) -> std::io::Result<NodeSlot> {
        let (mut port, far) = TTYPort::pair()?;
        port.set_timeout(WRITE_MAX)?;
        let path = far
            .name()
            .ok_or_else(|| std::io::Error::other("a pseudo-terminal has no name"))?;
        let line = File::options()
            .read(true)
            .custom_flags(libc::O_NOCTTY)
            .open(&path)?;
        let held = Arc::new(AtomicU32::new(0));
        let node_loop = NodeLoop {
            name: format!("bench{number:03}"),
            ledger,
            held: Arc::clone(&held),
            resting: Arc::clone(&self.resting),
            ended: Arc::clone(&self.ended),
        };
        let thread = std::thread::Builder::new()
            .name(format!("node {number}"))
            .spawn(move || node_loop.run(port))?;
        Ok(NodeSlot {
            line,
            path: path.into(),
            held,
            thread: Some(thread),
        })
    }

    /// Where the gateway finds the lines.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.nodes.iter().map(|node| node.path.clone()).collect()
    }

    /// Lets a new gateway open the lines: a killed one could not give them back itself.
    pub(super) fn release_lines(&mut self) {
        for node in &mut self.nodes {
            let _ = rustix::termios::ioctl_tiocnxcl(&node.line);
        }
    }

    /// No more readings; what is kept is still sent.
    pub(super) fn stop_measuring(&self) {
        self.resting.store(true, Ordering::Relaxed);
    }

    /// Readings that are not acknowledged.
    pub(super) fn held(&self) -> u64 {
        let held = |node: &NodeSlot| u64::from(node.held.load(Ordering::Acquire));
        self.nodes.iter().map(held).sum()
    }
}

impl Drop for SerialNodes {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.nodes.iter_mut().filter_map(|node| node.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// What a node's thread needs.
struct NodeLoop {
    name: String,
    ledger: Arc<Ledger>,
    held: Arc<AtomicU32>,
    resting: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl NodeLoop {
    /// Takes turn after turn, and writes down what was acknowledged: what was measured and is
    /// held no longer.
    fn run(self, port: TTYPort) {
        let measured = Arc::new(AtomicU32::new(0));
        let sensor = Counted {
            sensor: Simulated::default(),
            measured: Arc::clone(&measured),
        };
        let mut node = self.node(sensor, port);
        let started = clock::monotonic();
        let mut acknowledged = 0;
        while !self.ended.load(Ordering::Relaxed) {
            if self.resting.load(Ordering::Relaxed) {
                node.rest();
            }
            let now = clock::monotonic();
            // A line that takes nothing while the gateway is away is what a node is made for.
            let _ = node.poll(now.duration_since(started).as_millis() as u64);
            let held = node.held();
            let through = measured.load(Ordering::Relaxed) - held;
            for n in acknowledged..through {
                self.ledger.acknowledged(&self.name, u64::from(n));
            }
            acknowledged = through;
            self.held.store(held, Ordering::Release);
            std::thread::sleep(TURN);
        }
    }

    fn node(&self, sensor: Counted, port: TTYPort) -> Node<Counted, Line, RamRing<RING_BYTES>> {
        let mut device = [b'0'; 8];
        for (to, from) in device.iter_mut().zip(self.name.bytes()) {
            *to = from;
        }
        let identity = Identity {
            device,
            firmware: "demo",
            slot: 0,
            schema: sensor.schema(),
        };
        let pace = Pace { every_ms: EVERY_MS };
        Node::new(
            identity,
            sensor,
            Line(port),
            RamRing::new(std::process::id()),
            pace,
        )
    }
}

/// A sensor whose measurements are counted.
struct Counted {
    sensor: Simulated,
    measured: Arc<AtomicU32>,
}

impl Sensor for Counted {
    fn schema(&self) -> Schema {
        self.sensor.schema()
    }

    fn measure(&mut self) -> Result<Readings, SensorError> {
        let readings = self.sensor.measure()?;
        self.measured.fetch_add(1, Ordering::Relaxed);
        Ok(readings)
    }
}

/// A pseudo-terminal as a node sees its serial port.
struct Line(TTYPort);

impl ErrorType for Line {
    type Error = ErrorKind;
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        self.0
            .bytes_to_read()
            .map(|count| count > 0)
            .map_err(|_| ErrorKind::Other)
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buffer).map_err(|_| ErrorKind::Other)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(bytes).map_err(|_| ErrorKind::TimedOut)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}
