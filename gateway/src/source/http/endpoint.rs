//! What a request is answered: who may do what, what was wrong, and the verdict of the commit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tidegate_rules::event::Event;

use super::body::Bodies;
use super::login::{LoginDoor, Visit};
use super::rejection::Rejection;
use super::request::{self, EventRequest, RequestTarget};
use crate::event::ack::{Refusal, Verdict};
use crate::event::arrival::Identity;
use crate::event::inlet::{Closed, Inlet};
use crate::event::system_topic::poses_as_ours;
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::source::listener::access::TopicAccess;
use crate::time::clock;

/// Seconds after which a request that was refused may come again: where the store takes nothing, and where the gateway
/// ends, which is mostly started again at once.
const AGAIN_WHEN_REFUSED_S: &str = "10";
const AGAIN_WHEN_CLOSING_S: &str = "2";

type HttpResponse = Response<Full<Bytes>>;

/// What all connections of the source share.
pub(super) struct HttpEndpoint {
    pub(super) door: LoginDoor,
    pub(super) payload_bytes_max: usize,
    /// How long a head may take.
    pub(super) head_max: Duration,
    pub(super) id_field: Option<String>,
    pub(super) template: Event,
    pub(super) inlet: Inlet,
    pub(super) metrics: SourceMetrics,
    pub(super) observe: Arc<Observe>,
    pub(super) bodies: Bodies,
}

impl HttpEndpoint {
    /// Takes a request in, and answers once it is known what became of it.
    pub(super) async fn respond(&self, request: Request<Incoming>, visit: &Visit) -> HttpResponse {
        match self.accept(request, visit).await {
            Ok(stored) => json(StatusCode::OK, &serde_json::json!({ "stored": stored })),
            Err(rejection) => {
                if rejection.status.is_client_error() {
                    let reason = rejection.status.canonical_reason().unwrap_or("other");
                    self.metrics.malformed(&reason.to_lowercase());
                }
                tracing::debug!(
                    status = rejection.status.as_u16(),
                    "request refused: {}",
                    rejection.what
                );
                let mut response = json(
                    rejection.status,
                    &serde_json::json!({ "error": rejection.what }),
                );
                for (name, value) in rejection.headers {
                    let value = HeaderValue::from_static(value);
                    response.headers_mut().append(name, value);
                }
                response
            }
        }
    }

    async fn accept(&self, request: Request<Incoming>, visit: &Visit) -> Result<usize, Rejection> {
        let began = clock::monotonic();
        let (head, body) = request.into_parts();
        let (user, access) = self.door.authenticate(&head.headers, visit).await?;
        let Some(target) = request::target(head.uri.path()) else {
            let what = "nothing is here; post to /events or /topics/<topic>";
            return Err(Rejection::new(StatusCode::NOT_FOUND, what));
        };
        let target = target?;
        if head.method != Method::POST {
            let rejection =
                Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here");
            return Err(rejection.with(header::ALLOW, "POST"));
        }
        if let RequestTarget::Topic(topic) = &target {
            authorize(&access, topic)?;
        }
        let request = EventRequest {
            target,
            headers: head.headers,
        };
        let bytes_max = request.body_bytes_max(self.payload_bytes_max);
        let body = self.bodies.read(&request.headers, body, bytes_max).await?;
        let mut events = request.events(body, &self.template, self.payload_bytes_max)?;
        if let Some(field) = &self.id_field {
            request.read_id(&mut events, field);
        }
        for event in &mut events {
            authorize(&access, &event.topic)?;
            if poses_as_ours(event, &self.template.source) {
                let what = format!(
                    "topic {:?} and type {:?} are the gateway's own; another gateway's event says so in its `source`",
                    &*event.topic, &*event.kind
                );
                return Err(Rejection::new(StatusCode::FORBIDDEN, what));
            }
            if !user.is_empty() {
                event.publisher = user.as_str().into();
            }
        }
        let count = events.len();
        self.store(events).await?;
        let took = clock::monotonic().saturating_duration_since(began);
        self.metrics.acknowledged_after(took);
        Ok(count)
    }

    /// Returns once every event is on disk.
    async fn store(&self, events: Vec<Event>) -> Result<(), Rejection> {
        if events.is_empty() {
            return Ok(());
        }
        let sizes: Vec<usize> = events.iter().map(|event| event.data.len()).collect();
        let with_identity = |event: Event| {
            let identity = Identity::of_id(&event.id, &self.template.source);
            (event, identity)
        };
        let events = events.into_iter().map(with_identity).collect();
        let verdicts = match self.inlet.settle(events).await {
            Ok(verdicts) => verdicts,
            Err(Closed) => vec![Verdict::Refused(Refusal::Closing)],
        };
        let refusal = verdicts.into_iter().find_map(|verdict| match verdict {
            Verdict::Stored => None,
            Verdict::Refused(refusal) => Some(refusal),
        });
        let Some(refusal) = refusal else {
            sizes.iter().for_each(|bytes| self.metrics.accepted(*bytes));
            return Ok(());
        };
        sizes.iter().for_each(|_| self.metrics.refused());
        let seconds = match refusal {
            Refusal::Full | Refusal::Failed => AGAIN_WHEN_REFUSED_S,
            Refusal::Closing => AGAIN_WHEN_CLOSING_S,
        };
        let what = refusal.told(|| self.metrics.why_refused());
        let rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, what);
        Err(rejection.with(header::RETRY_AFTER, seconds))
    }
}

fn authorize(access: &TopicAccess, topic: &str) -> Result<(), Rejection> {
    match access.may_publish(topic) {
        true => Ok(()),
        false => Err(Rejection::new(
            StatusCode::FORBIDDEN,
            format!("this user may not publish to {topic:?}"),
        )),
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> HttpResponse {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
