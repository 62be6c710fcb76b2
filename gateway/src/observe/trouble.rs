//! What a person should look at, for as long as it lasts: raised and cleared by the room that sees
//! it, one log line and one system event per change, and a line in the status.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::{Happening, Observe, SystemEvent};

/// Troubles kept at once. Of more, the last ones are told by log and system event alone.
const TROUBLES_MAX: usize = 256;

/// What a trouble is about and of which kind it is: two of one subject stand side by side.
type Key = (String, &'static str);

/// The troubles there are.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<Key, String>>);

impl Troubles {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line each, by subject.
    pub fn lines(&self) -> Vec<String> {
        let all = self.all();
        all.iter()
            .map(|((subject, _), what)| format!("{subject}: {what}"))
            .collect()
    }
}

/// A trouble that came, or changed its words.
struct Raised<'a> {
    subject: &'a str,
    kind: &'static str,
    what: &'a str,
}

impl Happening for Raised<'_> {
    fn log(&self) {
        tracing::warn!(subject = self.subject, kind = self.kind, "{}", self.what);
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.trouble.raised",
            subject: self.subject.to_owned(),
            data: json!({ "kind": self.kind, "what": self.what }),
        })
    }
}

/// A trouble that is over.
struct Cleared<'a> {
    subject: &'a str,
    kind: &'static str,
}

impl Happening for Cleared<'_> {
    fn log(&self) {
        tracing::info!(
            subject = self.subject,
            kind = self.kind,
            "this trouble is over"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.trouble.cleared",
            subject: self.subject.to_owned(),
            data: json!({ "kind": self.kind }),
        })
    }
}

impl Observe {
    /// Raises a trouble. `subject` is what it is about, as a person calls it (`source press`,
    /// `upstream cloud`, `store`), `kind` its kind in a word, `what` what is wrong and what to do.
    /// Raised again with the same words it tells nothing.
    pub fn raise(&self, subject: &str, kind: &'static str, what: &str) {
        {
            let mut all = self.troubles.all();
            let key = (subject.to_owned(), kind);
            if all.get(&key).is_some_and(|before| before == what) {
                return;
            }
            if all.len() < TROUBLES_MAX || all.contains_key(&key) {
                all.insert(key, what.to_owned());
            }
        }
        self.emit(&Raised {
            subject,
            kind,
            what,
        });
    }

    /// Clears a trouble; one that is not there tells nothing.
    pub fn clear(&self, subject: &str, kind: &'static str) {
        let was = self.troubles.all().remove(&(subject.to_owned(), kind));
        if was.is_some() {
            self.emit(&Cleared { subject, kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_when_it_comes_when_it_changes_and_when_it_is_over() {
        let observe = Observe::default();
        let (sender, mut events) = tokio::sync::mpsc::channel(8);
        observe.route_system_events(sender);
        observe.raise("source press", "port", "the port is gone");
        observe.raise("source press", "port", "the port is gone");
        observe.raise("source press", "readings", "no reading for 60 s");
        observe.raise("source press", "port", "no permission");
        observe.clear("source press", "port");
        observe.clear("source press", "port");
        let told = std::iter::from_fn(|| events.try_recv().ok());
        let told: Vec<_> = told.map(|event| (event.kind, event.data)).collect();
        let raised = "dev.tidegate.trouble.raised";
        let expected = [
            (
                raised,
                json!({ "kind": "port", "what": "the port is gone" }),
            ),
            (
                raised,
                json!({ "kind": "readings", "what": "no reading for 60 s" }),
            ),
            (raised, json!({ "kind": "port", "what": "no permission" })),
            ("dev.tidegate.trouble.cleared", json!({ "kind": "port" })),
        ];
        assert_eq!(told, expected);
        assert_eq!(
            observe.troubles.lines(),
            ["source press: no reading for 60 s"]
        );
    }

    #[test]
    fn troubles_are_bounded() {
        let observe = Observe::default();
        for number in 0..2 * TROUBLES_MAX {
            observe.raise(&format!("device {number}"), "boot", "twice");
        }
        assert_eq!(observe.troubles.lines().len(), TROUBLES_MAX);
    }
}
