//! Who is at the other end of the control socket, and what they may do: whoever may connect may look; only the gateway's
//! own user and root may change what it holds. The kernel says who it is, and cannot be told otherwise.

use hyper::{Method, StatusCode};
use nix::unistd::{Uid, User};
use tokio::net::UnixStream;

use crate::control::blocking::off_thread;
use crate::control::response::{self, ApiResponse};
use crate::observe::Observe;
use crate::observe::audit::who::Who;
use crate::observe::audit::{Change, What};

/// The process that connected, as the kernel knows it (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct Peer {
    uid: u32,
    pid: Option<i32>,
}

impl Peer {
    /// Who connected.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(in crate::control) fn of(stream: &UnixStream) -> std::io::Result<Peer> {
        let found = stream.peer_cred()?;
        Ok(Peer {
            uid: found.uid(),
            pid: found.pid(),
        })
    }

    /// With the user's name.
    pub(in crate::control) async fn who(self) -> Who {
        let Peer { uid, pid } = self;
        let nameless = Who::Local {
            uid,
            user: None,
            pid,
        };
        let who = off_thread(move || Who::local(uid, pid)).await;
        who.unwrap_or(nameless)
    }

    /// Whether it may do whatever it asks for.
    fn may_change(self, owner: u32) -> bool {
        self.uid == 0 || self.uid == owner
    }

    /// The answer to what this peer may not do, if it may not.
    pub(in crate::control) async fn refusal(
        self,
        method: &Method,
        path: &str,
        observe: &Observe,
    ) -> Option<ApiResponse> {
        let owner = rustix::process::geteuid().as_raw();
        if only_looks(method, path) || self.may_change(owner) {
            return None;
        }
        let who = self.who().await;
        let owner = off_thread(move || named(owner)).await.unwrap_or_default();
        let why = format!("only {owner} may do that; {who} may look");
        tracing::warn!(%who, "refused at the control socket: {method} {path}");
        let subject = format!("{method} {path}");
        let change = Change::new(What::Control, SUBJECT, "refused", &who);
        observe.refused(change.because(subject));
        Some(response::error(StatusCode::FORBIDDEN, why))
    }
}

/// What refusals are counted under.
const SUBJECT: &str = "control socket";

/// Whether a request changes nothing: what it does not know counts as a change.
fn only_looks(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
        || (*method == Method::POST && path == "/store/verify")
}

/// Who may change what a gateway of the user `uid` holds: `tidegate (uid 997), whose gateway this is, and root`
fn named(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let owner = match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("{} (uid {uid})", user.name),
        _ => format!("the user {uid}"),
    };
    format!("{owner}, whose gateway this is, and root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_connects_may_look_and_only_the_owner_and_root_may_change() {
        let looks = [
            "GET /status",
            "GET /events",
            "GET /events/follow",
            "GET /dead-letters",
            "GET /store/lanes",
            "HEAD /metrics",
            "POST /store/verify",
            "GET /what-comes-later",
        ];
        let changes = [
            "DELETE /dead-letters",
            "DELETE /dead-letters/12.0",
            "POST /dead-letters/12.0/retry",
            "POST /store/lanes/old/move",
            "DELETE /store/lanes/old",
            "POST /store/backup",
            "POST /rules/apply",
            "PUT /what-comes-later",
            "POST /store/verify/",
        ];
        let peers = |uid| Peer { uid, pid: None };
        for (requests, is_look) in [(&looks[..], true), (&changes[..], false)] {
            for request in requests {
                let (method, path) = request.split_once(' ').expect("two words");
                let method: Method = method.parse().expect("a method");
                assert_eq!(only_looks(&method, path), is_look, "{request}");
            }
        }
        for (uid, may) in [(0, true), (997, true), (1001, false), (65534, false)] {
            assert_eq!(peers(uid).may_change(997), may, "{uid}");
        }
    }
}
