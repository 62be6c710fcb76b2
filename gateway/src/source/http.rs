//! Events over HTTP: `POST /events` and `POST /topics/<topic>`.
//!
//! The answer is 200 only after the commit that holds every event of the request. The layers,
//! from the bytes up: `head_clock` limits the time of a head, `body` reads a body and `encoding` decompresses it, `request` makes events of a
//! POST, `login` knows its sender, `endpoint` decides who may do what and waits for the verdict; this
//! file accepts connections.

mod body;
pub mod config;
mod encoding;
mod endpoint;
mod head_clock;
mod login;
mod rejection;
mod request;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_rules::event::Event;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::listener::BindError;
use super::listener::acceptor::Acceptor;
use super::listener::certificate;
use super::listener::connection_limit::ConnectionLimit;
use super::listener::socket::{self, Wanted};
use crate::event::inlet::{Closed, Inlet};
use crate::observe::Observe;
use crate::observe::source::{Listening, SourceMetrics};
use crate::source::credentials::Credentials;
use crate::source::open::{OpenSource, Opening, Running};
use crate::time::clock;
use crate::time::shutdown::stopped;
use crate::time::task;
use body::Bodies;
use endpoint::HttpEndpoint;
use head_clock::{HeadClock, TimedStream};
use login::{LoginDoor, Visit};

/// How long a connection may idle.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Silence after which a client is asked whether it is still there, while it waits for an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of a request line and its headers.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long requests under way may take at shutdown.
const GOODBYE_MAX: Duration = Duration::from_secs(3);
/// How long, and how many bytes, a client that was told that it is too slow is still heard.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 * 1024;

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
        let name = opening.name.to_owned();
        let wanted = Wanted {
            address: self.listen,
            source: name.clone(),
            observe: Arc::clone(&opening.observe),
            metrics: opening.metrics.clone(),
        };
        let (config, gateway_id) = (self.clone(), opening.gateway_id.to_owned());
        let serve = move |socket, stop| {
            HttpListener::over(
                socket,
                opening.credentials,
                config,
                &name,
                &gateway_id,
                opening.inlet,
                opening.observe,
                opening.metrics,
            )
            .run(stop)
        };
        wanted.served(opening.may_wait, opening.stop, serve).await
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
        let failed = |why| BindError(format!("source {name}: {why}"));
        let credentials = config.credentials().map_err(failed)?.unchanging();
        let socket = socket::bind(config.listen).await.map_err(failed)?;
        Ok(HttpListener::over(
            socket,
            credentials,
            config,
            name,
            gateway_id,
            inlet,
            observe,
            metrics,
        ))
    }

    #[allow(clippy::too_many_arguments, reason = "each is a part of its own")]
    fn over(
        socket: TcpListener,
        credentials: watch::Receiver<Credentials>,
        config: config::HttpSource,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> HttpListener {
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
        HttpListener {
            name: name.into(),
            acceptor: Acceptor::new(socket, config.connections_max, SILENCE, &observe, &metrics),
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
                head_max: config.head_max,
                id_field: config.id_field,
                template,
                inlet,
                metrics,
                observe,
                bodies: Bodies::new(),
            }),
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
            let connection = async move {
                endpoint.metrics.connections(1);
                serve(stream, peer, Arc::clone(&endpoint), tls, shutdown).await;
                endpoint.metrics.connections(-1);
                drop((permit, counted));
            };
            open.spawn(task::named("a connection of an http source", connection));
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
                metrics.login_failed(observe, peer.ip(), None, &why);
            }
        }
        Err(_) => endpoint.metrics.malformed("tls timeout"),
    }
}

async fn serve_http<S>(
    mut stream: S,
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
    let clock = HeadClock::new(endpoint.head_max);
    let ended = {
        let timed = TimedStream::new(&mut stream, clock.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(clock.clone())
            .header_read_timeout(IDLE_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .auto_date_header(clock::is_before_year_10000())
            .serve_connection(TokioIo::new(timed), service);
        tokio::pin!(connection);
        tokio::select! {
            ended = &mut connection => ended,
            () = stopped(&mut shutdown) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    endpoint.door.ended(&visit);
    let Err(error) = ended else {
        return;
    };
    tracing::debug!(%error, "a connection ended early");
    match (error.is_timeout(), clock.has_begun()) {
        (true, false) => {}
        (true, true) => {
            endpoint.metrics.malformed("request timeout");
            if clock.may_answer() {
                let told = tell_too_slow(&mut stream, clock.head_max());
                let _ = tokio::time::timeout(LINGER_MAX, told).await;
            }
        }
        (false, _) => endpoint.metrics.malformed("http"),
    }
}

/// Answers a head that is not whole in time, and reads on for a moment: a socket that is closed on unread bytes is
/// reset, and a reset may take the answer away.
async fn tell_too_slow<S>(stream: &mut S, head_max: Duration) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let what = format!("the head took over {head_max:?}, see head_timeout");
    let body = format!("{}\n", serde_json::json!({ "error": what }));
    let answer = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(LINGER_BYTES_MAX as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}
