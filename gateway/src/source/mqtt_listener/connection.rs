//! One connection: bytes to packets, packets to the session, replies back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::ListenerContext;
use super::client_ids::ClientIdLease;
use super::codec::decode::{self, Decoded};
use super::codec::encode::{self, ConnackProperties};
use super::codec::packet::{ConnectPacket, Packet, V5, V311};
use super::codec::reason;
use super::disconnect::Disconnect;
use super::oversized::OversizedPublish;
use super::session::ClientSession;
use super::subscriber::Subscriber;
use crate::event::arrival::Arrival;
use crate::observe::source::{ClientLost, ClientRefused};
use crate::time::clock;
use crate::time::shutdown::stopped;

/// The largest CONNECT, and so the most that is buffered for somebody who is not let in yet.
const CONNECT_BYTES_MAX: usize = 4096;
/// Room for topic and properties beside a payload of `max_payload`.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 32 * 1024;
/// What a publish may take, for a guess at how many were read.
const PUBLISH_BYTES: usize = 128;
/// A client that takes no bytes for this long is gone.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// How long a goodbye may take; with TLS it is written too.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long, and how many bytes, a client that was told why its connection ends is still heard.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;
/// How long a refused MQTT 3.1.1 client stays connected before it is made to try again.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How long events under way may take at shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Events a subscriber may have unacknowledged.
const OUTGOING_INFLIGHT_MAX: usize = 100;

/// A connection being served.
pub(super) struct ClientConnection<S> {
    stream: S,
    peer: SocketAddr,
    listener: Arc<ListenerContext>,
    buffer: BytesMut,
    out: BytesMut,
    /// A publish that is too large, while it comes in.
    oversized: Option<OversizedPublish>,
    /// The protocol level its CONNECT claims; 0 before that is known.
    claimed_level: u8,
    /// The common name in its certificate, where it showed one.
    certificate_name: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    pub(super) fn new(
        stream: S,
        peer: SocketAddr,
        listener: Arc<ListenerContext>,
        certificate_name: Option<String>,
    ) -> Self {
        ClientConnection {
            stream,
            peer,
            listener,
            buffer: BytesMut::new(),
            out: BytesMut::new(),
            oversized: None,
            claimed_level: 0,
            certificate_name,
        }
    }

    /// Serves the client to the end of its connection.
    pub(super) async fn serve(mut self, mut shutdown: watch::Receiver<bool>) {
        let timeout = self.listener.session_context.limits.connect_timeout;
        let connect = tokio::select! {
            () = stopped(&mut shutdown) => return,
            connect = tokio::time::timeout(timeout, self.read_connect()) => match connect {
                Err(_) => Err(Disconnect::new(
                    reason::MAXIMUM_CONNECT_TIME,
                    "no CONNECT within connect_timeout",
                )),
                Ok(connect) => connect,
            },
        };
        let connect = match connect {
            Ok(connect) => connect,
            Err(disconnect) => {
                // MQTT 3.1.1 has no code for a CONNECT that cannot be read.
                self.report("", &disconnect);
                if self.claimed_level == V5 && disconnect.reason != 0 {
                    encode::connack(&mut self.out, V5, disconnect.reason, None);
                    let _ = self.flush().await;
                    self.linger(&mut shutdown).await;
                }
                return;
            }
        };
        let level = connect.level;
        match self.open_session(&connect).await {
            Err(disconnect) => {
                encode::connack(&mut self.out, level, disconnect.reason, None);
                let _ = self.flush().await;
                self.not_let_in(&connect, &disconnect);
                self.linger(&mut shutdown).await;
            }
            Ok((mut session, lease)) => {
                self.listener.session_context.metrics.connections(1);
                let disconnect = self
                    .run_session(&mut session, &lease, &connect, shutdown.clone())
                    .await;
                self.listener.session_context.metrics.connections(-1);
                self.close(&mut session, &disconnect).await;
                drop(lease);
                if level == V5 && disconnect.reason != reason::SUCCESS {
                    self.linger(&mut shutdown).await;
                }
            }
        }
    }

