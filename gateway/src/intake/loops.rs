//! Events that come back to the gateway that sent them out: so many passes are fine, then it is a loop, told while it
//! lasts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::event::Event;

use crate::event::way::Way;
use crate::observe::Observe;

/// How long nothing must go round before the trouble is over.
const QUIET: Duration = Duration::from_secs(600);
/// So many repetitions that went through this gateway are told.
const REPEATED_MAX: u32 = 3;
const SUBJECT: &str = "gateway";
const KIND: &str = "loop";

/// Finds events that go round.
pub(super) struct Loops {
    way: Way,
    observe: Arc<Observe>,
    /// In front of the CloudEvents source of events that bear none of their own.
    own: String,
    last: Option<Instant>,
    repeated: u32,
}

impl Loops {
    /// None so far.
    pub(super) fn new(way: Way, gateway_id: &str, observe: Arc<Observe>) -> Loops {
        Loops {
            way,
            observe,
            own: format!("{gateway_id}/"),
            last: None,
            repeated: 0,
        }
    }

    /// Why an event is not taken, where it goes round. One that bears no way gets that of what was sent just now, where
    /// that is what comes back.
    pub(super) fn objection(&mut self, event: &mut Event, now: Instant) -> Option<String> {
        let source = Arc::clone(&event.source);
        let source = source.strip_prefix(&self.own);
        if let Some(source) = source {
            self.way.recognise(event, source, now);
        }
        let why = self.way.objection(event)?;
        self.tell(event, now);
        Some(why)
    }

    /// Tells of repetitions that went through this gateway: events as they left. A single one may be a command that
    /// was sent twice.
    pub(super) fn repeated(&mut self, event: &Event, now: Instant) {
        let has_passed = self.way.has_passed(event);
        self.repeated += u32::from(has_passed);
        if has_passed && (self.repeated >= REPEATED_MAX || self.way.is_own(event)) {
            self.tell(event, now);
        }
    }

    fn tell(&mut self, event: &Event, now: Instant) {
        if self.last.replace(now).is_some() {
            return;
        }
        let source = event.source.strip_prefix(&self.own);
        let by = source.map_or_else(String::new, |source| format!(" by the source {source}"));
        let what = format!(
            "what it sends out comes in again{by}, such as {:?}; what goes round too often is set aside as a dead letter. Publish \
             under another `topic`, subscribe to less, or let rules keep apart what comes in and what goes out",
            event.topic
        );
        self.observe.raise(SUBJECT, KIND, &what);
    }

    /// Clears the trouble when nothing went round for a while.
    pub(super) fn look(&mut self, now: Instant) {
        let quiet = |last: &mut Instant| now.saturating_duration_since(*last) >= QUIET;
        if self.last.take_if(quiet).is_some() {
            self.observe.clear(SUBJECT, KIND);
            self.repeated = 0;
        }
    }
}
