//! From a request to its answer.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::answer::{self, Answer};
use super::question::{Question, decoded};
use super::{Shared, events, letters};
use crate::time::clock;

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
        (&Method::POST, "/store/backup") => events::store_backup(&shared, &question),
        (&Method::GET, path) if path.starts_with("/events/") => {
            let id = decoded(path.trim_start_matches("/events/"));
            off_thread(move || events::show(&shared, &id)).await
        }
        (method, path) if path.starts_with("/dead-letters") => {
            let (method, path) = (method.clone(), path.trim_start_matches("/dead-letters"));
            let path = decoded(path.trim_start_matches('/'));
            dead_letters(shared, method, path, question).await
        }
        _ => open_to_all(request, shared).await,
    }
}

/// `path` is what follows `/dead-letters/`.
async fn dead_letters(
    shared: Arc<Shared>,
    method: Method,
    path: String,
    question: Question,
) -> Answer {
    let retried = path.strip_suffix("/retry").map(str::to_owned);
    match (method, retried) {
        (Method::POST, Some(id)) => {
            let to = question.get("to").map(str::to_owned);
            letters::retry(shared, id, to).await
        }
        (Method::GET, None) if path.is_empty() => {
            off_thread(move || letters::list(&shared, &question)).await
        }
        (Method::GET, None) => off_thread(move || letters::show(&shared, &path)).await,
        (Method::DELETE, None) => off_thread(move || letters::drop(&shared, &path)).await,
        _ => {
            let message = "dead letters take GET, DELETE, and POST …/retry";
            answer::mistake(StatusCode::METHOD_NOT_ALLOWED, message)
        }
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
