//! Who changed what: rules, configuration, secrets, lanes and dead letters, and who was not let in. Each
//! change is one log line and one system event, all of one shape:
//!
//! ```json
//! { "action": "changed", "who": { "by": "file", "path": "rules" },
//!   "before": "9f86d081884c7d65", "after": "60303ae22b998861",
//!   "count": 1, "to": null, "why": null, "others": [] }
//! ```
//!
//! The type says what it is about (`dev.tidegate.audit.rules`), the subject which one. Refusals are
//! bounded: a flood of them is told by its count ([`refusals`]).

pub mod digest;
pub mod refusals;
pub mod who;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::log::repeats::always;
use super::{Happening, Observe, SystemEvent};
use crate::time::clock::{self, Now};
use digest::Digest;
use who::Who;

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The set of rules in force.
    Rules,
    /// The configuration in force.
    Configuration,
    /// A file with a password, token, hash, key or certificate in force.
    Secret,
    /// What waits behind the name of an upstream.
    Lane,
    /// Events that were set aside.
    DeadLetters,
    /// A client of a source.
    Login,
    /// A request at the control socket.
    Control,
}

impl What {
    /// The type of its system events.
    pub fn kind(self) -> &'static str {
        match self {
            What::Rules => "dev.tidegate.audit.rules",
            What::Configuration => "dev.tidegate.audit.configuration",
            What::Secret => "dev.tidegate.audit.secret",
            What::Lane => "dev.tidegate.audit.lane",
            What::DeadLetters => "dev.tidegate.audit.dead_letters",
            What::Login => "dev.tidegate.audit.login",
            What::Control => "dev.tidegate.audit.control",
        }
    }

    /// What people call it.
    fn word(self) -> &'static str {
        match self {
            What::Rules => "rules",
            What::Configuration => "configuration",
            What::Secret => "secret",
            What::Lane => "lane",
            What::DeadLetters => "dead letters",
            What::Login => "login at source",
            What::Control => "request",
        }
    }
}

/// One change that was made, or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is about.
    pub what: What,
    /// Which one: a file, a lane, a dead letter, a source.
    pub subject: String,
    /// What was done, in a word or two: `changed`, `dropped`, `sent again`, `moved`, `refused`.
    pub action: String,
    /// Who did it.
    pub who: Who,
    /// What was in force before.
    pub before: Option<Digest>,
    /// What is in force now.
    pub after: Option<Digest>,
    /// Of how many: events, dead letters, refusals.
    pub count: u64,
    /// Where it went.
    pub to: Option<String>,
    /// Why it was refused.
    pub why: Option<String>,
    /// Of several in one: others that it was about or came from, the first ones.
    pub others: Vec<String>,
}

/// A change that somebody waits for.
#[derive(Debug)]
pub struct Awaited {
    /// What was changed.
    pub change: Change,
    /// Told when that is on disk.
    pub done: oneshot::Sender<()>,
}

impl Change {
    /// One of one, without digests.
    pub fn new(what: What, subject: impl Into<String>, action: &str, who: &Who) -> Change {
        Change {
            what,
            subject: subject.into(),
            action: action.to_owned(),
            who: who.clone(),
            before: None,
            after: None,
            count: 1,
            to: None,
            why: None,
            others: Vec::new(),
        }
    }

    /// The same of `count`.
    #[must_use]
    pub fn of(mut self, count: u64) -> Change {
        self.count = count;
        self
    }

    /// The same with where it went.
    #[must_use]
    pub fn to(mut self, to: impl Into<String>) -> Change {
        self.to = Some(to.into());
        self
    }

    /// The same with why.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Change {
        self.why = Some(why.into());
        self
    }
}

impl Happening for Change {
    fn log(&self) {
        let or_none = |digest: &Option<Digest>| digest.as_ref().map(ToString::to_string);
        let to = self.to.as_ref().map(|to| format!(" to {to}"));
        let why = self.why.as_ref().map(|why| format!(": {why}"));
        tracing::info!(
            who = %self.who,
            before = or_none(&self.before),
            after = or_none(&self.after),
            count = self.count,
            "audit: {} {} {}{}{}",
            self.what.word(),
            self.subject,
            self.action,
            to.unwrap_or_default(),
            why.unwrap_or_default()
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: self.what.kind(),
            subject: self.subject.clone(),
            data: json!({
                "action": self.action,
                "who": self.who,
                "before": self.before,
                "after": self.after,
                "count": self.count,
                "to": self.to,
                "why": self.why,
                "others": self.others,
            }),
        })
    }
}

