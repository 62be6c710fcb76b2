//! What a request is answered: who may do what, what was wrong, and the verdict of the commit.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tidegate_rules::event::Event;
use tokio::sync::Semaphore;

use super::request::{self, EventRequest, RequestTarget};
use crate::event::ack::{Refusal, Verdict};
use crate::event::arrival::Identity;
use crate::event::cloudevents::{Wrong, base64};
use crate::event::inlet::{Closed, Inlet};
use crate::event::system_topic::poses_as_ours;
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::source::listener::access::TopicAccess;
use crate::source::listener::logins::Logins;
use crate::time::clock;

/// How long a body may take.
const BODY_MAX: Duration = Duration::from_secs(30);
/// Bytes of bodies being read at once, over all connections.
pub(super) const BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

type HttpResponse = Response<Full<Bytes>>;

/// What all connections of the source share.
pub(super) struct HttpEndpoint {
    pub(super) logins: Logins,
    pub(super) anonymous: bool,
    pub(super) payload_bytes_max: usize,
    pub(super) id_field: Option<String>,
    pub(super) template: Event,
    pub(super) inlet: Inlet,
    pub(super) metrics: SourceMetrics,
    pub(super) observe: Arc<Observe>,
    pub(super) bodies: Semaphore,
}

/// One connection, as far as logins go.
pub(super) struct Visit {
    peer: IpAddr,
    /// A request came without a login, as a client's first one may.
    came_without: AtomicBool,
    /// A login was right, or wrong and told.
    is_known: AtomicBool,
}

impl Visit {
    pub(super) fn of(peer: IpAddr) -> Visit {
        Visit {
            peer,
            came_without: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
        }
    }
}

/// Why a request is not taken.
struct Rejection {
    status: StatusCode,
    what: String,
    /// A header that belongs to the status.
    header: Option<(HeaderName, &'static str)>,
}

impl Rejection {
    fn new(status: StatusCode, what: impl Into<String>) -> Rejection {
        Rejection {
            status,
            what: what.into(),
            header: None,
        }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Rejection {
        Rejection {
            header: Some((name, value)),
            ..self
        }
    }
}

impl From<Wrong> for Rejection {
    fn from(wrong: Wrong) -> Rejection {
        match wrong {
            Wrong::Bad(what) => Rejection::new(StatusCode::BAD_REQUEST, what),
            Wrong::TooLarge(what) => Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, what),
        }
    }
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
                if let Some((name, value)) = rejection.header {
                    let value = HeaderValue::from_static(value);
                    response.headers_mut().insert(name, value);
                }
                response
            }
        }
    }

    /// The connection is over: one that never logged in, although it had to, is told.
    pub(super) fn ended(&self, visit: &Visit) {
        let came_without = visit.came_without.load(Ordering::Relaxed);
        if came_without && !visit.is_known.load(Ordering::Relaxed) {
            let why = "no user name and password were given";
            self.metrics.login_failed(&self.observe, visit.peer, why);
        }
    }

    async fn accept(&self, request: Request<Incoming>, visit: &Visit) -> Result<usize, Rejection> {
        let began = clock::monotonic();
        let (head, body) = request.into_parts();
        let (user, access) = self.authenticate(&head.headers, visit).await?;
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
        check_content_encoding(&head.headers)?;
        let request = EventRequest {
            target,
            headers: head.headers,
        };
        let body = self.read(&request, body).await?;
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

    /// The user of a request, and what it may do.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        visit: &Visit,
    ) -> Result<(String, TopicAccess), Rejection> {
        if self.logins.is_empty() {
            return match (self.anonymous, headers.contains_key(header::ORIGIN)) {
                (true, false) => Ok((String::new(), TopicAccess::anonymous())),
                // A web page anywhere could post to this machine through its visitor's browser.
                (true, true) => Err(Rejection::new(
                    StatusCode::FORBIDDEN,
                    "web pages may not post without a login; configure `users`",
                )),
                (false, _) => Err(Rejection::new(StatusCode::FORBIDDEN, "nobody is let in")),
            };
        }
        let refused = |what: &str| {
            let rejection = Rejection::new(StatusCode::UNAUTHORIZED, what);
            rejection.with(
                header::WWW_AUTHENTICATE,
                "Basic realm=\"tidegate\", charset=\"UTF-8\"",
            )
        };
        let Some((name, password)) = basic_credentials(headers) else {
            visit.came_without.store(true, Ordering::Relaxed);
            return Err(refused("a user name and password are needed (HTTP basic)"));
        };
        visit.is_known.store(true, Ordering::Relaxed);
        let Some(user) = self.logins.check(&name, &password).await else {
            let why = self.logins.objection(&name);
            self.metrics.login_failed(&self.observe, visit.peer, &why);
            return Err(refused("wrong user name or password"));
        };
        let access = TopicAccess::of(user, &user.name)
            .map_err(|why| Rejection::new(StatusCode::FORBIDDEN, why))?;
        Ok((user.name.clone(), access))
    }

    /// The body, as long as it is within its limit, in time, and there is memory for it.
    async fn read(&self, request: &EventRequest, body: Incoming) -> Result<Bytes, Rejection> {
        let bytes_max = request.body_bytes_max(self.payload_bytes_max);
        let too_large = || {
            let what = format!("the body is over {bytes_max} bytes, see max_payload");
            Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, what)
        };
        let announced = body.size_hint().upper().unwrap_or(bytes_max as u64);
        if announced > bytes_max as u64 {
            return Err(too_large());
        }
        let share = u32::try_from(announced).unwrap_or(u32::MAX);
        let _share = self.bodies.try_acquire_many(share).map_err(|_| {
            let what = "too many requests are being read; try again";
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, what).with(header::RETRY_AFTER, "1")
        })?;
        let whole = Limited::new(body, bytes_max).collect();
        match tokio::time::timeout(BODY_MAX, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => {
                let what = format!("the body broke off: {error}");
                Err(Rejection::new(StatusCode::BAD_REQUEST, what))
            }
            Err(_) => {
                let what = format!("the body took over {} s", BODY_MAX.as_secs());
                Err(Rejection::new(StatusCode::REQUEST_TIMEOUT, what))
            }
        }
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
        let later = |what: &str, seconds: &'static str| {
            let rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, what);
            rejection.with(header::RETRY_AFTER, seconds)
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

fn authorize(access: &TopicAccess, topic: &str) -> Result<(), Rejection> {
    match access.may_publish(topic) {
        true => Ok(()),
        false => Err(Rejection::new(
            StatusCode::FORBIDDEN,
            format!("this user may not publish to {topic:?}"),
        )),
    }
}

fn check_content_encoding(headers: &HeaderMap) -> Result<(), Rejection> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(());
    };
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    let encoding = encoding.trim();
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let what = format!(
        "Content-Encoding: {} is not understood; send the body as it is",
        encoding.escape_debug()
    );
    let rejection = Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    Err(rejection.with(header::ACCEPT_ENCODING, "identity"))
}

/// User name and password of HTTP basic (RFC 7617).
fn basic_credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
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

fn json(status: StatusCode, value: &serde_json::Value) -> HttpResponse {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
