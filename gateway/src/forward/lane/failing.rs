//! An upstream that fails over events, though it can be reached.

use super::Lane;
use crate::event::dead_letter::Cause;
use crate::forward::poison_detector::Verdict;
use crate::forward::window::InFlight;
use crate::time::clock::Now;

impl Lane {
    /// The upstream failed over these, at once. The lane pauses as for a busy one, unless others are taken: then what alone
    /// is not waits on its own.
    pub(super) fn failed(&mut self, failed: Vec<(InFlight, String, bool)>, now: Now) {
        let Some((first, _, broke)) = failed.first() else {
            return;
        };
        let in_flight = failed.len() + self.window.len();
        let refusals_max = broke.then_some(self.settings.refusals_max);
        let verdict = self.poison.failed(first.token, in_flight, refusals_max);
        for (entry, reason, _) in failed {
            match verdict {
                Verdict::Poison => self.give_up_poison(entry, &reason),
                _ if self.poison.holds(entry.token) => self.wait_alone(&entry, reason, now),
                _ => self.busy(&entry, reason, None, now),
            }
        }
    }

    /// Others go first; it is tried again ever more seldom.
    fn wait_alone(&mut self, entry: &InFlight, reason: String, now: Now) {
        self.metrics.failed(reason.clone());
        self.failed_because = reason;
        let due = now.instant + self.pause_after(entry.attempts + 1);
        self.retry(entry, entry.attempts + 1, due, entry.refusals);
    }

    /// The event that broke connections becomes a dead letter.
    pub(super) fn give_up_poison(&mut self, entry: InFlight, why: &str) {
        let reason = format!(
            "the connection broke each time this event was offered, and worked for others: {why}"
        );
        self.give_up(entry, Cause::Poison, reason, None);
    }

    /// How many events wait that the upstream fails over while it takes others, and what it said last of one.
    pub(in crate::forward) fn waiting_alone(&self) -> (usize, &str) {
        (self.poison.waiting(), &self.failed_because)
    }
}
