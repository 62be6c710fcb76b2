//! The load: clients on raw sockets, each with a window of publishes, as cheap as can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Publishes a client has under way at once.
pub(crate) const WINDOW: usize = 100;
/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 200;
/// Numbers are written with an offset, so that they have a fixed width and are still JSON.
pub(crate) const CLIENT_BASE: u64 = 1_000;
/// See [`CLIENT_BASE`].
pub(crate) const NUMBER_BASE: u64 = 10_000_000;

/// What the clients measured.
pub(crate) struct Load {
    /// From the first publish to the last acknowledgement.
    pub took: Duration,
    /// Ack latencies, sorted.
    pub latencies: Vec<Duration>,
}

impl Load {
    /// The latency that `percent` of the acks stay below.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = self.latencies.len().saturating_sub(1) * percent / 100;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Publishes `events`, shared among `clients`, and waits for every acknowledgement.
///
/// # Errors
/// When a connection breaks.
pub(crate) async fn publish(to: SocketAddr, clients: u64, events: u64) -> std::io::Result<Load> {
    let mut streams = Vec::new();
    for client in 0..clients {
        streams.push((client, connect(to, &format!("bench-{client}")).await?));
    }
    let acked = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, stream) in streams {
        let count = events / clients;
        tasks.spawn(one(stream, client, count, Arc::clone(&acked)));
    }
    let mut latencies = Vec::with_capacity(events as usize);
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended.map_err(std::io::Error::other)??);
    }
    let took = began.elapsed();
    latencies.sort_unstable();
    Ok(Load { took, latencies })
}

/// Connects with MQTT 3.1.1 and a clean session.
///
/// # Errors
/// When the peer is not there or refuses.
pub(crate) async fn connect(to: SocketAddr, client: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut packet = vec![0x10, 12 + client.len() as u8];
    packet.extend([0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60]);
    packet.extend((client.len() as u16).to_be_bytes());
    packet.extend(client.as_bytes());
    stream.write_all(&packet).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    match answer {
        [0x20, 2, _, 0] => Ok(stream),
        refused => Err(std::io::Error::other(format!("refused: {refused:?}"))),
    }
}

/// One client: fills its window, and again with every acknowledgement.
async fn one(
    mut stream: TcpStream,
    client: u64,
    count: u64,
    acked: Arc<AtomicU64>,
) -> std::io::Result<Vec<Duration>> {
    let mut packet = Packet::new(client);
    let mut sent_at = vec![Instant::now(); 1 << 16];
    let mut latencies = Vec::with_capacity(count as usize);
    let (mut sent, mut done) = (0u64, 0u64);
    let mut acks = Acks::default();
    let mut burst = Vec::new();
    while done < count {
        burst.clear();
        let now = Instant::now();
        while sent < count && sent - done < WINDOW as u64 {
            let id = packet_id(sent);
            sent_at[usize::from(id)] = now;
            burst.extend_from_slice(packet.numbered(id, sent));
            sent += 1;
        }
        stream.write_all(&burst).await?;
        let ids = acks.read(&mut stream).await?;
        let now = Instant::now();
        for id in ids {
            latencies.push(now - sent_at[usize::from(id)]);
        }
        done = latencies.len() as u64;
    }
    acked.fetch_add(done, Ordering::Relaxed);
    stream.write_all(&[0xe0, 0]).await?;
    Ok(latencies)
}

/// Packet ids count from 1 and wrap long after the window.
fn packet_id(number: u64) -> u16 {
    (number % 60_000) as u16 + 1
}

/// A PUBLISH whose numbers are written in place.
struct Packet {
    bytes: Vec<u8>,
    id_at: usize,
    number_at: usize,
}

impl Packet {
    fn new(client: u64) -> Packet {
        let topic = format!("bench/{client}/t");
        let mut payload = format!(
            r#"{{"c":{},"n":{},"temperature":21.5,"pad":""#,
            CLIENT_BASE + client,
            NUMBER_BASE
        );
        payload += &"x".repeat(PAYLOAD_BYTES - 2 - payload.len());
        payload += "\"}";
        let remaining = 2 + topic.len() + 2 + payload.len();
        let mut bytes = vec![
            0x32,
            (remaining % 128) as u8 | 0x80,
            (remaining / 128) as u8,
        ];
        bytes.extend((topic.len() as u16).to_be_bytes());
        bytes.extend(topic.as_bytes());
        let id_at = bytes.len();
        bytes.extend([0, 0]);
        let number_at = bytes.len() + r#"{"c":1000,"n":"#.len();
        bytes.extend(payload.as_bytes());
        Packet {
            bytes,
            id_at,
            number_at,
        }
    }

    fn numbered(&mut self, id: u16, number: u64) -> &[u8] {
        self.bytes[self.id_at..self.id_at + 2].copy_from_slice(&id.to_be_bytes());
        let mut rest = NUMBER_BASE + number;
        for digit in self.bytes[self.number_at..self.number_at + 8]
            .iter_mut()
            .rev()
        {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        // One in a hundred is hot, for the rules that look at it.
        let heat = self.number_at + 8 + r#","temperature":"#.len();
        let hot = number.is_multiple_of(100);
        self.bytes[heat] = if hot { b'9' } else { b'2' };
        &self.bytes
    }
}

/// Reads PUBACKs, four bytes each.
#[derive(Default)]
struct Acks {
    buffer: Vec<u8>,
}

impl Acks {
    /// The ids of at least one acknowledgement.
    async fn read(&mut self, stream: &mut TcpStream) -> std::io::Result<Vec<u16>> {
        let mut ids = Vec::new();
        while ids.is_empty() {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let whole = self.buffer.len() / 4 * 4;
            for ack in self.buffer[..whole].chunks_exact(4) {
                let [0x40, 2, high, low] = *ack else {
                    return Err(std::io::Error::other(format!("not a PUBACK: {ack:?}")));
                };
                ids.push(u16::from_be_bytes([high, low]));
            }
            self.buffer.drain(..whole);
        }
        Ok(ids)
    }
}
