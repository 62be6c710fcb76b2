//! What holds up a whole lane for a while.

use std::time::{Duration, Instant};

use super::Lane;
use crate::forward::window::InFlight;
use crate::time::clock::Now;

impl Lane {
    /// Why nothing may be offered now: `Some(None)` until something is settled,
    /// `Some(Some(time))` until then.
    pub(super) fn blocked_until(&mut self, now: Instant) -> Option<Option<Instant>> {
        let on_trial = |oldest: &InFlight| self.poison.holds(oldest.token);
        if self.window.is_full()
            || self.window.len() >= self.poison.in_flight_max()
            || self.window.oldest().is_some_and(on_trial)
        {
            return Some(None);
        }
        let pauses = [self.paused_until, self.read_again];
        let pause = pauses.into_iter().flatten().filter(|until| *until > now);
        let budgets = [self.events.ready_at(now), self.bytes.ready_at(now)];
        pause.chain(budgets.into_iter().flatten()).max().map(Some)
    }

    /// The whole lane pauses: the answer was about the upstream, not about this event.
    pub(super) fn busy(
        &mut self,
        entry: &InFlight,
        reason: String,
        retry_ms: Option<u64>,
        now: Now,
    ) {
        self.metrics.busy(reason, now.instant);
        self.acceptance.interrupted();
        let paused = self.paused_until.filter(|until| *until > now.instant);
        let asked = retry_ms.map(|ms| now.instant + Duration::from_millis(ms));
        let until = match paused {
            Some(until) => asked.map_or(until, |asked| asked.max(until)),
            None => {
                let pause = now.instant + self.busy.next(self.jitter.draw());
                asked.map_or(pause, |asked| asked.max(pause))
            }
        };
        self.paused_until = Some(until);
        self.retry(entry, entry.attempts + 1, until, entry.refusals);
    }
}
