//! A sender that keeps every event until its PUBACK is parsed, and writes down both.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::books::Id;
use crate::mqtt;
use crate::wait::PATIENCE;

/// What one run of publishers did.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Everything written to a socket.
    pub sent: BTreeSet<Id>,
    /// Everything whose PUBACK was parsed.
    pub acknowledged: BTreeSet<Id>,
    /// Nothing new is to be sent any more.
    pub enough: bool,
    /// What is not acknowledged yet need not be any more.
    pub given_up: bool,
}

/// One publisher: `count` events at `per_second`, QoS 1, in order, sent again until acked.
pub struct Publisher {
    /// The gateway.
    pub gateway: SocketAddr,
    /// Its number; part of topic, client id and payload.
    pub number: u32,
    /// How many events.
    pub count: u64,
    /// How fast.
    pub per_second: f64,
    /// Publishes under way at once.
    pub window: usize,
    /// What an event carries.
    pub payload: fn(Id) -> Vec<u8>,
    /// Shared with the checker.
    pub ledger: Arc<Mutex<Ledger>>,
}

/// One connection, and what is not acknowledged on it.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    under_way: VecDeque<(u16, u64)>,
}

/// How far a publisher is, over all its connections.
struct Progress {
    acked: u64,
    /// When something was acknowledged last.
    acked_at: Instant,
    /// One past the highest event ever sent.
    sent: u64,
    packet_id: u16,
}

impl Publisher {
    /// Publishes until everything is acknowledged, or nothing was for as long as patience lasts;
    /// tells how much is left.
    pub fn run(&self) -> u64 {
        let began = Instant::now();
        let mut progress = Progress {
            acked: 0,
            acked_at: began,
            sent: 0,
            packet_id: 0,
        };
        while self.goes_on(&progress) {
            let client = format!("p{}", self.number);
            let Ok(stream) = mqtt::connect(self.gateway, &client, true) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let mut connection = Connection {
                stream,
                buffer: Vec::new(),
                under_way: VecDeque::new(),
            };
            // A broken connection is over; everything unacked is sent again in the next one.
            let _ = self.publish(&mut connection, began, &mut progress);
        }
        self.wanted(&progress) - progress.acked
    }

    fn goes_on(&self, progress: &Progress) -> bool {
        !self.lock().given_up
            && progress.acked < self.wanted(progress)
            && progress.acked_at.elapsed() < PATIENCE
    }

    /// How many events are to be acknowledged before it ends.
    fn wanted(&self, progress: &Progress) -> u64 {
        match self.lock().enough {
            true => progress.sent,
            false => self.count,
        }
    }

    fn publish(
        &self,
        connection: &mut Connection,
        began: Instant,
        progress: &mut Progress,
    ) -> std::io::Result<()> {
        connection
            .stream
            .set_read_timeout(Some(Duration::from_millis(2)))?;
        while self.goes_on(progress) {
            let due = (began.elapsed().as_secs_f64() * self.per_second) as u64;
            let due = due.min(self.wanted(progress));
            let mut burst = Vec::new();
            while connection.under_way.len() < self.window
                && progress.acked + (connection.under_way.len() as u64) < due
            {
                let n = progress.acked + connection.under_way.len() as u64;
                let id = progress.packet_id.wrapping_add(1).max(1);
                progress.packet_id = id;
                let payload = (self.payload)((self.number, n));
                burst.extend(mqtt::publish(&format!("p/{}/t", self.number), id, &payload));
                connection.under_way.push_back((id, n));
                progress.sent = progress.sent.max(n + 1);
                self.lock().sent.insert((self.number, n));
            }
            connection.stream.write_all(&burst)?;
            self.read(connection, progress)?;
        }
        Ok(())
    }

    fn read(&self, connection: &mut Connection, progress: &mut Progress) -> std::io::Result<()> {
        let mut chunk = [0; 4096];
        match connection.stream.read(&mut chunk) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => connection.buffer.extend(&chunk[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error),
        }
        while let Some((first, body)) = mqtt::take(&mut connection.buffer) {
            if first != 0x40 {
                continue;
            }
            let id = u16::from_be_bytes([body[0], body[1]]);
            match connection.under_way.pop_front() {
                Some((expected, n)) if expected == id => {
                    self.lock().acknowledged.insert((self.number, n));
                    progress.acked = n + 1;
                    progress.acked_at = Instant::now();
                }
                _ => return Err(std::io::Error::other("PUBACK out of order")),
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no publisher panics")
    }
}
