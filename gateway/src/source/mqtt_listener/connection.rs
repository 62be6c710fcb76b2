//! One connection: bytes to packets, packets to the session, replies back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::Listener;
use super::packet::{self, Connect, Next, Packet, V5, V311};
use super::registry::Seat;
use super::reply::{self, Terms, reason};
use super::session::{Close, Session};
use crate::event::ack::Ack;
use crate::event::arrival::{Arrival, Identity};
use crate::event::live_feed::{CommittedEvents, LiveEvents, Missed};
use crate::observe::source::{ClientLost, ClientRefused};
use crate::time::clock;
use crate::time::shutdown::stopped;

/// The largest CONNECT, and so the most that is buffered for somebody who is not let in yet.
const CONNECT_BYTES_MAX: usize = 4096;
/// Room for topic and properties beside a payload of `max_payload`.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 32 * 1024;
/// A client that takes no bytes for this long is gone.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// How long a goodbye may take; with TLS it is written too.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long a refused MQTT 3.1.1 client stays connected before it is made to try again.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Live events a subscriber may have unacknowledged.
const OUTGOING_MAX: usize = 100;

/// A connection being served.
pub(super) struct Connection<S> {
    stream: S,
    peer: SocketAddr,
    listener: Arc<Listener>,
    buffer: BytesMut,
    out: BytesMut,
    /// The protocol level its CONNECT claims; 0 before that is known.
    claimed: u8,
    /// The common name in its certificate, where it showed one.
    certified: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        peer: SocketAddr,
        listener: Arc<Listener>,
        certified: Option<String>,
    ) -> Self {
        Connection {
            stream,
            peer,
            listener,
            buffer: BytesMut::new(),
            out: BytesMut::new(),
            claimed: 0,
            certified,
        }
    }

    /// Serves the client to the end of its connection.
    pub(super) async fn serve(mut self, mut shutdown: watch::Receiver<bool>) {
        let timeout = self.listener.shared.limits.connect_timeout;
        let connect = tokio::select! {
            () = stopped(&mut shutdown) => return,
            connect = tokio::time::timeout(timeout, self.first()) => match connect {
                Err(_) => Err(Close::new(
                    reason::MAXIMUM_CONNECT_TIME,
                    "no CONNECT within connect_timeout",
                )),
                Ok(connect) => connect,
            },
        };
        let connect = match connect {
            Ok(connect) => connect,
            Err(close) => {
                // MQTT 3.1.1 has no code for a CONNECT that cannot be read.
                if self.claimed == V5 && close.reason != 0 {
                    reply::connack(&mut self.out, V5, close.reason, None);
                    let _ = self.flush().await;
                }
                return self.tell("", &close);
            }
        };
        let level = connect.level;
        match self.admit(&connect).await {
            Err(close) => {
                reply::connack(&mut self.out, level, close.reason, None);
                let _ = self.flush().await;
                self.tell(connect.client_id.as_str(), &close);
            }
            Ok((mut session, seat)) => {
                self.listener.shared.metrics.connections(1);
                let close = self.session(&mut session, &seat, &connect, shutdown).await;
                self.listener.shared.metrics.connections(-1);
                self.end(&mut session, &close).await;
                drop(seat);
            }
        }
    }

    /// Reads until CONNECT is there; anything else closes the connection.
    async fn first(&mut self) -> Result<Connect, Close> {
        loop {
            self.claimed = packet::claimed_level(&self.buffer).unwrap_or(0);
            match packet::next(&mut self.buffer, V311, CONNECT_BYTES_MAX) {
                Ok(Next::Packet(Packet::Connect(connect))) => return Ok(*connect),
                Ok(Next::Packet(_)) => return Err(no_connect()),
                // Told by its first byte: the rest of another packet is not waited for.
                Ok(Next::Wait) if self.buffer.first().is_some_and(|byte| byte >> 4 != 1) => {
                    return Err(no_connect());
                }
                Ok(Next::TooLarge(bytes)) => {
                    let why = format!(
                        "a first packet of {bytes} bytes, at most {CONNECT_BYTES_MAX} are read"
                    );
                    return Err(Close::new(reason::PACKET_TOO_LARGE, why));
                }
                Err(invalid) => return Err(invalid.into()),
                Ok(Next::Wait) => {}
            }
            self.buffer
                .reserve(CONNECT_BYTES_MAX.saturating_sub(self.buffer.len()).max(64));
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Close::new(0, "")),
                Ok(_) => {}
            }
        }
    }

    /// Checks a CONNECT and takes the client's seat.
    async fn admit(&mut self, connect: &Connect) -> Result<(Session, Seat), Close> {
        if connect.level != V5 && connect.level != V311 {
            let why = format!(
                "protocol level {} is neither MQTT 3.1.1 nor 5",
                connect.level
            );
            return Err(Close::new(reason::UNSUPPORTED_VERSION, why));
        }
        if connect.authentication_method {
            return Err(Close::new(
                reason::BAD_AUTHENTICATION_METHOD,
                "enhanced authentication is not offered",
            ));
        }
        let given = connect.client_id.as_str();
        if given.is_empty() && connect.level == V311 && !connect.clean {
            return Err(Close::new(
                reason::CLIENT_ID_NOT_VALID,
                "an empty client id needs a clean session",
            ));
        }
        let client: Arc<str> = match given {
            "" => format!("auto-{:016x}", fastrand::u64(..)).into(),
            given => given.into(),
        };
        let (user, access) = self
            .listener
            .doorman
            .admit(connect, &client, self.certified.as_deref())
            .await?;
        let seat = self.listener.registry.take(&client, &user)?;
        let outgoing_max = connect
            .receive_max
            .map_or(OUTGOING_MAX, |max| usize::from(max).min(OUTGOING_MAX));
        let mut session = Session::new(
            connect.level,
            client,
            access,
            &self.listener.shared,
            outgoing_max,
        );
        session.will = connect.will.clone();
        if let Some(max) = connect.packet_bytes_max {
            session.packet_bytes_max = max as usize;
        }
        Ok((session, seat))
    }

    async fn session(
        &mut self,
        session: &mut Session,
        seat: &Seat,
        connect: &Connect,
        mut shutdown: watch::Receiver<bool>,
    ) -> Close {
        let idle_max = self.welcome(session, connect);
        let mut live: Option<LiveEvents> = None;
        let mut heard = clock::monotonic();
        loop {
            // First, for a client that is held back goes on with what waits in the buffer.
            session.settle(clock::monotonic(), &mut self.out);
            if let Err(close) = self.packets(session).await {
                return close;
            }
            let written = tokio::select! {
                biased;
                written = self.flush() => written.is_ok(),
                () = stopped(&mut shutdown) => false,
                () = seat.taken_over() => false,
            };
            if !written {
                // Part of a packet may be out: nothing can follow it.
                self.out.clear();
                return Close::new(0, "the client takes no bytes");
            }
            if session.must_reconnect {
                tokio::time::sleep(REFUSED_PAUSE).await;
                return Close::new(
                    reason::QUOTA_EXCEEDED,
                    "events were refused, the client is made to send them again",
                );
            }
            if session.subscriptions.is_empty() {
                live = None;
            } else if live.is_none() {
                live = Some(self.listener.feed.subscribe());
            }
            // The rare ones first: a client that never stops sending holds up neither of them.
            tokio::select! {
                biased;
                () = stopped(&mut shutdown) => return self.drain(session).await,
                () = seat.taken_over() => return Close::new(reason::TAKEN_OVER, "taken over by a new connection of the same client id"),
                () = session.receipts.ready() => {}
                read = read(&mut self.stream, &mut self.buffer), if !session.is_full() => match read {
                    Ok(0) => return Close::new(0, "the connection ended without DISCONNECT"),
                    Err(error) => return Close::new(0, error.to_string()),
                    Ok(_) => heard = clock::monotonic(),
                },
                events = next(&mut live) => self.deliver(session, events),
                () = tokio::time::sleep_until((heard + idle_max).into()), if !session.is_full() => {
                    return Close::new(reason::KEEP_ALIVE_TIMEOUT, "nothing was heard for 1.5 times the keep-alive");
                }
            }
        }
    }

    /// Writes the accepting CONNACK and returns how long the client may be silent.
    fn welcome(&mut self, session: &Session, connect: &Connect) -> Duration {
        let limits = &self.listener.shared.limits;
        let asked = Duration::from_secs(u64::from(connect.keep_alive_s));
        let capped = if asked.is_zero() || asked > limits.keep_alive_max {
            limits.keep_alive_max
        } else {
            asked
        };
        let keep_alive_s = u16::try_from(capped.as_secs()).unwrap_or(u16::MAX);
        let terms = Terms {
            assigned_client_id: connect
                .client_id
                .as_str()
                .is_empty()
                .then_some(&session.client),
            keep_alive_s: (capped != asked).then_some(keep_alive_s),
            receive_max: limits.receive_max,
            packet_bytes_max: (limits.payload_bytes_max + ENVELOPE_BYTES_MAX) as u32,
        };
        reply::connack(&mut self.out, session.level, reason::SUCCESS, Some(&terms));
        let v311_without = session.level == V311 && asked.is_zero();
        if v311_without {
            Duration::from_secs(86_400 * 365)
        } else {
            capped * 3 / 2
        }
    }

    /// Everything that is in the buffer, as one offer to the intake.
    async fn packets(&mut self, session: &mut Session) -> Result<(), Close> {
        let mut arrivals = Vec::new();
        let taken = self.take_packets(session, &mut arrivals);
        if self.listener.inlet.offer(arrivals).await.is_err() {
            return Err(Close::new(
                reason::SERVER_SHUTTING_DOWN,
                "the gateway is shutting down",
            ));
        }
        taken
    }

    fn take_packets(
        &mut self,
        session: &mut Session,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), Close> {
        let bytes_max = self.listener.shared.limits.payload_bytes_max + ENVELOPE_BYTES_MAX;
        let now = clock::monotonic();
        while !session.is_full() {
            match packet::next(&mut self.buffer, session.level, bytes_max) {
                Ok(Next::Wait) => break,
                Ok(Next::Packet(packet)) => {
                    session.take(packet, now, arrivals, &mut self.out)?;
                }
                Ok(Next::TooLarge(bytes)) => {
                    let why =
                        format!("a packet of {bytes} bytes is over max_payload and its envelope");
                    return Err(Close::new(reason::PACKET_TOO_LARGE, why));
                }
                Err(invalid) => return Err(invalid.into()),
            }
        }
        Ok(())
    }

    fn deliver(&mut self, session: &mut Session, events: Result<CommittedEvents, Missed>) {
        match events {
            Ok(events) => {
                for event in events.iter() {
                    session.live(event, &mut self.out);
                }
            }
            Err(Missed(groups)) => self.listener.shared.metrics.missed(groups),
        }
    }

    /// At shutdown, what is under way is still acknowledged once it is durable.
    async fn drain(&mut self, session: &mut Session) -> Close {
        let deadline = tokio::time::sleep(Duration::from_secs(2));
        tokio::pin!(deadline);
        while session.under_way > 0 {
            tokio::select! {
                () = &mut deadline => break,
                () = session.receipts.ready() => session.settle(clock::monotonic(), &mut self.out),
            }
        }
        Close::new(reason::SERVER_SHUTTING_DOWN, "")
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = tokio::time::timeout(WRITE_MAX, self.stream.write_all(&self.out)).await;
        self.out.clear();
        written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// Goodbye, the log line, and the will of a client that sent none.
    async fn end(&mut self, session: &mut Session, close: &Close) {
        if close.reason != reason::SUCCESS {
            reply::disconnect(&mut self.out, session.level, close.reason);
        }
        let _ = tokio::time::timeout(GOODBYE_MAX, async {
            self.flush().await?;
            self.stream.shutdown().await
        })
        .await;
        self.tell(&session.client, close);
        let Some(event) = session.last_words() else {
            return;
        };
        self.listener.observe.emit(&ClientLost {
            source: &self.listener.name,
            client: &session.client,
            topic: &event.topic,
        });
        let arrival = Arrival {
            event,
            ack: Ack::none(),
            identity: Identity::None,
        };
        // An intake that is gone takes no will: nobody was promised it.
        let _ = self.listener.inlet.offer(vec![arrival]).await;
    }

    fn tell(&self, client: &str, close: &Close) {
        if close.why.is_empty() || close.reason == 0 {
            tracing::debug!(source = %self.listener.name, client, "connection ended: {}", close.why);
            return;
        }
        self.listener
            .shared
            .metrics
            .malformed(super::words(close.reason));
        self.listener.observe.emit(&ClientRefused {
            source: &self.listener.name,
            peer: &self.peer.to_string(),
            client,
            why: &close.why,
        });
    }
}

fn no_connect() -> Close {
    Close::new(reason::PROTOCOL_ERROR, "the first packet is not CONNECT")
}

/// Reads more; the buffer grows by what was received, not by what a header claims.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    if buffer.capacity() - buffer.len() < READ_BYTES / 4 {
        buffer.reserve(READ_BYTES);
    }
    stream.read_buf(buffer).await
}

/// The next live events; never, without a subscription.
async fn next(live: &mut Option<LiveEvents>) -> Result<CommittedEvents, Missed> {
    match live {
        Some(live) => live.next().await,
        None => std::future::pending().await,
    }
}
