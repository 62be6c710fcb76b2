//! The far end: a subscriber at the upstream broker that ticks off every event once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clients::{self, CLIENT_BASE, NUMBER_BASE};

/// A subscriber to `bench/#`, QoS 0.
pub(crate) struct Sink {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// A tick per client and number.
    seen: Vec<Vec<bool>>,
    /// Distinct events that arrived.
    pub arrived: u64,
    /// Events that arrived again.
    pub duplicates: u64,
}

impl Sink {
    /// Subscribes for `clients` with `count` events each.
    ///
    /// # Errors
    /// When the broker is not there.
    pub(crate) async fn subscribe(
        to: SocketAddr,
        clients: u64,
        count: u64,
    ) -> std::io::Result<Sink> {
        let mut stream = clients::connect(to, "sink").await?;
        let filter = b"bench/#";
        let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
        packet.extend(filter);
        packet.push(0);
        stream.write_all(&packet).await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        Ok(Sink {
            stream,
            buffer: Vec::with_capacity(1 << 20),
            seen: vec![vec![false; count as usize]; clients as usize],
            arrived: 0,
            duplicates: 0,
        })
    }

    /// Reads until `events` distinct ones arrived or nothing came for `quiet`; tells when the
    /// last new one came.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn drain(&mut self, events: u64, quiet: Duration) -> std::io::Result<Instant> {
        let mut last = Instant::now();
        while self.arrived < events {
            let read = self.stream.read_buf(&mut self.buffer);
            let Ok(count) = tokio::time::timeout(quiet, read).await else {
                break;
            };
            if count? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let before = self.arrived;
            self.take();
            if self.arrived > before {
                last = Instant::now();
            }
        }
        Ok(last)
    }

    /// Takes every whole packet.
    fn take(&mut self) {
        let mut at = 0;
        while let Some((body, next)) = packet(&self.buffer, at) {
            if self.buffer[at] & 0xf0 == 0x30
                && let Some((client, number)) = numbers(&self.buffer[body..next])
                && let Some(tick) = self
                    .seen
                    .get_mut(client as usize)
                    .and_then(|client| client.get_mut(number as usize))
            {
                match std::mem::replace(tick, true) {
                    true => self.duplicates += 1,
                    false => self.arrived += 1,
                }
            }
            at = next;
        }
        self.buffer.drain(..at);
    }
}

/// Where the body of the packet at `at` begins and where the next packet does.
fn packet(buffer: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut length = 0;
    for (place, byte) in buffer.get(at + 1..)?.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let body = at + 2 + place;
            return (body + length <= buffer.len()).then_some((body, body + length));
        }
    }
    None
}

/// Client and number of a publish on `bench/…`.
fn numbers(body: &[u8]) -> Option<(u64, u64)> {
    let payload = body.get(2 + usize::from(u16::from_be_bytes([body[0], body[1]]))..)?;
    let digits = |from: usize, count: usize| -> Option<u64> {
        let digits = payload.get(from..from + count)?;
        Some(
            digits
                .iter()
                .fold(0, |sum, d| sum * 10 + u64::from(d.wrapping_sub(b'0'))),
        )
    };
    let client = digits(5, 4)?.checked_sub(CLIENT_BASE)?;
    Some((client, digits(14, 8)?.checked_sub(NUMBER_BASE)?))
}
