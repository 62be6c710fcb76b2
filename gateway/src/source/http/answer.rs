//! What a request is answered: who may do what, what was wrong, and the verdict of the commit.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tidegate_rules::event::Event;
use tokio::sync::Semaphore;

use super::post::{self, Post, Target};
use crate::event::ack::{Refusal, Verdict};
use crate::event::arrival::Identity;
use crate::event::cloudevents::{Wrong, base64};
use crate::event::inlet::{Closed, Inlet};
use crate::observe::source::SourceMetrics;

use crate::source::listener::access::Access;
use crate::source::listener::logins::Logins;
use crate::time::clock;

/// How long a body may take.
const BODY_MAX: Duration = Duration::from_secs(30);
/// Bytes of bodies being read at once, over all connections.
pub(super) const BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

type Answer = Response<Full<Bytes>>;

/// What all connections of the source share.
pub(super) struct Door {
    pub(super) logins: Logins,
    pub(super) anonymous: bool,
    pub(super) payload_bytes_max: usize,
    pub(super) template: Event,
    pub(super) inlet: Inlet,
    pub(super) metrics: SourceMetrics,
    pub(super) bodies: Semaphore,
}

/// Why a request is not taken.
struct No {
    status: StatusCode,
    what: String,
    /// A header that belongs to the status.
    header: Option<(HeaderName, &'static str)>,
}

impl No {
    fn new(status: StatusCode, what: impl Into<String>) -> No {
        No {
            status,
            what: what.into(),
            header: None,
        }
    }

