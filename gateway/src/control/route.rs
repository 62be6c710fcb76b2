//! From a request to its answer.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::answer::{self, Answer};
use super::question::{Question, decoded};
use super::{Shared, events};
use crate::clock;

/// Prometheus asks for this type; the text is OpenMetrics.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What anyone who reaches `[api] listen` may ask.
pub(super) async fn open_to_all(request: Request<Incoming>, shared: Arc<Shared>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let message = "only GET is answered here; changes go through the unix socket";
        return answer::mistake(StatusCode::METHOD_NOT_ALLOWED, message);
    }
    match request.uri().path() {
        "/metrics" => off_thread(move || metrics(&shared)).await,
        "/healthz" => health(&shared),
        "/readyz" => off_thread(move || readiness(&shared)).await,
        "/status" => off_thread(move || answer::json(&shared.status(clock::monotonic()))).await,
        path => answer::mistake(StatusCode::NOT_FOUND, format!("there is no {path} here")),
    }
}

/// What the owner of the unix socket may ask.
pub(super) async fn everything(request: Request<Incoming>, shared: Arc<Shared>) -> Answer {
    let question = Question::read(request.uri().query());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/events") => off_thread(move || events::list(&shared, &question)).await,
        (&Method::GET, "/events/follow") => events::follow(&shared, &question),
        (&Method::GET, "/store/status") => off_thread(move || events::store_status(&shared)).await,
        (&Method::POST, "/store/verify") => events::store_verify(&shared),
        (&Method::GET, path) if path.starts_with("/events/") => {
            let id = decoded(path.trim_start_matches("/events/"));
            off_thread(move || events::show(&shared, &id)).await
        }
        _ => open_to_all(request, shared).await,
    }
}

fn metrics(shared: &Shared) -> Answer {
    let text = shared.observe.metrics_text().into_bytes();
    answer::with(StatusCode::OK, METRICS_TYPE, text.into())
}

fn health(shared: &Shared) -> Answer {
    let alive = shared.is_alive();
    let code = if alive {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer::json_with(code, &serde_json::json!({ "alive": alive }))
}

fn readiness(shared: &Shared) -> Answer {
    let readiness = shared.readiness(clock::monotonic());
    let code = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::json_with(code, &readiness)
}

/// Answers that read the store must not hold up the other connections.
async fn off_thread(answer: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    tokio::task::spawn_blocking(answer)
        .await
        .unwrap_or_else(|_| {
            let message = "the answer could not be made; the log says why";
            answer::mistake(StatusCode::INTERNAL_SERVER_ERROR, message)
        })
}
