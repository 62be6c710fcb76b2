//! What a person should look at, for as long as it lasts: raised and cleared by the room that sees
//! it, one log line and one system event per change, a metric, and a line in the status.

pub mod health;
pub mod slots;
pub mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::json;

use super::{Happening, Observe, SystemEvent};
use crate::time::clock;
use standing::StandingTroubles;

/// Troubles kept at once. Of more, the last ones are told by log and system event alone.
const TROUBLES_MAX: usize = 256;

/// The kind of trouble that dead letters are, until somebody has seen them.
pub const NEW_DEAD_LETTERS: &str = "new dead letters";

/// What a trouble is about and of which kind it is: two of one subject stand side by side.
type Key = (String, &'static str);

/// A trouble there is.
#[derive(Debug)]
struct Trouble {
    what: String,
    since: Instant,
    /// When it is over by itself, unless it comes again.
    until: Option<Instant>,
}

/// The troubles there are.
#[derive(Debug, Default, Clone)]
pub struct Troubles {
    raised: Arc<Mutex<BTreeMap<Key, Trouble>>>,
    standing: StandingTroubles,
}

impl Troubles {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Trouble>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line each, by subject, as they are now.
    pub fn lines(&self) -> Vec<String> {
        self.lines_at(clock::monotonic())
    }

    /// The same as they are at `now`.
    pub fn lines_at(&self, now: Instant) -> Vec<String> {
        let all = self.all();
        let lines = all.iter().map(|((subject, _), trouble)| {
            let lasts = now.saturating_duration_since(trouble.since);
            format!("{subject}: {}{}", trouble.what, lasting(lasts))
        });
        lines.collect()
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(TroubleCollector(self.clone())));
    }
}

/// ` (for 5 min)`; nothing for what has just begun.
pub fn lasting(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => String::new(),
        60..7_200 => format!(" (for {} min)", seconds / 60),
        7_200..172_800 => format!(" (for {} h)", seconds / 3_600),
        _ => format!(" (for {} days)", seconds / 86_400),
    }
}

struct TroubleCollector(Troubles);

impl fmt::Debug for TroubleCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TroubleCollector")
    }
}

impl Collector for TroubleCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (name, help) = ("trouble", "1 for each thing that a person should look at");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let mut keys: BTreeSet<Key> = self.0.standing.keys().into_iter().collect();
        keys.extend(self.0.all().keys().cloned());
        for (subject, kind) in &keys {
            let labels = [("subject", subject.as_str()), ("kind", *kind)];
            ConstGauge::new(1i64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
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
        if self.put(subject, kind, what, None) != Some(false) {
            self.tell(subject, kind, what);
        }
    }

    /// The same for words that count along: they are told when it begins, the status has the
    /// latest ones. It is over at `until`, unless it comes again.
    pub fn follow(&self, subject: &str, kind: &'static str, what: &str, until: Option<Instant>) {
        if self.put(subject, kind, what, until).is_none() {
            self.tell(subject, kind, what);
        }
    }

    fn tell(&self, subject: &str, kind: &'static str, what: &str) {
        self.emit_change(&Raised {
            subject,
            kind,
            what,
        });
    }

    /// Keeps the words; tells whether they changed, `None` where the trouble is new.
    fn put(
        &self,
        subject: &str,
        kind: &'static str,
        what: &str,
        until: Option<Instant>,
    ) -> Option<bool> {
        let mut all = self.troubles.all();
        let key = (subject.to_owned(), kind);
        if let Some(before) = all.get_mut(&key) {
            before.until = until;
            let changed = before.what != what;
            if changed {
                before.what = what.to_owned();
            }
            return Some(changed);
        }
        if all.len() < TROUBLES_MAX {
            let trouble = Trouble {
                what: what.to_owned(),
                since: clock::monotonic(),
                until,
            };
            all.insert(key, trouble);
        }
        None
    }

    /// Clears a trouble; one that is not there tells nothing.
    pub fn clear(&self, subject: &str, kind: &'static str) {
        let was = self.troubles.all().remove(&(subject.to_owned(), kind));
        if was.is_some() {
            self.emit_change(&Cleared { subject, kind });
        }
    }

    /// Clears the troubles of one kind, whatever they are about.
    pub fn clear_kind(&self, kind: &'static str) {
        self.clear_where(|(_, of), _| *of == kind);
    }

    /// Clears the troubles of one that is gone, whatever their kind.
    pub fn clear_subject(&self, subject: &str) {
        self.clear_where(|(of, _), _| *of == subject);
    }

    /// Whether a trouble is there.
    pub fn is_raised(&self, subject: &str, kind: &'static str) -> bool {
        let key = (subject.to_owned(), kind);
        self.troubles.all().contains_key(&key)
    }

    /// Lets a trouble that is there be over at `until`, unless it comes again.
    pub fn over_at(&self, subject: &str, kind: &'static str, until: Instant) {
        let key = (subject.to_owned(), kind);
        if let Some(trouble) = self.troubles.all().get_mut(&key) {
            trouble.until = Some(until);
        }
    }

    /// Clears what has not come again in its time.
    pub(super) fn clear_past(&self, now: Instant) {
        self.clear_where(|_, trouble| trouble.until.is_some_and(|until| until <= now));
    }

    fn clear_where(&self, is_over: impl Fn(&Key, &Trouble) -> bool) {
        let mut all = self.troubles.all();
        let over = all.extract_if(.., |key, trouble| is_over(key, trouble));
        let over: Vec<Key> = over.map(|(key, _)| key).collect();
        drop(all);
        for (subject, kind) in &over {
            self.emit_change(&Cleared { subject, kind });
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
        let metric = "tidegate_trouble{subject=\"source press\",kind=\"readings\"} 1\n";
        assert!(observe.metrics_text().contains(metric));
    }

    #[test]
    fn words_that_count_along_are_told_once_and_are_over_when_nothing_comes_any_more() {
        let observe = Observe::default();
        let (sender, mut events) = tokio::sync::mpsc::channel(8);
        observe.route_system_events(sender);
        let start = clock::monotonic();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let failed = |count: u64, now: u64| {
            let what = format!("{count} logins failed");
            observe.follow("source floor", "logins", &what, Some(at(now + 10)));
        };
        failed(1, 0);
        failed(2, 5);
        observe.clear_past(at(12));
        let line = ["source floor: 2 logins failed (for 11 min)"];
        assert_eq!(
            observe.troubles.lines_at(at(12)),
            line,
            "it began after the start"
        );
        observe.clear_past(at(15));
        assert!(observe.troubles.lines_at(at(15)).is_empty());
        failed(3, 20);
        observe.clear_kind("logins");
        let told = std::iter::from_fn(|| events.try_recv().ok());
        let told: Vec<_> = told.map(|event| event.kind.rsplit('.').next()).collect();
        let expected = ["raised", "cleared", "raised", "cleared"].map(Some);
        assert_eq!(told, expected);
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
