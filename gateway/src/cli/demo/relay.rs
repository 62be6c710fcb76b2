//! The line between the two gateways of the demo: a TCP relay that can be cut.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A relay on a loopback port of its own.
pub(super) struct Relay {
    listener: TcpListener,
    to: SocketAddr,
}

/// Cuts and mends the line.
#[derive(Clone)]
pub(super) struct RelaySwitch(watch::Sender<bool>);

impl RelaySwitch {
    /// Breaks every connection and accepts no new one.
    pub(super) fn cut(&self) {
        self.0.send_replace(false);
    }

    /// Lets connections through again.
    pub(super) fn mend(&self) {
        self.0.send_replace(true);
    }

    /// Whether the line is up.
    pub(super) fn is_up(&self) -> bool {
        *self.0.borrow()
    }
}

impl Relay {
    /// A relay towards `to`, with the switch that cuts it.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub(super) async fn bind(to: SocketAddr) -> std::io::Result<(Relay, RelaySwitch)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok((
            Relay { listener, to },
            RelaySwitch(watch::Sender::new(true)),
        ))
    }

    /// Where the relay listens.
    ///
    /// # Errors
    /// When the socket is gone.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Relays until the task is aborted, and its connections with it.
    pub(super) async fn run(self, switch: RelaySwitch) {
        let mut connections = JoinSet::new();
        loop {
            match self.listener.accept().await {
                Ok((near, _)) => {
                    connections.spawn(relay(near, self.to, switch.0.subscribe()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

async fn relay(mut near: TcpStream, to: SocketAddr, mut up: watch::Receiver<bool>) {
    if !*up.borrow() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(to).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}
