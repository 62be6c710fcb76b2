//! One connection: bytes to packets, packets to the session, replies back.

mod ending;
mod input;
mod opening;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::ListenerContext;
use super::client_ids::ClientIdLease;
use super::codec::encode;
use super::codec::packet::V5;
use super::codec::reason;
use super::disconnect::Disconnect;
use super::held_back::Lookahead;
use super::keep_alive::KeepAlive;
use super::oversized::OversizedPublish;
use super::session::ClientSession;
use super::subscriber::Subscriber;
use crate::source::listener::buffers::BufferShare;
use crate::time::clock;
use crate::time::shutdown::stopped;
use input::read_more;

/// Room for topic and properties beside a payload of `max_payload`.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// A client that takes no bytes for this long is gone.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// How long a refused MQTT 3 client stays connected before it is made to try again.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection waits for the end of the one whose client id it takes over.
const PREDECESSOR_MAX: Duration = Duration::from_secs(5);
/// Events a subscriber may have unacknowledged.
const OUTGOING_INFLIGHT_MAX: usize = 100;
/// Longer than any connection lasts.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// A connection being served.
pub(super) struct ClientConnection<S> {
    stream: S,
    peer: SocketAddr,
    listener: Arc<ListenerContext>,
    buffer: BytesMut,
    out: BytesMut,
    share: BufferShare,
    /// A publish that is too large, while it comes in.
    oversized: Option<OversizedPublish>,
    /// What was seen of packets that wait.
    ahead: Lookahead,
    /// When bytes came last.
    heard_at: Instant,
    /// How the connection ended, which is acted on once everything before it was taken.
    ended: Option<Disconnect>,
    /// Whether part of a packet may be out, so that nothing can follow it.
    is_broken: bool,
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
            share: BufferShare::default(),
            oversized: None,
            ahead: Lookahead::default(),
            heard_at: clock::monotonic(),
            ended: None,
            is_broken: false,
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
                // MQTT 3 has no code for a CONNECT that cannot be read.
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
                let keep_alive = self.send_connack(&session, &connect);
                // A login is not kept in memory.
                drop(connect);
                let metrics = self.listener.session_context.metrics.clone();
                metrics.connections(1);
                let disconnect = self
                    .run_session(&mut session, &lease, keep_alive, shutdown.clone())
                    .await;
                metrics.connections(-1);
                self.close(&mut session, &disconnect, lease, &shutdown)
                    .await;
                if level == V5 && disconnect.reason != reason::SUCCESS {
                    self.linger(&mut shutdown).await;
                }
            }
        }
    }

    async fn run_session(
        &mut self,
        session: &mut ClientSession,
        lease: &ClientIdLease,
        keep_alive: KeepAlive,
        mut shutdown: watch::Receiver<bool>,
    ) -> Disconnect {
        let silence_max = keep_alive.silence_max.unwrap_or(FOR_EVER);
        let mut subscriber = Subscriber::default();
        self.heard_at = clock::monotonic();
        loop {
            // First, for a client that is held back goes on with what waits in the buffer.
            let now = clock::monotonic();
            session.settle(now, &mut self.out);
            let more = match self.offer_packets(session, &mut subscriber, now).await {
                Ok(more) => more,
                Err(disconnect) => return disconnect,
            };
            let held_back = session.is_throttled();
            if held_back {
                self.answer_pings();
            } else if !more && let Some(ended) = self.ended.take() {
                return ended;
            }
            let more = subscriber.deliver(session, &mut self.out) || more;
            let written = tokio::select! {
                biased;
                written = self.flush() => written.is_ok(),
                () = stopped(&mut shutdown) => false,
                () = lease.taken_over() => false,
            };
            if !written {
                self.break_off();
                return Disconnect::new(0, "the client takes no bytes");
            }
            if session.must_reconnect {
                tokio::time::sleep(REFUSED_PAUSE).await;
                let why = format!(
                    "{}; the client is made to send what was refused again",
                    session.metrics.why_refused()
                );
                return Disconnect::new(reason::QUOTA_EXCEEDED, why);
            }
            let listens = self.listens(held_back);
            if !listens {
                // Its silence is the gateway's doing.
                self.heard_at = now;
            }
            // The rare ones first: a client that never stops sending holds up neither of them.
            tokio::select! {
                biased;
                () = stopped(&mut shutdown) => {
                    self.drain(session).await;
                    return Disconnect::new(reason::SERVER_SHUTTING_DOWN, "");
                }
                () = lease.taken_over() => return Disconnect::new(reason::TAKEN_OVER, "taken over by a new connection of the same client id"),
                () = session.receipts.ready() => {}
                read = read_more(&mut self.stream, &mut self.buffer, &mut self.share, 0), if listens => {
                    self.heard(read);
                }
                read = subscriber.read(), if !more => if let Err(lags) = read {
                    return session.disconnect_lagging(&lags);
                },
                () = std::future::ready(()), if more => {}
                () = tokio::time::sleep_until((self.heard_at + silence_max).into()), if listens => {
                    return Disconnect::new(reason::KEEP_ALIVE_TIMEOUT, "nothing was heard for 1.5 times the keep-alive");
                }
            }
        }
    }

    /// Writes what is to go out. Dropping the future loses nothing.
    async fn flush(&mut self) -> std::io::Result<()> {
        if self.is_broken {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let (stream, out) = (&mut self.stream, &mut self.out);
        let write = async {
            while !out.is_empty() {
                if stream.write_buf(out).await? == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
            }
            Ok(())
        };
        let written = tokio::time::timeout(WRITE_MAX, write).await;
        let written = written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        if written.is_err() {
            self.break_off();
        }
        written
    }

    /// Part of a packet may be out: nothing can follow it.
    fn break_off(&mut self) {
        self.out.clear();
        self.is_broken = true;
    }
}
