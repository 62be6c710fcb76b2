//! The node itself: measure, keep, send, listen, in one call that never waits.

use crate::sensor::Sensor;
use embedded_io::{Read, ReadReady, Write};
use tidegate_link::message::Level;
use tidegate_link::{Counters, DeviceLink, FRAME_SIZE_MAX, Identity, Ring};

/// Frames that may leave in one turn, so that listening is never starved.
const FRAMES_PER_TURN_MAX: usize = 8;

/// Reads in one turn, so that a babbling line starves neither measuring nor sending.
const READS_PER_TURN_MAX: usize = 16;

/// How often a node measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one measurement to the next, in ms; at least 1.
    pub every_ms: u32,
}

/// A sensor node.
#[derive(Debug)]
pub struct Node<S, P, R> {
    sensor: S,
    port: P,
    link: DeviceLink<R>,
    pace: Pace,
    measure_at_ms: u64,
    resting: bool,
    sensor_errors: u32,
}

impl<S: Sensor, P: Read + ReadReady + Write, R: Ring> Node<S, P, R> {
    /// A node that measures for the first time at its first turn. The ring carries the boot id, which must be new at
    /// every boot. The schema of `identity` is replaced by the sensor's.
    pub fn new(identity: Identity, sensor: S, port: P, ring: R, pace: Pace) -> Self {
        let identity = Identity {
            schema: sensor.schema(),
            ..identity
        };
        Self {
            sensor,
            port,
            link: DeviceLink::new(identity, ring),
            pace,
            measure_at_ms: 0,
            resting: false,
            sensor_errors: 0,
        }
    }

    /// One turn at `now_ms` of uptime: takes what came, measures if it is time, sends what is due. A failing port is
    /// reported after measuring, so that readings go on while it is gone.
    pub fn poll(&mut self, now_ms: u64) -> Result<(), P::Error> {
        self.measure(now_ms);
        self.listen(now_ms)?;
        self.send(now_ms)
    }

    /// Measures no more; what is held is still sent. For a node that is about to be switched off.
    pub fn rest(&mut self) {
        self.resting = true;
        self.measure_at_ms = u64::MAX;
    }

    /// When the next turn is due if nothing comes on the port before.
    pub fn next_deadline(&self) -> u64 {
        self.link
            .next_deadline()
            .map_or(self.measure_at_ms, |link| link.min(self.measure_at_ms))
    }

    /// Puts a line into the node's log, which the gateway shows.
    pub fn log(&mut self, level: Level, text: &str) {
        self.link.log(level, text);
    }

    /// What the link counted.
    pub fn counters(&self) -> Counters {
        self.link.counters()
    }

    /// Measurements that failed.
    pub fn sensor_errors(&self) -> u32 {
        self.sensor_errors
    }

    /// Readings not acknowledged yet.
    pub fn held(&self) -> u32 {
        self.link.held()
    }

    /// The port, for instance to open it again.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    fn measure(&mut self, now_ms: u64) {
        if self.resting || now_ms < self.measure_at_ms {
            return;
        }
        let every_ms = u64::from(self.pace.every_ms.max(1));
        // Late turns are caught up on one by one; after a long stop the pace starts anew.
        let on_time = now_ms.saturating_sub(self.measure_at_ms) < 10 * every_ms;
        self.measure_at_ms = if on_time { self.measure_at_ms } else { now_ms } + every_ms;
        let recorded = match self.sensor.measure() {
            Ok(readings) => self.link.record(now_ms, &readings).is_ok(),
            Err(_) => false,
        };
        if !recorded {
            self.sensor_errors = self.sensor_errors.saturating_add(1);
            self.link.log(Level::Warn, "a measurement failed");
        }
    }

    fn listen(&mut self, now_ms: u64) -> Result<(), P::Error> {
        let mut bytes = [0; 64];
        for _ in 0..READS_PER_TURN_MAX {
            if !self.port.read_ready()? {
                break;
            }
            let count = self.port.read(&mut bytes)?;
            if count == 0 {
                break;
            }
            self.link
                .receive(bytes.get(..count).unwrap_or(&bytes), now_ms);
        }
        Ok(())
    }

    fn send(&mut self, now_ms: u64) -> Result<(), P::Error> {
        let mut buffer = [0; FRAME_SIZE_MAX];
        for _ in 0..FRAMES_PER_TURN_MAX {
            let Some(frame) = self.link.transmit(now_ms, &mut buffer) else {
                break;
            };
            self.port.write_all(frame)?;
        }
        self.port.flush()
    }
}
