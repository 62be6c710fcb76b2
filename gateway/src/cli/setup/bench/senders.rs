//! The load: MQTT clients on plain sockets, as cheap as can be, that publish with QoS 1.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::time::clock;

/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 200;
/// Publishes that a sender has under way at once.
const WINDOW: usize = 100;
/// Part of a flood in which nothing is counted yet.
const WARM_UP: f64 = 0.2;
/// Senders that share a steady rate.
const PACED: u32 = 10;
/// How long the last acknowledgements of a steady rate may take.
const LAST_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const PUBACK: [u8; 2] = [0x40, 2];

/// Publishes as fast as acknowledgements come, from so many senders: events acknowledged per second.
///
/// # Errors
/// When a connection is refused or breaks.
pub(super) async fn flood(to: SocketAddr, senders: u16, lasting: Duration) -> Result<f64> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut connected = Vec::new();
    for number in 0..senders {
        connected.push(Sender::connect(to, &format!("flood-{senders}-{number}")).await?);
    }
    let began = now();
    let end = began + lasting;
    let mut tasks = JoinSet::new();
    for sender in connected {
        tasks.spawn(sender.flood(end, Arc::clone(&acknowledged)));
    }
    sleep(lasting.mul_f64(WARM_UP)).await;
    let (before, counted_from) = (acknowledged.load(Ordering::Relaxed), now());
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(Error::other)??;
    }
    let counted = acknowledged.load(Ordering::Relaxed) - before;
    Ok(counted as f64 / counted_from.elapsed().as_secs_f64())
}

/// Publishes so many events a second, whether acknowledged or not; gives how many were acknowledged.
///
/// # Errors
/// As [`flood`].
pub(super) async fn pace(to: SocketAddr, rate: u32, lasting: Duration) -> Result<u64> {
    let senders = PACED.min(rate);
    let every = Duration::from_secs_f64(f64::from(senders) / f64::from(rate));
    let began = now();
    let mut tasks = JoinSet::new();
    for number in 0..senders {
        let sender = Sender::connect(to, &format!("pace-{number}")).await?;
        // They take turns rather than to send all at once.
        let first = began + every.mul_f64(f64::from(number) / f64::from(senders));
        tasks.spawn(sender.pace(first, every, began + lasting));
    }
    let mut acknowledged = 0;
    while let Some(ended) = tasks.join_next().await {
        acknowledged += ended.map_err(Error::other)??;
    }
    Ok(acknowledged)
}

fn now() -> Instant {
    Instant::from_std(clock::monotonic())
}

/// One connection.
struct Sender {
    stream: TcpStream,
    topic: String,
    sent: u64,
    /// Bytes of an acknowledgement that is not whole yet.
    partial: Vec<u8>,
}

impl Sender {
    /// Connects with MQTT 3.1.1 and a clean session.
    async fn connect(to: SocketAddr, name: &str) -> Result<Sender> {
        let connecting = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(to));
        let mut stream = connecting.await.map_err(|_| ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        let mut packet = vec![0x10, 12 + name.len() as u8];
        packet.extend([0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60]);
        packet.extend((name.len() as u16).to_be_bytes());
        packet.extend(name.as_bytes());
        stream.write_all(&packet).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        match answer {
            [0x20, 2, _, 0] => Ok(Sender {
                stream,
                topic: format!("bench/{name}/reading"),
                sent: 0,
                partial: Vec::new(),
            }),
            refused => Err(Error::other(format!(
                "the connection is refused: {refused:?}"
            ))),
        }
    }

    /// Fills its window again with every acknowledgement.
    async fn flood(mut self, end: Instant, acknowledged: Arc<AtomicU64>) -> Result<()> {
        let mut under_way = 0;
        let mut burst = Vec::new();
        loop {
            burst.clear();
            while under_way < WINDOW {
                self.publish_to(&mut burst);
                under_way += 1;
            }
            let round = async {
                self.stream.write_all(&burst).await?;
                self.acknowledgements().await
            };
            let Ok(count) = timeout_at(end, round).await else {
                return Ok(());
            };
            let count = count?;
            under_way = under_way.saturating_sub(count);
            acknowledged.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Publishes one event every so often from `first` on, and waits for the last acknowledgement.
    async fn pace(mut self, first: Instant, every: Duration, end: Instant) -> Result<u64> {
        let (mut due, mut acknowledged) = (first, 0);
        let mut packet = Vec::new();
        loop {
            let is_over = due >= end;
            if is_over && acknowledged >= self.sent {
                return Ok(acknowledged);
            }
            let until = if is_over { end + LAST_WITHIN } else { due };
            tokio::select! {
                biased;
                count = self.acknowledgements() => {
                    acknowledged += count? as u64;
                    continue;
                }
                () = sleep_until(until) => {}
            }
            if is_over {
                return Ok(acknowledged);
            }
            packet.clear();
            self.publish_to(&mut packet);
            self.stream.write_all(&packet).await?;
            due += every;
        }
    }

    /// Appends the next PUBLISH.
    fn publish_to(&mut self, bytes: &mut Vec<u8>) {
        let remaining = 2 + self.topic.len() + 2 + PAYLOAD_BYTES;
        bytes.extend([
            0x32,
            (remaining % 128) as u8 | 0x80,
            (remaining / 128) as u8,
        ]);
        bytes.extend((self.topic.len() as u16).to_be_bytes());
        bytes.extend(self.topic.as_bytes());
        // Ids count from 1 and come round long after the window.
        bytes.extend(((self.sent % 60_000) as u16 + 1).to_be_bytes());
        bytes.extend(payload(self.sent));
        self.sent += 1;
    }

    /// How many acknowledgements came, at least one. Loses nothing where it is dropped.
    async fn acknowledgements(&mut self) -> Result<usize> {
        loop {
            let whole = self.partial.len() / 4 * 4;
            if whole > 0 {
                let mut acks = self.partial[..whole].chunks_exact(4);
                let is_fine = acks.all(|ack| ack.starts_with(&PUBACK));
                self.partial.drain(..whole);
                return match is_fine {
                    true => Ok(whole / 4),
                    false => Err(Error::other("what came was no acknowledgement")),
                };
            }
            if self.stream.read_buf(&mut self.partial).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// JSON of a reading, half of which nobody could compress.
pub(super) fn payload(number: u64) -> Vec<u8> {
    let mut noise = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!(r#"{{"n":{number},"temperature":21.5,"trace":""#);
    while text.len() < PAYLOAD_BYTES {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        text += &format!("{noise:016x}");
    }
    text.truncate(PAYLOAD_BYTES - 2);
    text += "\"}";
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_one_length() {
        for number in [0, 1, 999_999, u64::MAX] {
            let payload = payload(number);
            assert_eq!(payload.len(), PAYLOAD_BYTES);
            let read: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
            assert_eq!(read["n"], number);
        }
    }
}