    /// Reads on for a moment and forgets what it reads. A socket that is closed on unread bytes is
    /// reset, and a reset may take away what the client has not read yet: the reason.
    async fn linger(&mut self, shutdown: &mut watch::Receiver<bool>) {
        let rest = async {
            self.stream.shutdown().await?;
            let mut bytes = 0;
            while bytes < LINGER_BYTES_MAX {
                self.buffer.clear();
                match read_more(&mut self.stream, &mut self.buffer).await? {
                    0 => break,
                    count => bytes += count,
                }
            }
            Ok::<(), std::io::Error>(())
        };
        tokio::select! {
            () = stopped(shutdown) => {}
            _ = tokio::time::timeout(LINGER_MAX, rest) => {}
        }
    }

    /// Reads until CONNECT is there; anything else closes the connection.
    async fn read_connect(&mut self) -> Result<ConnectPacket, Disconnect> {
        loop {
            self.claimed_level = decode::claimed_level(&self.buffer).unwrap_or(0);
            match decode::next_packet(&mut self.buffer, V311, CONNECT_BYTES_MAX) {
                Ok(Decoded::Packet(Packet::Connect(connect))) => return Ok(*connect),
                Ok(Decoded::Packet(_)) => return Err(no_connect()),
                // Told by its first byte: the rest of another packet is not waited for.
                Ok(Decoded::Incomplete)
                    if self.buffer.first().is_some_and(|byte| byte >> 4 != 1) =>
                {
                    return Err(no_connect());
                }
                Ok(Decoded::TooLarge(bytes)) => {
                    let why = format!(
                        "a first packet of {bytes} bytes, at most {CONNECT_BYTES_MAX} are read"
                    );
                    return Err(Disconnect::new(reason::PACKET_TOO_LARGE, why));
                }
                Err(invalid) => return Err(invalid.into()),
                Ok(Decoded::Incomplete) => {}
            }
            self.buffer
                .reserve(CONNECT_BYTES_MAX.saturating_sub(self.buffer.len()).max(64));
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Disconnect::new(0, "")),
                Ok(_) => {}
            }
        }
    }

    /// Checks a CONNECT and leases the client id.
    async fn open_session(
        &mut self,
        connect: &ConnectPacket,
    ) -> Result<(ClientSession, ClientIdLease), Disconnect> {
        if connect.level != V5 && connect.level != V311 {
            let why = format!(
                "protocol level {} is neither MQTT 3.1.1 nor 5",
                connect.level
            );
            return Err(Disconnect::new(reason::UNSUPPORTED_VERSION, why));
        }
        if connect.authentication_method {
            return Err(Disconnect::new(
                reason::BAD_AUTHENTICATION_METHOD,
                "enhanced authentication is not offered",
            ));
        }
        let given = connect.client_id.as_str();
        if given.is_empty() && connect.level == V311 && !connect.clean {
            return Err(Disconnect::new(
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
            .authenticator
            .authenticate(connect, &client, self.certificate_name.as_deref())
            .await?;
        let lease = self.listener.client_ids.lease(&client, &user)?;
        let outgoing_inflight_max = connect.receive_max.map_or(OUTGOING_INFLIGHT_MAX, |max| {
            usize::from(max).min(OUTGOING_INFLIGHT_MAX)
        });
        let mut session = ClientSession::new(
            connect.level,
            client,
            access,
            &self.listener.session_context,
            outgoing_inflight_max,
        );
        session.will = connect.will.clone();
        if let Some(max) = connect.packet_bytes_max {
            session.packet_bytes_max = max as usize;
        }
        Ok((session, lease))
    }

    async fn run_session(
        &mut self,
        session: &mut ClientSession,
        lease: &ClientIdLease,
        connect: &ConnectPacket,
        mut shutdown: watch::Receiver<bool>,
    ) -> Disconnect {
        let idle_max = self.send_connack(session, connect);
        let mut subscriber = Subscriber::default();
        let mut received_at = clock::monotonic();
        loop {
            // First, for a client that is held back goes on with what waits in the buffer.
            let now = clock::monotonic();
            session.settle(now, &mut self.out);
            if let Err(disconnect) = self.offer_packets(session, &mut subscriber, now).await {
                return disconnect;
            }
            let more = subscriber.deliver(session, &mut self.out);
            let written = tokio::select! {
                biased;
                written = self.flush() => written.is_ok(),
                () = stopped(&mut shutdown) => false,
                () = lease.taken_over() => false,
            };
            if !written {
                // Part of a packet may be out: nothing can follow it.
                self.out.clear();
                return Disconnect::new(0, "the client takes no bytes");
            }
            if session.must_reconnect {
                tokio::time::sleep(REFUSED_PAUSE).await;
                return Disconnect::new(
                    reason::QUOTA_EXCEEDED,
                    "events were refused, the client is made to send them again",
                );
            }
            // The rare ones first: a client that never stops sending holds up neither of them.
            tokio::select! {
                biased;
                () = stopped(&mut shutdown) => return self.drain(session).await,
                () = lease.taken_over() => return Disconnect::new(reason::TAKEN_OVER, "taken over by a new connection of the same client id"),
                () = session.receipts.ready() => {}
                read = read_more(&mut self.stream, &mut self.buffer), if !session.is_throttled() => match read {
                    Ok(0) => return Disconnect::new(0, "the connection ended without DISCONNECT"),
                    Err(error) => return Disconnect::new(0, error.to_string()),
                    Ok(_) => received_at = clock::monotonic(),
                },
                read = subscriber.read(), if !more => if let Err(lags) = read {
                    return session.disconnect_lagging(&lags);
                },
                () = std::future::ready(()), if more => {}
                () = tokio::time::sleep_until((received_at + idle_max).into()), if !session.is_throttled() => {
                    return Disconnect::new(reason::KEEP_ALIVE_TIMEOUT, "nothing was heard for 1.5 times the keep-alive");
                }
            }
        }
    }

    /// Writes the accepting CONNACK and returns how long the client may be silent.
    fn send_connack(&mut self, session: &ClientSession, connect: &ConnectPacket) -> Duration {
        let limits = &self.listener.session_context.limits;
        let asked = Duration::from_secs(u64::from(connect.keep_alive_s));
        let capped = if asked.is_zero() || asked > limits.keep_alive_max {
            limits.keep_alive_max
        } else {
            asked
        };
        let keep_alive_s = u16::try_from(capped.as_secs()).unwrap_or(u16::MAX);
        let properties = ConnackProperties {
            assigned_client_id: connect
                .client_id
                .as_str()
                .is_empty()
                .then_some(&session.client),
            keep_alive_s: (capped != asked).then_some(keep_alive_s),
            receive_max: limits.receive_max,
            packet_bytes_max: (limits.payload_bytes_max + ENVELOPE_BYTES_MAX) as u32,
        };
        encode::connack(
            &mut self.out,
            session.level,
            reason::SUCCESS,
            Some(&properties),
        );
        let v311_without = session.level == V311 && asked.is_zero();
        if v311_without {
            Duration::from_secs(86_400 * 365)
        } else {
            capped * 3 / 2
        }
    }

    /// Everything that is in the buffer, as one offer to the intake. The log is followed before
    /// the SUBACK leaves and before what was published behind the SUBSCRIBE is offered.
    async fn offer_packets(
        &mut self,
        session: &mut ClientSession,
        subscriber: &mut Subscriber,
        now: Instant,
    ) -> Result<(), Disconnect> {
        let mut arrivals = Vec::with_capacity(self.buffer.len() / PUBLISH_BYTES);
        let taken = self.decode_packets(session, now, &mut arrivals);
        subscriber.follow(!session.subscriptions.is_empty(), &session.log);
        if self.listener.inlet.offer(arrivals).await.is_err() {
            return Err(Disconnect::new(
                reason::SERVER_SHUTTING_DOWN,
                "the gateway is shutting down",
            ));
        }
        taken
    }

    fn decode_packets(
        &mut self,
        session: &mut ClientSession,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), Disconnect> {
        let bytes_max = self.listener.session_context.limits.payload_bytes_max + ENVELOPE_BYTES_MAX;
        while !session.is_throttled() {
            if let Some(mut oversized) = self.oversized.take() {
                if !oversized.read(&mut self.buffer) {
                    self.oversized = Some(oversized);
                    break;
                }
                let (publish, payload) = oversized.into_parts();
                session.oversized(publish, payload, now, arrivals, &mut self.out)?;
            }
            match decode::next_packet(&mut self.buffer, session.level, bytes_max) {
                Ok(Decoded::Incomplete) => break,
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

    /// At shutdown, what is under way is still acknowledged once it is durable.
    async fn drain(&mut self, session: &mut ClientSession) -> Disconnect {
        let deadline = tokio::time::sleep(DRAIN_MAX);
        tokio::pin!(deadline);
        while session.inflight > 0 {
            tokio::select! {
                () = &mut deadline => break,
                () = session.receipts.ready() => session.settle(clock::monotonic(), &mut self.out),
            }
        }
        Disconnect::new(reason::SERVER_SHUTTING_DOWN, "")
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
    async fn close(&mut self, session: &mut ClientSession, disconnect: &Disconnect) {
        if disconnect.reason != reason::SUCCESS {
            session.write_disconnect(disconnect, &mut self.out);
        }
        let _ = tokio::time::timeout(GOODBYE_MAX, async {
            self.flush().await?;
            self.stream.shutdown().await
        })
        .await;
        self.report(&session.client, disconnect);
        let Some(arrival) = session.take_will() else {
            return;
        };
        self.listener.observe.emit(&ClientLost {
            source: &self.listener.name,
            client: &session.client,
            topic: &arrival.event.topic,
        });
        // An intake that is gone takes no will: nobody was promised it.
        let _ = self.listener.inlet.offer(vec![arrival]).await;
    }

    fn not_let_in(&self, connect: &ConnectPacket, disconnect: &Disconnect) {
        if !matches!(
            disconnect.reason,
            reason::BAD_LOGIN | reason::NOT_AUTHORIZED
        ) {
            return self.report(connect.client_id.as_str(), disconnect);
        }
        let ListenerContext {
            observe,
            authenticator,
            session_context,
            ..
        } = &*self.listener;
        let metrics = &session_context.metrics;
        metrics.malformed(reason::label(disconnect.reason));
        let user = authenticator.known_user(connect, self.certificate_name.as_deref());
        metrics.login_failed(observe, self.peer.ip(), user, &disconnect.why);
    }

    fn report(&self, client: &str, disconnect: &Disconnect) {
        if disconnect.why.is_empty() || disconnect.reason == 0 {
            tracing::debug!(source = %self.listener.name, client, "connection ended: {}", disconnect.why);
            return;
        }
        self.listener
            .session_context
            .metrics
            .malformed(reason::label(disconnect.reason));
        self.listener.observe.emit(&ClientRefused {
            source: &self.listener.name,
            peer: &self.peer.ip().to_string(),
            client,
            why: &disconnect.why,
        });
    }
}

fn no_connect() -> Disconnect {
    Disconnect::new(reason::PROTOCOL_ERROR, "the first packet is not CONNECT")
}

/// Reads more; the buffer grows by what was received, not by what a header claims.
async fn read_more<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    if buffer.capacity() - buffer.len() < READ_BYTES / 4 {
        buffer.reserve(READ_BYTES);
    }
    stream.read_buf(buffer).await
}
