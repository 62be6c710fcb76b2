//! Events over HTTP: `POST /events` and `POST /topics/<topic>`.
//!
//! The answer is 200 only after the commit that holds every event of the request. The layers,
//! from the bytes up: `body` reads a body and `encoding` decompresses it, `request` makes events of a
//! POST, `login` knows its sender, `endpoint` decides who may do what and waits for the verdict; this
//! file accepts connections.

mod body;
pub mod config;
mod encoding;
mod endpoint;
mod login;
mod rejection;
mod request;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_rules::event::Event;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::listener::BindError;
use super::listener::acceptor::Acceptor;
use super::listener::certificate;
use super::listener::connection_limit::ConnectionLimit;
use crate::event::inlet::{Closed, Inlet};
use crate::observe::Observe;
use crate::observe::source::{Listening, SourceMetrics};
use crate::source::credentials::Credentials;
use crate::source::open::{OpenSource, Opening, Running};
use crate::time::shutdown::stopped;
use body::Bodies;
use endpoint::HttpEndpoint;
use login::{LoginDoor, Visit};

/// How long a request line and its headers may take, and a connection may idle.
const HEADERS_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request line and its headers.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long requests under way may take at shutdown.
const GOODBYE_MAX: Duration = Duration::from_secs(3);

/// An `http` source that is bound and waits to be run.
pub struct HttpListener {
    name: String,
    acceptor: Acceptor,
    connections_per_ip_max: usize,
    credentials: watch::Receiver<Credentials>,
    endpoint: Arc<HttpEndpoint>,
}

impl OpenSource for config::HttpSource {
    fn connections_max(&self) -> usize {
        self.connections_max
    }

    fn credentials(&self) -> Result<Credentials, String> {
        Credentials::of_listener(self.tls.as_ref(), &self.users)
    }

    async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
        let bound = HttpListener::bind_with(
            self.clone(),
            opening.credentials,
            opening.name,
            opening.gateway_id,
            opening.inlet,
            opening.observe,
            opening.metrics,
        );
        let listener = bound.await.map_err(|error| error.to_string())?;
        Ok(Box::pin(listener.run(opening.stop)))
    }
}

impl HttpListener {
    /// Binds the socket and reads the certificates.
    ///
    /// # Errors
    /// [`BindError`] when the address is in use or a certificate cannot be read.
    pub async fn bind(
        config: config::HttpSource,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> Result<HttpListener, BindError> {
        let credentials = config.credentials();
        let credentials = credentials.map_err(|why| BindError(format!("source {name}: {why}")))?;
        let credentials = credentials.unchanging();
        HttpListener::bind_with(
            config,
            credentials,
            name,
            gateway_id,
            inlet,
            observe,
            metrics,
        )
        .await
    }

    async fn bind_with(
        config: config::HttpSource,
        credentials: watch::Receiver<Credentials>,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> Result<HttpListener, BindError> {
        let socket = TcpListener::bind(config.listen).await.map_err(|error| {
            BindError(format!(
                "source {name}: cannot listen on {}: {error}; is another program there?",
                config.listen
            ))
        })?;
        let template = Event {
            id: "".into(),
            source: format!("{gateway_id}/{name}").into(),
            kind: "reading".into(),
            subject: None,
            topic: name.into(),
            publisher: "".into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::new(),
            ..Event::default()
        };
        Ok(HttpListener {
            name: name.into(),
            acceptor: Acceptor::new(socket, config.connections_max, &observe, &metrics),
            connections_per_ip_max: config.connections_per_ip_max,
            credentials: credentials.clone(),
            endpoint: Arc::new(HttpEndpoint {
                door: LoginDoor {
                    credentials,
                    anonymous: config.anonymous,
                    metrics: metrics.clone(),
                    observe: Arc::clone(&observe),
                },
                payload_bytes_max: config.payload_bytes_max,
                id_field: config.id_field,
                template,
                inlet,
                metrics,
                observe,
                bodies: Bodies::new(),
            }),
        })
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
            let source = &self.name;
            let HttpEndpoint {
                metrics, observe, ..
            } = &*self.endpoint;
            metrics.up(observe, "listening", &Listening { source, address });
        }
        let per_address = ConnectionLimit::new(self.connections_per_ip_max);
        let mut open = JoinSet::new();
        loop {
            let (stream, peer, permit) = tokio::select! {
                () = stopped(&mut shutdown) => break,
                accepted = self.acceptor.accept() => accepted,
                Some(_) = open.join_next() => continue,
            };
            let Some(counted) = per_address.admit(peer.ip()) else {
                self.endpoint
                    .metrics
                    .malformed("connections of one address");
                self.acceptor
                    .tell_of_address(peer.ip(), self.connections_per_ip_max);
                continue;
            };
            let endpoint = Arc::clone(&self.endpoint);
            let tls = self.credentials.borrow().acceptor.clone();
            let shutdown = shutdown.clone();
            open.spawn(async move {
                endpoint.metrics.connections(1);
                serve(stream, peer, Arc::clone(&endpoint), tls, shutdown).await;
                endpoint.metrics.connections(-1);
                drop((permit, counted));
            });
        }
        // What is under way and slow is cut off: it was not acknowledged.
        let rest = async { while open.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE_MAX, rest).await;
        Ok(())
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    endpoint: Arc<HttpEndpoint>,
    tls: Option<TlsAcceptor>,
    shutdown: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let visit = Arc::new(Visit::of(peer.ip()));
    let Some(tls) = tls else {
        return serve_http(stream, visit, endpoint, shutdown).await;
    };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_http(stream, visit, endpoint, shutdown).await,
        Ok(Err(error)) => {
            endpoint.metrics.malformed("tls");
            if let Some(why) = certificate::objection(&error) {
                let HttpEndpoint {
                    metrics, observe, ..
                } = &*endpoint;
                metrics.login_failed(observe, peer.ip(), &why);
            }
        }
        Err(_) => endpoint.metrics.malformed("tls timeout"),
    }
}

async fn serve_http<S>(
    stream: S,
    visit: Arc<Visit>,
    endpoint: Arc<HttpEndpoint>,
    mut shutdown: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let (endpoint, visit) = (Arc::clone(&endpoint), Arc::clone(&visit));
        async move { Ok::<_, Infallible>(endpoint.respond(request, &visit).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    endpoint.door.ended(&visit);
    if let Err(error) = ended {
        endpoint.metrics.malformed("http");
        tracing::debug!(%error, "a connection ended early");
    }
}
