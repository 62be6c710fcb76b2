//! What a client sends: bytes to packets, packets to the session, events to the intake.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{ClientConnection, ENVELOPE_BYTES_MAX};
use crate::event::arrival::Arrival;
use crate::event::inlet::Closed;
use crate::source::listener::buffers::BufferShare;
use crate::source::mqtt_listener::codec::decode::{self, Decoded};
use crate::source::mqtt_listener::codec::packet::Packet;
use crate::source::mqtt_listener::codec::reason;
use crate::source::mqtt_listener::disconnect::Disconnect;
use crate::source::mqtt_listener::oversized::OversizedPublish;
use crate::source::mqtt_listener::session::ClientSession;
use crate::source::mqtt_listener::subscriber::Subscriber;
use crate::time::clock;

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 32 * 1024;
/// What a publish may take, for a guess at how many were read.
const PUBLISH_BYTES: usize = 128;

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    fn packet_bytes_max(&self) -> usize {
        self.listener.session_context.limits.payload_bytes_max + ENVELOPE_BYTES_MAX
    }

    /// Whether more is read: of a client that is held back no more than one packet may have.
    pub(super) fn listens(&self, held_back: bool) -> bool {
        self.ended.is_none() && (!held_back || self.buffer.len() < self.packet_bytes_max())
    }

    /// Notes what a read brought; whether that are bytes. The end of the connection comes to its turn behind what was
    /// sent before it, a DISCONNECT perhaps.
    pub(super) fn heard(&mut self, read: std::io::Result<usize>) -> bool {
        let why = match read {
            Ok(0) => "the connection ended without DISCONNECT".to_owned(),
            Err(error) => error.to_string(),
            Ok(_) => {
                self.heard_at = clock::monotonic();
                return true;
            }
        };
        self.ended = Some(Disconnect::new(0, why));
        false
    }

    /// Answers the PINGREQs behind what waits.
    pub(super) fn answer_pings(&mut self) {
        // Within a publish that is too large the buffer does not begin with a packet.
        if self.oversized.is_none() {
            self.ahead.answer_pings(&self.buffer, &mut self.out);
        }
    }

    /// Everything that is in the buffer, as one offer to the intake. The log is followed before
    /// the SUBACK leaves and before what was published behind the SUBSCRIBE is offered. Whether more was read meanwhile.
    pub(super) async fn offer_packets(
        &mut self,
        session: &mut ClientSession,
        subscriber: &mut Subscriber,
        now: Instant,
    ) -> Result<bool, Disconnect> {
        let mut arrivals = Vec::with_capacity(self.buffer.len() / PUBLISH_BYTES);
        let before = self.buffer.len();
        let taken = self.decode_packets(session, now, &mut arrivals);
        self.ahead.taken(before - self.buffer.len());
        subscriber.follow(!session.subscriptions.is_empty(), &session.log);
        let heard = self.offer(session, arrivals).await?;
        if taken
            .as_ref()
            .is_err_and(|end| end.reason != reason::SUCCESS)
        {
            self.drain(session).await;
        }
        taken.map(|()| heard)
    }

    /// Hands arrivals on. While the intake is busy the client is still heard: it gets its PINGRESPs, and the
    /// acknowledgements that are due. Whether more was read meanwhile.
    async fn offer(
        &mut self,
        session: &mut ClientSession,
        arrivals: Vec<Arrival>,
    ) -> Result<bool, Disconnect> {
        if arrivals.is_empty() {
            return Ok(false);
        }
        let offered_bytes = arrivals.iter().map(|arrival| arrival.event.data.len());
        let offered_bytes = offered_bytes.sum();
        let listener = Arc::clone(&self.listener);
        let mut offered = std::pin::pin!(listener.inlet.offer(arrivals));
        let mut heard = false;
        loop {
            let listens = self.listens(true);
            tokio::select! {
                biased;
                offered = &mut offered => return told(offered, heard),
                () = session.receipts.ready() => session.settle(clock::monotonic(), &mut self.out),
                read = read_more(&mut self.stream, &mut self.buffer, &mut self.share, offered_bytes), if listens => {
                    heard |= self.heard(read);
                }
            }
            self.answer_pings();
            // A client that takes no bytes holds up no place in the intake.
            tokio::select! {
                biased;
                offered = &mut offered => return told(offered, heard),
                // An error comes again where the session writes next.
                _ = self.flush() => {}
            }
        }
    }

    fn decode_packets(
        &mut self,
        session: &mut ClientSession,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), Disconnect> {
        let bytes_max = self.packet_bytes_max();
        while !session.is_throttled() {
            if let Some(mut oversized) = self.oversized.take() {
                if !oversized.read(&mut self.buffer) {
                    self.oversized = Some(oversized);
                    break;
                }
                let (publish, payload) = oversized.into_parts();
                session.oversized(publish, payload, now, arrivals, &mut self.out)?;
                continue;
            }
            match decode::next_packet(&mut self.buffer, session.level, bytes_max) {
                Ok(Decoded::Incomplete) => break,
                Ok(Decoded::Packet(Packet::PingReq)) if self.ahead.was_answered() => {}
                Ok(Decoded::Packet(packet)) => {
                    session.receive(packet, now, arrivals, &mut self.out)?;
                }
                Ok(Decoded::TooLarge(_)) if self.buffer.first().is_some_and(|b| b >> 4 == 3) => {
                    self.oversized = OversizedPublish::begin(&mut self.buffer, session.level)?;
                    if self.oversized.is_none() {
                        break;
                    }
                }
                Ok(Decoded::TooLarge(bytes)) => {
                    let why =
                        format!("a packet of {bytes} bytes is over max_payload and its envelope");
                    return Err(Disconnect::new(reason::PACKET_TOO_LARGE, why));
                }
                Err(invalid) => return Err(invalid.into()),
            }
        }
        Ok(())
    }
}

/// The end of an offer.
fn told(offered: Result<(), Closed>, heard: bool) -> Result<bool, Disconnect> {
    offered.map(|()| heard).map_err(|Closed| {
        let why = "the gateway is shutting down";
        Disconnect::new(reason::SERVER_SHUTTING_DOWN, why)
    })
}

/// Reads more; the buffer grows by what was received, not by what a header claims. `offered_bytes` were taken from it and wait
/// for the intake.
pub(super) async fn read_more<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    share: &mut BufferShare,
    offered_bytes: usize,
) -> std::io::Result<usize> {
    if buffer.is_empty() && share.is_large() {
        // What a large packet took is not kept for the next one.
        *buffer = BytesMut::new();
    }
    share
        .hold(offered_bytes + buffer.len() + READ_BYTES)
        .await?;
    if buffer.capacity() - buffer.len() < READ_BYTES / 4 {
        buffer.reserve(READ_BYTES);
    }
    stream.read_buf(buffer).await
}
