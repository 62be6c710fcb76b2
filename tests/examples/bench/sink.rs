//! The far end behind a broker: a subscriber that ticks off every event once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clients;
use crate::ticks::{self, Ticks};

/// A subscriber to `bench/#`, QoS 0.
pub(crate) struct Sink {
    stream: TcpStream,
    buffer: Vec<u8>,
    ticks: Ticks,
}

impl Sink {
    /// Subscribes, to see what `ticks` are for.
    ///
    /// # Errors
    /// When the broker is not there.
    pub(crate) async fn subscribe(to: SocketAddr, ticks: Ticks) -> std::io::Result<Sink> {
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
            ticks,
        })
    }

    /// Reads until `events` distinct ones arrived or nothing came for `quiet`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn drain(mut self, events: u64, quiet: Duration) -> std::io::Result<Ticks> {
        while self.ticks.arrived < events {
            let read = self.stream.read_buf(&mut self.buffer);
            let Ok(count) = tokio::time::timeout(quiet, read).await else {
                break;
            };
            if count? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.take();
        }
        Ok(self.ticks)
    }

    /// Takes every whole packet.
    fn take(&mut self) {
        let buffer = &self.buffer;
        let mut at = 0;
        let payloads = std::iter::from_fn(|| {
            let first = *buffer.get(at)?;
            let (body, next) = ticks::packet(buffer, at)?;
            at = next;
            let is_publish = first & 0xf0 == 0x30;
            let body = buffer.get(body..next).filter(|_| is_publish);
            Some(
                body.and_then(ticks::topic)
                    .map_or(&[][..], |(_, payload)| payload),
            )
        });
        self.ticks.take(payloads);
        self.buffer.drain(..at);
    }
}
