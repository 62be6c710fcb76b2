//! A listener that devices connect to: MQTT 3.1, 3.1.1 and 5, QoS 0, 1 and 2.
//!
//! A PUBACK or PUBREC leaves only after the commit that holds its event. The layers, from the
//! bytes up: [`codec`] reads and writes packets, [`session`] keeps the rules of the protocol
//! without a socket, `connection` joins it to one. Sessions last as long as their connection;
//! subscribers read the log from their SUBSCRIBE on.

mod authenticator;
mod client_ids;
pub mod codec;
pub mod config;
mod connection;
mod disconnect;
mod held_back;
mod keep_alive;
mod oversized;
pub mod session;
mod subscriber;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::listener::BindError;
use super::listener::acceptor::Acceptor;
use super::listener::connection_limit::ConnectionLimit;
use super::listener::socket::{self, Wanted};
use crate::event::committed_log::CommittedLog;
use crate::event::inlet::{Closed, Inlet};
use crate::observe::Observe;
use crate::observe::source::{Listening, SourceMetrics};
use crate::source::credentials::Credentials;
use crate::source::listener::certificate;
use crate::source::open::{OpenSource, Opening, Running};
use crate::time::shutdown::stopped;
use crate::time::task;
use authenticator::Authenticator;
use client_ids::ClientIds;
use connection::ClientConnection;
use session::SessionContext;

/// CONNECTs larger than usual that are read at once.
const LARGE_CONNECTS_MAX: usize = 32;

/// What all connections of a listener share.
pub(crate) struct ListenerContext {
    name: String,
    session_context: SessionContext,
    inlet: Inlet,
    observe: Arc<Observe>,
    client_ids: ClientIds,
    /// Memory for CONNECTs of clients that are not let in yet.
    large_connects: Semaphore,
    authenticator: Authenticator,
}

/// A listener that is bound and waits to be run.
pub struct MqttListenerSource {
    acceptor: Acceptor,
    credentials: watch::Receiver<Credentials>,
    listener: Arc<ListenerContext>,
    per_address: ConnectionLimit,
}

impl OpenSource for config::MqttListener {
    const NOTES: &'static [&'static str] =
        &["retained messages are stored and sent on; new subscribers get none yet"];

    fn connections_max(&self) -> usize {
        self.connections_max
    }

    fn credentials(&self) -> Result<Credentials, String> {
        Credentials::of_listener(self.tls.as_ref(), &self.users)
    }

    async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
        let name = opening.name.to_owned();
        let wanted = Wanted {
            address: self.listen,
            source: name.clone(),
            observe: Arc::clone(&opening.observe),
            metrics: opening.metrics.clone(),
        };
        let (limits, gateway_id) = (self.clone(), opening.gateway_id.to_owned());
        let serve = move |socket, stop| {
            MqttListenerSource::over(
                socket,
                opening.credentials,
                limits,
                &name,
                &gateway_id,
                opening.inlet,
                opening.log,
                opening.observe,
                opening.metrics,
            )
            .run(stop)
        };
        wanted.served(opening.may_wait, opening.stop, serve).await
    }
}

impl MqttListenerSource {
    /// Binds the socket and reads the certificates.
    ///
    /// # Errors
    /// [`BindError`] when the address is in use or a certificate cannot be read.
    pub async fn bind(
        limits: config::MqttListener,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        log: CommittedLog,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> Result<MqttListenerSource, BindError> {
        let failed = |why| BindError(format!("source {name}: {why}"));
        let credentials = limits.credentials().map_err(failed)?.unchanging();
        let socket = socket::bind(limits.listen).await.map_err(failed)?;
        Ok(MqttListenerSource::over(
            socket,
            credentials,
            limits,
            name,
            gateway_id,
            inlet,
            log,
            observe,
            metrics,
        ))
    }

    #[allow(clippy::too_many_arguments, reason = "each is a part of its own")]
    fn over(
        socket: TcpListener,
        credentials: watch::Receiver<Credentials>,
        limits: config::MqttListener,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        log: CommittedLog,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> MqttListenerSource {
        let acceptor = Acceptor::new(
            socket,
            limits.connections_max,
            limits.tcp_keepalive,
            &observe,
            &metrics,
        );
        let per_address = ConnectionLimit::new(limits.connections_per_ip_max);
        let limits = Arc::new(limits);
        let listener = ListenerContext {
            name: name.into(),
            authenticator: Authenticator::new(limits.anonymous, credentials.clone()),
            session_context: SessionContext {
                limits,
                source: format!("{gateway_id}/{name}").into(),
                metrics,
                log,
            },
            inlet,
            observe,
            client_ids: ClientIds::default(),
            large_connects: Semaphore::new(LARGE_CONNECTS_MAX),
        };
        MqttListenerSource {
            acceptor,
            credentials,
            listener: Arc::new(listener),
            per_address,
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.acceptor.local_addr()
    }

    /// Serves until shutdown; every connection is over when it returns.
    ///
    /// # Errors
    /// None today; sources share this shape.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) -> Result<(), Closed> {
        if let Ok(address) = self.local_addr() {
            let ListenerContext { name, observe, .. } = &*self.listener;
            let source = name;
            let metrics = &self.listener.session_context.metrics;
            metrics.up(observe, "listening", &Listening { source, address });
        }
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut shutdown) => break,
                accepted = self.acceptor.accept() => accepted,
                Some(_) = open.join_next() => continue,
            };
            let (stream, peer, permit) = accepted;
            let Some(counted) = self.per_address.admit(peer.ip()) else {
                self.refuse_connection(peer);
                continue;
            };
            let listener = Arc::clone(&self.listener);
            let tls = self.credentials.borrow().acceptor.clone();
            let shutdown = shutdown.clone();
            let connection = async move {
                serve(stream, peer, listener, tls, shutdown).await;
                drop((permit, counted));
            };
            open.spawn(task::named(
                "a connection of an mqtt-listener source",
                connection,
            ));
        }
        while open.join_next().await.is_some() {}
        Ok(())
    }

    /// Counts a connection that is closed unheard.
    fn refuse_connection(&self, peer: SocketAddr) {
        let context = &self.listener.session_context;
        context.metrics.malformed("connections of one address");
        let most = context.limits.connections_per_ip_max;
        self.acceptor.tell_of_address(peer.ip(), most);
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    listener: Arc<ListenerContext>,
    tls: Option<TlsAcceptor>,
    shutdown: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return ClientConnection::new(stream, peer, listener, None)
            .serve(shutdown)
            .await;
    };
    let timeout = listener.session_context.limits.connect_timeout;
    match tokio::time::timeout(timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates();
            let name = chain
                .and_then(|chain| chain.first())
                .and_then(|certificate| certificate::common_name(certificate));
            ClientConnection::new(stream, peer, listener, name)
                .serve(shutdown)
                .await
        }
        Ok(Err(error)) => {
            let metrics = &listener.session_context.metrics;
            metrics.malformed("tls");
            let peer = peer.ip();
            match certificate::objection(&error) {
                Some(why) => metrics.login_failed(&listener.observe, peer, None, &why),
                None => {
                    let error = certificate::noise(&error);
                    tracing::warn!(source = %listener.name, %peer, error, "TLS handshake failed");
                }
            }
        }
        Err(_) => listener.session_context.metrics.malformed("tls timeout"),
    }
}
