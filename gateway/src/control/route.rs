//! From a request to its response.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::blocking::{Panicked, Turn, in_turn, off_thread};
use super::event_store::lanes;
use super::request::peer::Peer;
use super::request::query::{QueryString, percent_decoded};
use super::response::{self, ApiResponse};
use super::{ApiContext, dead_letters, event_store, events, reload};
use crate::time::clock::{self, Now};

/// Prometheus asks for this type; the text is OpenMetrics.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What anyone who reaches `[api] listen` may ask.
pub(super) async fn over_tcp(request: Request<Incoming>, context: Arc<ApiContext>) -> ApiResponse {
    public(request, context, clock::now()).await
}

/// What whoever may connect to the unix socket may ask: everything that was not refused before.
pub(super) async fn over_socket(
    request: Request<Incoming>,
    context: Arc<ApiContext>,
    peer: Peer,
) -> ApiResponse {
    let now = clock::now();
    let query = QueryString::parse(request.uri().query());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/events") => reading(move || events::list(&context, &query)).await,
        (&Method::GET, "/events/follow") => events::follow(&context, &query),
        (&Method::GET, "/store/status") => {
            reading(move || event_store::status(&context, now.instant)).await
        }
        (&Method::POST, "/store/verify") => event_store::start_verify(&context),
        (&Method::POST, "/store/backup") => event_store::start_backup(&context, &query),
        (&Method::POST, "/reload") => reload::reload(context, peer).await,
        (&Method::GET, path) if path.starts_with("/events/") => {
            let id = percent_decoded(path.trim_start_matches("/events/"));
            reading(move || events::show(&context, &id)).await
        }
        (&Method::GET, "/store/lanes") => reading(move || lanes::list(&context)).await,
        (method, path) if path.starts_with("/store/lanes/") => {
            let (method, path) = (method.clone(), path.trim_start_matches("/store/lanes/"));
            on_lane(context, method, percent_decoded(path), query, peer).await
        }
        (method, path) if path.starts_with("/dead-letters") => {
            let (method, path) = (method.clone(), path.trim_start_matches("/dead-letters"));
            let path = percent_decoded(path.trim_start_matches('/'));
            on_dead_letters(context, method, path, query, peer).await
        }
        _ => public(request, context, now).await,
    }
}

/// What changes nothing and tells no payload.
async fn public(request: Request<Incoming>, context: Arc<ApiContext>, now: Now) -> ApiResponse {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let message = "only GET is answered here; changes go through the unix socket";
        return response::error(StatusCode::METHOD_NOT_ALLOWED, message);
    }
    match request.uri().path() {
        "/metrics" => reading(move || metrics(&context, now)).await,
        "/healthz" => health(&context, now),
        "/readyz" => reading(move || readiness(&context, now)).await,
        "/status/rules" => reading(move || response::json(&context.rules_report())).await,
        "/status" => reading(move || response::json(&context.status(now))).await,
        path => response::error(StatusCode::NOT_FOUND, format!("there is no {path} here")),
    }
}

/// `path` is what follows `/store/lanes/`.
async fn on_lane(
    context: Arc<ApiContext>,
    method: Method,
    path: String,
    query: QueryString,
    peer: Peer,
) -> ApiResponse {
    let moved = path.strip_suffix("/move").map(str::to_owned);
    match (method, moved, query.get("to")) {
        (Method::POST, Some(name), Some(to)) => {
            let (turn, to) = (Turn::clone(&context.lanes_turn), to.to_owned());
            let change = async move { lanes::move_to(context, &name, &to, peer).await };
            in_turn(&turn, change).await
        }
        (Method::DELETE, None, _) => {
            let turn = Turn::clone(&context.lanes_turn);
            in_turn(&turn, lanes::drop(context, path, peer)).await
        }
        _ => {
            let message = "a lane takes DELETE, and POST …/move?to=UPSTREAM";
            response::error(StatusCode::METHOD_NOT_ALLOWED, message)
        }
    }
}

/// `path` is what follows `/dead-letters/`.
async fn on_dead_letters(
    context: Arc<ApiContext>,
    method: Method,
    path: String,
    query: QueryString,
    peer: Peer,
) -> ApiResponse {
    let retried = path.strip_suffix("/retry").map(str::to_owned);
    let turn = Turn::clone(&context.letters_turn);
    match (method, retried) {
        (Method::POST, Some(id)) => {
            let to = query.get("to").map(str::to_owned);
            in_turn(&turn, dead_letters::retry(context, id, to, peer)).await
        }
        (Method::GET, None) if path.is_empty() => {
            reading(move || dead_letters::list(&context, &query)).await
        }
        (Method::DELETE, None) if path.is_empty() => {
            in_turn(&turn, dead_letters::drop_all(context, peer)).await
        }
        (Method::GET, None) => reading(move || dead_letters::show(&context, &path)).await,
        (Method::DELETE, None) => in_turn(&turn, dead_letters::drop(context, path, peer)).await,
        _ => {
            let message = "dead letters take GET, DELETE, and POST …/retry";
            response::error(StatusCode::METHOD_NOT_ALLOWED, message)
        }
    }
}

fn metrics(context: &ApiContext, now: Now) -> ApiResponse {
    // The series of the troubles that it shows.
    context.status(now);
    let text = context.observe.metrics_text().into_bytes();
    let body = bytes::Bytes::from(text).into();
    response::with(StatusCode::OK, METRICS_TYPE, body)
}

fn health(context: &ApiContext, now: Now) -> ApiResponse {
    let alive = context.is_alive(now);
    let code = if alive {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    response::json_with(code, &serde_json::json!({ "alive": alive }))
}

fn readiness(context: &ApiContext, now: Now) -> ApiResponse {
    let readiness = context.readiness(now);
    let code = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    response::json_with(code, &readiness)
}

/// A response whose making reads the store.
async fn reading(make: impl FnOnce() -> ApiResponse + Send + 'static) -> ApiResponse {
    off_thread(make)
        .await
        .unwrap_or_else(|_| response::error(StatusCode::INTERNAL_SERVER_ERROR, Panicked::MESSAGE))
}
