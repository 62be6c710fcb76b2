//! Who answers a request: while the gateway is being opened only what says so, then everything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::sync::watch;

use crate::control::context::ApiContext;
use crate::control::response::{self, ApiResponse};
use crate::observe::Observe;
use crate::observe::status::{GatewayStatus, Readiness, Status};
use crate::time::clock;

/// How long a request may wait for a gateway that is about to stand.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API answers with, filled when the gateway stands. Clone it freely.
#[derive(Clone)]
pub struct Answers(Arc<Inner>);

struct Inner {
    id: String,
    started: Instant,
    observe: Arc<Observe>,
    progress: Mutex<Progress>,
    context: watch::Sender<Option<Arc<ApiContext>>>,
}

#[derive(Clone)]
struct Progress {
    /// For people.
    line: String,
    /// What may take long is done.
    nearly_there: bool,
}

impl Answers {
    /// Of a gateway called `id` that is about to open its store.
    pub fn opening(id: impl Into<String>, started: Instant, observe: Arc<Observe>) -> Answers {
        Answers(Arc::new(Inner {
            id: id.into(),
            started,
            observe,
            progress: Mutex::new(Progress {
                line: "opening the store".to_owned(),
                nearly_there: false,
            }),
            context: watch::channel(None).0,
        }))
    }

    pub(in crate::control) fn observe(&self) -> &Arc<Observe> {
        &self.0.observe
    }

    /// Says how far the opening is.
    pub fn tell(&self, line: String) {
        self.set(line, false);
    }

    /// The store is open: what asks now had better wait for the moment that the rest takes.
    pub fn nearly_there(&self) {
        self.set("starting: the store is open".to_owned(), true);
    }

    fn set(&self, line: String, nearly_there: bool) {
        let progress = Progress { line, nearly_there };
        let told = self.0.progress.lock();
        *told.unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// From now on everything is answered.
    pub fn open(&self, context: Arc<ApiContext>) {
        self.0.context.send_replace(Some(context));
    }

    /// What answers a request for `path`; the answer itself where that says how far the opening is.
    pub(in crate::control) async fn context_for(
        &self,
        path: &str,
    ) -> Result<Arc<ApiContext>, Box<ApiResponse>> {
        let mut context = self.0.context.subscribe();
        let progress = self.progress();
        let about_progress = matches!(path, "/healthz" | "/readyz" | "/status");
        let patience = match about_progress && !progress.nearly_there {
            true => Duration::ZERO,
            false => PATIENCE,
        };
        let found = tokio::time::timeout(patience, context.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(found)) => found.clone().ok_or_else(|| self.not_yet(path)),
            _ => Err(self.not_yet(path)),
        }
    }

    fn progress(&self) -> Progress {
        let progress = self.0.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Alive: a restart would only begin anew. Not ready: nothing is accepted.
    fn not_yet(&self, path: &str) -> Box<ApiResponse> {
        let line = self.progress().line;
        Box::new(match path {
            "/healthz" => response::json(&serde_json::json!({ "alive": true })),
            "/readyz" => {
                let readiness = Readiness {
                    ready: false,
                    troubles: vec![line],
                };
                response::json_with(StatusCode::SERVICE_UNAVAILABLE, &readiness)
            }
            "/status" => response::json(&self.status(line)),
            _ => {
                let message = format!("not ready yet: {line}; ask again later");
                response::error(StatusCode::SERVICE_UNAVAILABLE, message)
            }
        })
    }

    fn status(&self, line: String) -> Status {
        let uptime = clock::monotonic().duration_since(self.0.started);
        Status {
            gateway: GatewayStatus {
                id: self.0.id.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_ms: uptime.as_millis() as u64,
            },
            troubles: vec![line],
            ..Status::default()
        }
    }
}

/// A gateway that stands.
impl From<Arc<ApiContext>> for Answers {
    fn from(context: Arc<ApiContext>) -> Answers {
        let answers = Answers::opening(
            String::new(),
            clock::monotonic(),
            Arc::clone(&context.observe),
        );
        answers.open(context);
        answers
    }
}
