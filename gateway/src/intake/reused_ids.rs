//! Senders that give one id to different events: told while it lasts, once per source.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::event::Event;

use crate::observe::Observe;

/// How long no id of a source must be given twice before its trouble is over.
const QUIET: Duration = Duration::from_secs(600);
const KIND: &str = "ids";

/// The sources that such events come in by.
pub(super) struct ReusedIds {
    observe: Arc<Observe>,
    /// When the last one was noticed; `None` until the next look at the clock.
    last: HashMap<Arc<str>, Option<Instant>>,
}

impl ReusedIds {
    /// None so far.
    pub(super) fn new(observe: Arc<Observe>) -> ReusedIds {
        ReusedIds {
            observe,
            last: HashMap::new(),
        }
    }

    /// The sender of an event gave the id of another one, and the event came in by `source`.
    pub(super) fn tell(&mut self, source: &Arc<str>, event: &Event) {
        if self.last.insert(Arc::clone(source), None).is_some() {
            return;
        }
        let what = format!(
            "different events come under one id, such as {:?} on {:?}; none is lost: they are stored under ids of the \
             gateway's own, with the sender's in `senderid`. Mend what gives the ids, or the source's `id_field` or \
             `publisher`",
            event.id, event.topic
        );
        self.observe.raise(&subject(source), KIND, &what);
    }

    /// Clears what has not happened for a while.
    pub(super) fn look(&mut self, now: Instant) {
        let observe = &self.observe;
        self.last.retain(|source, last| {
            let last = *last.get_or_insert(now);
            let lasts = now.saturating_duration_since(last) < QUIET;
            if !lasts {
                observe.clear(&subject(source), KIND);
            }
            lasts
        });
    }
}

/// The source as a person calls it.
fn subject(source: &str) -> String {
    format!("source {}", source.rsplit('/').next().unwrap_or_default())
}
