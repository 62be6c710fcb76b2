//! The socket of a listener. Where another program has its address, the others go on, and it is tried again.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::value::address::cannot_listen;
use crate::observe::Observe;
use crate::observe::source::{CannotListen, SourceMetrics};
use crate::time::shutdown::stopped;

/// How often an address is tried.
const AGAIN: Duration = Duration::from_secs(2);

/// An address that a source is to listen on.
pub(in crate::source) struct Wanted {
    pub(in crate::source) address: SocketAddr,
    pub(in crate::source) source: String,
    pub(in crate::source) observe: Arc<Observe>,
    pub(in crate::source) metrics: SourceMetrics,
}

/// Listens on `address`.
///
/// # Errors
/// Why that cannot be, and what to do.
pub(in crate::source) async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| cannot_listen(address, &error))
}

impl Wanted {
    /// What `serve` makes of a socket at the address: at once, or as soon as there is one where it `may_wait`.
    ///
    /// # Errors
    /// Why there is no socket, where it may not wait.
    pub(in crate::source) async fn served<S, R, E>(
        self,
        may_wait: bool,
        mut stop: watch::Receiver<bool>,
        serve: S,
    ) -> Result<Pin<Box<dyn Future<Output = Result<(), E>> + Send>>, String>
    where
        S: FnOnce(TcpListener, watch::Receiver<bool>) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
    {
        let socket = match may_wait {
            true => self.attempt().await,
            false => Some(bind(self.address).await?),
        };
        Ok(match socket {
            Some(socket) => Box::pin(serve(socket, stop)),
            None => Box::pin(async move {
                match self.until_bound(&mut stop).await {
                    Some(socket) => serve(socket, stop).await,
                    None => Ok(()),
                }
            }),
        })
    }

    /// One attempt, whose failure is told.
    async fn attempt(&self) -> Option<TcpListener> {
        match bind(self.address).await {
            Ok(socket) => Some(socket),
            Err(why) => {
                let source = &*self.source;
                let told = CannotListen { source, why: &why };
                self.metrics.down(&self.observe, "waiting", &why, &told);
                None
            }
        }
    }

    /// Attempts until one succeeds; `None` on shutdown.
    async fn until_bound(&self, shutdown: &mut watch::Receiver<bool>) -> Option<TcpListener> {
        loop {
            tokio::select! {
                () = stopped(shutdown) => return None,
                () = tokio::time::sleep(AGAIN) => {}
            }
            if let Some(socket) = self.attempt().await {
                return Some(socket);
            }
        }
    }
}