/// A change whose log line is written elsewhere, or counted with others there.
struct Unlogged<'a>(&'a Change);

impl Happening for Unlogged<'_> {
    fn log(&self) {}

    fn system_event(&self) -> Option<SystemEvent> {
        self.0.system_event()
    }
}

impl Observe {
    /// Tells that `what` was changed by `who`: `subject` was `before` and is `after` from now on.
    pub fn audit(
        &self,
        what: What,
        subject: &str,
        who: &Who,
        before: Option<Digest>,
        after: Option<Digest>,
    ) {
        self.audited(&Change {
            before,
            after,
            ..Change::new(what, subject, "changed", who)
        });
    }

    /// Tells of a change. What repeats is told all the same: each is a change of its own.
    pub fn audited(&self, change: &Change) {
        always(|| self.emit(change));
    }

    /// The same, and returns when it is on disk: for what somebody waits for. Many of them in a row may repeat each other in
    /// the log, which counts them.
    pub async fn audited_surely(&self, change: &Change) {
        if let Some(sender) = self.changes.get() {
            let (done, is_done) = oneshot::channel();
            let change = change.clone();
            if sender.send(Awaited { change, done }).await.is_ok() && is_done.await.is_ok() {
                return;
            }
        }
        // Nobody takes them: the gateway is stopping.
        self.emit(change);
    }

    /// Who takes the changes that somebody waits for from now on; set once.
    pub fn route_changes(&self, sender: mpsc::Sender<Awaited>) {
        let _ = self.changes.set(sender);
    }

    /// Tells of what was refused, and counts what comes too often. The log line is the caller's.
    pub fn refused(&self, change: Change) {
        let told = self.refusals().refused(change, clock::monotonic());
        if let Some(change) = told {
            self.emit(&Unlogged(&change));
        }
    }

    /// Tells what was only counted, where its time has come.
    pub(super) fn look_at_refusals(&self, now: Now) {
        let due = self.refusals().due(now.instant);
        due.iter().for_each(|change| self.emit(&Unlogged(change)));
    }

    /// Tells all that was only counted: the gateway stops.
    pub fn tell_refusals(&self) {
        let rest = self.refusals().rest();
        rest.iter().for_each(|change| self.emit(&Unlogged(change)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_one_event_of_one_shape() {
        let observe = Observe::default();
        let (sender, mut events) = tokio::sync::mpsc::channel(16);
        observe.route_system_events(sender);
        let root = Who::Local {
            uid: 0,
            user: Some("root".to_owned()),
            pid: Some(7),
        };
        let file = Who::file("rules");
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let both = (Some(one.clone()), Some(two));
        observe.audit(What::Rules, "rules", &file, both.0.clone(), both.1.clone());
        observe.audit(What::Rules, "rules", &file, both.0, both.1);
        observe.audit(
            What::Secret,
            "cloud.password",
            &Who::signal("SIGHUP"),
            None,
            Some(one),
        );
        observe.audited(
            &Change::new(What::Lane, "old", "moved", &root)
                .of(12)
                .to("cloud"),
        );
        let client = Who::client([10, 0, 0, 7].into(), Some("press"));
        let login = Change::new(What::Login, "floor", "refused", &client);
        observe.refused(login.because("wrong password"));
        let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        let kinds: Vec<_> = told.iter().map(|event| event.kind).collect();
        let audit = |of: &str| format!("dev.tidegate.audit.{of}");
        assert_eq!(
            kinds,
            ["rules", "rules", "secret", "lane", "login"].map(audit)
        );
        let members = |event: &SystemEvent| {
            let members = event.data.as_object().expect("an object");
            members.keys().cloned().collect::<Vec<_>>()
        };
        assert!(told.iter().all(|event| members(event) == members(&told[0])));
        let (lane, login) = (&told[3].data, &told[4].data);
        assert_eq!(
            lane["who"],
            json!({ "by": "local", "uid": 0, "user": "root", "pid": 7 })
        );
        assert_eq!((&lane["count"], &lane["to"]), (&json!(12), &json!("cloud")));
        let who = json!({ "by": "client", "address": "10.0.0.7", "user": "press" });
        assert_eq!(login["who"], who);
    }
}