    fn with(self, name: HeaderName, value: &'static str) -> No {
        No {
            header: Some((name, value)),
            ..self
        }
    }
}

impl From<Wrong> for No {
    fn from(wrong: Wrong) -> No {
        match wrong {
            Wrong::Bad(what) => No::new(StatusCode::BAD_REQUEST, what),
            Wrong::TooLarge(what) => No::new(StatusCode::PAYLOAD_TOO_LARGE, what),
        }
    }
}

impl Door {
    /// Takes a request in, and answers once it is known what became of it.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.take(request).await {
            Ok(stored) => json(StatusCode::OK, &serde_json::json!({ "stored": stored })),
            Err(no) => {
                if no.status.is_client_error() {
                    let reason = no.status.canonical_reason().unwrap_or("other");
                    self.metrics.malformed(&reason.to_lowercase());
                }
                tracing::debug!(status = no.status.as_u16(), "request refused: {}", no.what);
                let mut answer = json(no.status, &serde_json::json!({ "error": no.what }));
                if let Some((name, value)) = no.header {
                    let value = HeaderValue::from_static(value);
                    answer.headers_mut().insert(name, value);
                }
                answer
            }
        }
    }

    async fn take(&self, request: Request<Incoming>) -> Result<usize, No> {
        let began = clock::monotonic();
        let (head, body) = request.into_parts();
        let (user, access) = self.admit(&head.headers).await?;
        let Some(target) = post::target(head.uri.path()) else {
            let what = "nothing is here; post to /events or /topics/<topic>";
            return Err(No::new(StatusCode::NOT_FOUND, what));
        };
        let target = target?;
        if head.method != Method::POST {
            let no = No::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here");
            return Err(no.with(header::ALLOW, "POST"));
        }
        if let Target::Topic(topic) = &target {
            allowed(&access, topic)?;
        }
        not_encoded(&head.headers)?;
        let post = Post {
            target,
            headers: head.headers,
        };
        let body = self.read(&post, body).await?;
        let mut events = post.events(body, &self.template, self.payload_bytes_max)?;
        for event in &mut events {
            allowed(&access, &event.topic)?;
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

    /// The user of a request, and what it may do.
    async fn admit(&self, headers: &HeaderMap) -> Result<(String, Access), No> {
        if self.logins.is_empty() {
            return match (self.anonymous, headers.contains_key(header::ORIGIN)) {
                (true, false) => Ok((String::new(), Access::anonymous())),
                // A web page anywhere could post to this machine through its visitor's browser.
                (true, true) => Err(No::new(
                    StatusCode::FORBIDDEN,
                    "web pages may not post without a login; configure `users`",
                )),
                (false, _) => Err(No::new(StatusCode::FORBIDDEN, "nobody is let in")),
            };
        }
        let refused = |what: &str| {
            let no = No::new(StatusCode::UNAUTHORIZED, what);
            no.with(
                header::WWW_AUTHENTICATE,
                "Basic realm=\"tidegate\", charset=\"UTF-8\"",
            )
        };
        let Some((name, password)) = login(headers) else {
            return Err(refused("a user name and password are needed (HTTP basic)"));
        };
        let user = self.logins.check(&name, &password).await;
        let user = user.ok_or_else(|| refused("wrong user name or password"))?;
        let access =
            Access::of(user, &user.name).map_err(|why| No::new(StatusCode::FORBIDDEN, why))?;
        Ok((user.name.clone(), access))
    }

    /// The body, as long as it is within its limit, in time, and there is memory for it.
    async fn read(&self, post: &Post, body: Incoming) -> Result<Bytes, No> {
        let bytes_max = post.body_bytes_max(self.payload_bytes_max);
        let too_large = || {
            let what = format!("the body is over {bytes_max} bytes, see max_payload");
            No::new(StatusCode::PAYLOAD_TOO_LARGE, what)
        };
        let announced = body.size_hint().upper().unwrap_or(bytes_max as u64);
        if announced > bytes_max as u64 {
            return Err(too_large());
        }
        let share = u32::try_from(announced).unwrap_or(u32::MAX);
        let _share = self.bodies.try_acquire_many(share).map_err(|_| {
            let what = "too many requests are being read; try again";
            No::new(StatusCode::SERVICE_UNAVAILABLE, what).with(header::RETRY_AFTER, "1")
        })?;
        let whole = Limited::new(body, bytes_max).collect();
        match tokio::time::timeout(BODY_MAX, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => {
                let what = format!("the body broke off: {error}");
                Err(No::new(StatusCode::BAD_REQUEST, what))
            }
            Err(_) => {
                let what = format!("the body took over {} s", BODY_MAX.as_secs());
                Err(No::new(StatusCode::REQUEST_TIMEOUT, what))
            }
        }
    }

    /// Returns once every event is on disk.
    async fn store(&self, events: Vec<Event>) -> Result<(), No> {
        if events.is_empty() {
            return Ok(());
        }
        let sizes: Vec<usize> = events.iter().map(|event| event.data.len()).collect();
        let with_identity = |event: Event| {
            let identity = Identity::of_id(&event.id);
            (event, identity)
        };
        let events = events.into_iter().map(with_identity).collect();
        let verdicts = match self.inlet.settle(events).await {
            Ok(verdicts) => verdicts,
            Err(Closed) => vec![Verdict::Refused(Refusal::Closing)],
        };
        let later = |what: &str, seconds: &'static str| {
            let no = No::new(StatusCode::SERVICE_UNAVAILABLE, what);
            no.with(header::RETRY_AFTER, seconds)
        };
        let refusal = verdicts.into_iter().find_map(|verdict| match verdict {
            Verdict::Stored => None,
            Verdict::Refused(refusal) => Some(refusal),
        });
        let refused = match refusal {
            None => {
                sizes.iter().for_each(|bytes| self.metrics.accepted(*bytes));
                return Ok(());
            }
            Some(Refusal::Full) => later("the store takes no more", "10"),
            Some(Refusal::Failed) => later("the disk reported an error", "10"),
            Some(Refusal::Closing) => later("the gateway is shutting down", "2"),
        };
        sizes.iter().for_each(|_| self.metrics.refused());
        Err(refused)
    }
}

fn allowed(access: &Access, topic: &str) -> Result<(), No> {
    match access.may_publish(topic) {
        true => Ok(()),
        false => Err(No::new(
            StatusCode::FORBIDDEN,
            format!("this user may not publish to {topic:?}"),
        )),
    }
}

fn not_encoded(headers: &HeaderMap) -> Result<(), No> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            let what = "a Content-Encoding is not understood; send the body as it is";
            Err(No::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what))
        }
        _ => Ok(()),
    }
}

/// User name and password of HTTP basic (RFC 7617).
fn login(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut name = base64::decode(token.trim().as_bytes())?;
    let colon = memchr::memchr(b':', &name)?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((String::from_utf8(name).ok()?, password))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(format!("{value}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}
