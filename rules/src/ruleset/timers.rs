//! When rules want to be woken, and for which event.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, UnixMs};

/// Timers in the order in which they fall due; of those due at one moment the one armed first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    armed: u64,
    queue: BTreeMap<(UnixMs, u64), Timer>,
}

/// A rule to be run again over an event.
#[derive(Debug)]
pub(crate) struct Timer {
    /// By its place in the set.
    pub(crate) rule: usize,
    pub(crate) event: Arc<Event>,
}

impl Timers {
    /// Wakes the rule at `due`, or as soon as possible after it.
    pub(crate) fn arm(&mut self, due: UnixMs, timer: Timer) {
        self.queue.insert((due, self.armed), timer);
        self.armed += 1;
    }

    /// When the first one falls due.
    pub(crate) fn first(&self) -> Option<UnixMs> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Takes out the first one, if it is due.
    pub(crate) fn take_due(&mut self, now: UnixMs) -> Option<Timer> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// The timers of the rules that have a place still, `moved` says which.
    pub(crate) fn carry(self, moved: impl Fn(usize) -> Option<usize>) -> Timers {
        let place = |((due, order), timer): (_, Timer)| {
            let rule = moved(timer.rule)?;
            Some(((due, order), Timer { rule, ..timer }))
        };
        Timers {
            armed: self.armed,
            queue: self.queue.into_iter().filter_map(place).collect(),
        }
    }
}
