//! Who sends a request: HTTP basic (RFC 7617) and bearer tokens (RFC 6750).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use tokio::sync::watch;

use super::rejection::Rejection;
use crate::config::User;
use crate::event::cloudevents::base64;
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::source::credentials::Credentials;
use crate::source::listener::access::TopicAccess;
use crate::source::listener::logins::Logins;

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

/// What the header `Authorization` holds.
enum Login {
    Basic { name: String, password: Vec<u8> },
    Bearer(String),
}

/// Who is let in.
pub(super) struct LoginDoor {
    pub(super) credentials: watch::Receiver<Credentials>,
    pub(super) anonymous: bool,
    pub(super) metrics: SourceMetrics,
    pub(super) observe: Arc<Observe>,
}

impl LoginDoor {
    /// The connection is over: one that never logged in, although it had to, is told.
    pub(super) fn ended(&self, visit: &Visit) {
        let came_without = visit.came_without.load(Ordering::Relaxed);
        if came_without && !visit.is_known.load(Ordering::Relaxed) {
            let why = "no user name and password were given";
            self.metrics
                .login_failed(&self.observe, visit.peer, None, why);
        }
    }

    /// The user of a request, and what it may do.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        visit: &Visit,
    ) -> Result<(String, TopicAccess), Rejection> {
        let logins = self.credentials.borrow().logins.clone();
        let Some(logins) = logins.filter(|logins| !logins.is_empty()) else {
            return match (self.anonymous, headers.contains_key(header::ORIGIN)) {
                (true, false) => Ok((String::new(), TopicAccess::anonymous())),
                // A web page anywhere could post to this machine through its visitor's browser.
                (true, true) => Err(Rejection::new(
                    StatusCode::FORBIDDEN,
                    "web pages may not post without a login; configure `users`",
                )),
                (false, _) => Err(Rejection::new(StatusCode::FORBIDDEN, "nobody is let in")),
            };
        };
        let Some(credentials) = credentials(headers) else {
            visit.came_without.store(true, Ordering::Relaxed);
            let what = match logins.take_tokens() {
                true => "a user name and password (HTTP basic) or a bearer token are needed",
                false => "a user name and password are needed (HTTP basic)",
            };
            return Err(unauthorized(&logins, what, "Bearer realm=\"tidegate\""));
        };
        visit.is_known.store(true, Ordering::Relaxed);
        let user = user(&logins, &credentials).await.map_err(|why| {
            let user = known_user(&logins, &credentials);
            self.metrics
                .login_failed(&self.observe, visit.peer, user, &why);
            let what = match credentials {
                Login::Basic { .. } => "wrong user name or password",
                Login::Bearer(_) => "wrong bearer token",
            };
            let challenge = "Bearer realm=\"tidegate\", error=\"invalid_token\"";
            unauthorized(&logins, what, challenge)
        })?;
        let access = TopicAccess::of(user, &user.name).map_err(|why| {
            let (name, told) = (&user.name, format!("user {}: {why}", user.name));
            self.metrics
                .login_failed(&self.observe, visit.peer, Some(name), &told);
            Rejection::new(StatusCode::FORBIDDEN, why)
        })?;
        Ok((user.name.clone(), access))
    }
}

/// The user that is named, if it is one of the configuration.
fn known_user<'l>(logins: &'l Logins, credentials: &Login) -> Option<&'l str> {
    let Login::Basic { name, .. } = credentials else {
        return None;
    };
    logins.user(name).map(|user| user.name.as_str())
}

/// The user, or why nobody is let in, for the log.
async fn user<'l>(logins: &'l Logins, credentials: &Login) -> Result<&'l User, String> {
    match credentials {
        Login::Basic { name, password } => {
            let user = logins.check(name, password).await;
            user.ok_or_else(|| logins.objection(name, Some(password)))
        }
        Login::Bearer(token) => logins
            .of_token(token)
            .ok_or_else(|| "the bearer token is of none of `users`".to_owned()),
    }
}

fn unauthorized(logins: &Logins, what: &str, bearer: &'static str) -> Rejection {
    let basic = "Basic realm=\"tidegate\", charset=\"UTF-8\"";
    let rejection =
        Rejection::new(StatusCode::UNAUTHORIZED, what).with(header::WWW_AUTHENTICATE, basic);
    match logins.take_tokens() {
        true => rejection.with(header::WWW_AUTHENTICATE, bearer),
        false => rejection,
    }
}

/// User name and password, or a token; none where the header is missing or is neither.
fn credentials(headers: &HeaderMap) -> Option<Login> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Login::Bearer(token.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut name = base64::decode(token.as_bytes())?;
    let colon = memchr::memchr(b':', &name)?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    // One in another encoding is a wrong name, and no missing one.
    let name = String::from_utf8_lossy(&name).into_owned();
    Some(Login::Basic { name, password })
}
