//! The end of a connection: acknowledgements that are due, the goodbye, the log line, the will.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::ClientConnection;
use super::input::read_more;
use crate::event::arrival::Arrival;
use crate::observe::source::{ClientLost, ClientRefused};
use crate::source::mqtt_listener::ListenerContext;
use crate::source::mqtt_listener::client_ids::ClientIdLease;
use crate::source::mqtt_listener::codec::reason;
use crate::source::mqtt_listener::disconnect::Disconnect;
use crate::source::mqtt_listener::session::ClientSession;
use crate::time::clock;
use crate::time::shutdown::stopped;

/// How long a goodbye may take; with TLS it is written too.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long, and how many bytes, a client that was told why its connection ends is still heard.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;
/// How long events under way may take before a goodbye.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Characters of a client id that a log line holds.
const TOLD_CHARS_MAX: usize = 200;

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    /// What is under way is still acknowledged once it is durable: else the client sends it again.
    pub(super) async fn drain(&mut self, session: &mut ClientSession) {
        let deadline = tokio::time::sleep(DRAIN_MAX);
        tokio::pin!(deadline);
        while session.inflight > 0 {
            tokio::select! {
                () = &mut deadline => break,
                () = session.receipts.ready() => session.settle(clock::monotonic(), &mut self.out),
            }
        }
    }

    /// Goodbye, the log line, and the will of a client that sent no goodbye of its own. At an orderly stop there are no
    /// wills: its clients are not lost, and connect again.
    pub(super) async fn close(
        &mut self,
        session: &mut ClientSession,
        disconnect: &Disconnect,
        lease: ClientIdLease,
        shutdown: &watch::Receiver<bool>,
    ) {
        let will = match *shutdown.borrow() {
            true => None,
            false => session.take_will(),
        };
        let listener = std::sync::Arc::clone(&self.listener);
        let bequeath = async {
            if let Some(will) = will {
                publish_will(&listener, &session.client, will).await;
            }
            // Whoever takes the client id over goes on now.
            drop(lease);
        };
        tokio::join!(bequeath, self.say_goodbye(session, disconnect));
        self.report(&session.client, disconnect);
    }

    async fn say_goodbye(&mut self, session: &ClientSession, disconnect: &Disconnect) {
        if disconnect.reason != reason::SUCCESS {
            session.write_disconnect(disconnect, &mut self.out);
        }
        let _ = tokio::time::timeout(GOODBYE_MAX, async {
            let _ = self.flush().await;
            self.stream.shutdown().await
        })
        .await;
    }

    /// Reads on for a moment and forgets what it reads. A socket that is closed on unread bytes is
    /// reset, and a reset may take away what the client has not read yet: the reason.
    pub(super) async fn linger(&mut self, shutdown: &mut watch::Receiver<bool>) {
        let rest = async {
            self.stream.shutdown().await?;
            let mut bytes = 0;
            while bytes < LINGER_BYTES_MAX {
                self.buffer.clear();
                match read_more(&mut self.stream, &mut self.buffer, &mut self.share, 0).await? {
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

    /// Tells why the connection ends, and counts it where the client is at fault.
    pub(super) fn report(&self, client: &str, disconnect: &Disconnect) {
        let client: String = client.chars().take(TOLD_CHARS_MAX).collect();
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
            client: &client,
            why: &disconnect.why,
        });
    }
}

async fn publish_will(listener: &ListenerContext, client: &str, will: Arrival) {
    listener.observe.emit(&ClientLost {
        source: &listener.name,
        client,
        topic: &will.event.topic,
    });
    // An intake that is gone takes no will: nobody was promised it.
    let _ = listener.inlet.offer(vec![will]).await;
}
