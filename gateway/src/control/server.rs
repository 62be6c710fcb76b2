//! Accepts connections at the unix socket and at `[api] listen` and serves HTTP/1.1 on each.

pub(super) mod allowed_hosts;
pub(super) mod answers;
pub(super) mod socket;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::request::peer::Peer;
use super::response::{self, ApiResponse};
use super::route;
use crate::observe::trouble::slots::Slots;
use crate::time::clock;
use crate::time::task;
use allowed_hosts::AllowedHosts;
use answers::Answers;

/// Connections at once, at each of the two.
const CONNECTIONS_MAX: usize = 64;
/// How long a request line and its headers may take.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request line and its headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Pause after a failed accept, which is out of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves the unix socket for ever.
pub(super) async fn serve_socket(listener: &UnixListener, answers: &Answers) {
    let slots = slots("control socket", answers);
    let mut connections = JoinSet::new();
    loop {
        let permit = slots.take().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = answers.clone();
                let Ok(peer) = Peer::of(&stream) else {
                    // It is gone already.
                    continue;
                };
                let connection = async move {
                    let respond = |request| over_socket(request, answers.clone(), peer);
                    serve(stream, respond).await;
                    drop(permit);
                };
                connections.spawn(task::named("a connection of the control API", connection));
            }
            Err(error) => pause_after(&error).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Serves `[api] listen` for ever; waits for ever where there is none.
pub(super) async fn serve_api(
    listener: Option<&TcpListener>,
    hosts: &AllowedHosts,
    answers: &Answers,
) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let slots = slots("[api] listen", answers);
    let mut connections = JoinSet::new();
    loop {
        let permit = slots.take().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let (answers, hosts) = (answers.clone(), hosts.clone());
                let connection = async move {
                    let respond = |request| guarded(request, &hosts, answers.clone());
                    serve(stream, respond).await;
                    drop(permit);
                };
                connections.spawn(task::named("a connection of the control API", connection));
            }
            Err(error) => pause_after(&error).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn over_socket(request: Request<Incoming>, answers: Answers, peer: Peer) -> ApiResponse {
    let (method, path) = (request.method(), request.uri().path());
    if let Some(refusal) = peer.refusal(method, path, answers.observe()).await {
        return refusal;
    }
    match answers.context_for(request.uri().path()).await {
        Ok(context) => route::over_socket(request, context, peer).await,
        Err(answer) => *answer,
    }
}

fn slots(subject: &str, answers: &Answers) -> Slots {
    let observe = Arc::clone(answers.observe());
    Slots::new(subject.to_owned(), "the API", CONNECTIONS_MAX, observe)
}

async fn guarded(
    request: Request<Incoming>,
    hosts: &AllowedHosts,
    answers: Answers,
) -> ApiResponse {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if !hosts.allow(host) {
        let message = "this host name is not answered; add it to `hosts` in [api]";
        return response::error(StatusCode::MISDIRECTED_REQUEST, message);
    }
    match answers.context_for(request.uri().path()).await {
        Ok(context) => route::over_tcp(request, context).await,
        Err(answer) => *answer,
    }
}

async fn serve<S, F>(stream: S, respond: impl Fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ApiResponse>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .auto_date_header(clock::is_before_year_10000())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the API ended early");
    }
}

async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "the API cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
