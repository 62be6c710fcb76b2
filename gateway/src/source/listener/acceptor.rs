//! Takes connections at a listener: as many as are allowed, and no file descriptor that the store or
//! an upstream will need.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::observe::Observe;
use crate::observe::process;
use crate::observe::source::SourceMetrics;
use crate::observe::trouble::slots::Slots;
use crate::time::clock;

/// Pauses after a connection that could not be taken.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// So often a silent client is asked.
const PROBES: u32 = 4;

/// A listening socket and what it may hold open.
pub(in crate::source) struct Acceptor {
    socket: TcpListener,
    slots: Slots,
    keepalive: Duration,
    observe: Arc<Observe>,
    source: String,
}

impl Acceptor {
    pub(in crate::source) fn new(
        socket: TcpListener,
        connections_max: usize,
        keepalive: Duration,
        observe: &Arc<Observe>,
        metrics: &SourceMetrics,
    ) -> Acceptor {
        let subject = metrics.subject();
        Acceptor {
            socket,
            keepalive,
            slots: Slots::new(
                subject.clone(),
                "max_connections",
                connections_max,
                Arc::clone(observe),
            ),
            observe: Arc::clone(observe),
            source: subject,
        }
    }

    pub(in crate::source) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection; while all are in use, new ones wait in the kernel's queue.
    pub(in crate::source) async fn accept(
        &self,
    ) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
        let mut pause = PAUSE_MIN;
        loop {
            let permit = self.slots.take().await;
            match self.socket.accept().await {
                // The lowest number that is free: one among the last says that no other is left.
                Ok((stream, _)) if process::is_reserved(stream.as_raw_fd()) => {
                    process::descriptors_short(&self.observe, clock::monotonic());
                }
                Ok((stream, peer)) => {
                    if let Err(error) = watch_over(&stream, self.keepalive) {
                        let source = &*self.source;
                        tracing::debug!(source, %error, "no TCP keepalive for a connection");
                    }
                    return (stream, peer, permit);
                }
                Err(error) => {
                    let source = &*self.source;
                    tracing::warn!(source, %error, "a connection could not be accepted");
                    if process::is_short_of_descriptors(&error) {
                        process::descriptors_short(&self.observe, clock::monotonic());
                    }
                }
            }
            drop(permit);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Tells of an address that holds as many connections as one may.
    pub(in crate::source) fn tell_of_address(&self, peer: IpAddr, connections_max: usize) {
        let source = &*self.source;
        tracing::warn!(source, %peer, "connection closed: its address holds max_connections_per_ip");
        let what = format!(
            "connections of {peer} are closed at once, for it holds the {connections_max} that \
             max_connections_per_ip allows: see what it does with them, or allow more"
        );
        self.slots.tell_for_a_while("connections_per_ip", &what);
    }
}

/// Has the kernel find out whether a silent client is still there: one that lost its power says no goodbye, and would hold
/// its place for ever where its protocol asks for no sign of life. It is asked after `silence`, and is gone when it has not
/// answered for as long again; so is one that takes no bytes for that long.
fn watch_over(stream: &TcpStream, silence: Duration) -> Result<(), rustix::io::Errno> {
    let interval = (silence / PROBES).max(Duration::from_secs(1));
    sockopt::set_tcp_keepidle(stream, silence)?;
    sockopt::set_tcp_keepintvl(stream, interval)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    let most = u32::try_from((silence * 2).as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, most)?;
    sockopt::set_socket_keepalive(stream, true)
}
