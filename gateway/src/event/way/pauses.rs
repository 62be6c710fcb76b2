//! When an upstream may be looked into again at which nothing went round: each time it is left alone for twice as long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_secs(60);
/// And the longest.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

/// The pauses, by upstream.
#[derive(Debug, Default)]
pub(super) struct Pauses(HashMap<Arc<str>, Pause>);

impl Pauses {
    /// Whether the upstream is left alone.
    pub(super) fn holds(&self, upstream: &str, now: Instant) -> bool {
        self.0.get(upstream).is_some_and(|pause| pause.until > now)
    }

    /// Nothing went round there.
    pub(super) fn begin(&mut self, upstream: &str, now: Instant) {
        let before = self.0.get(upstream).map(|pause| pause.length * 2);
        let length = before.unwrap_or(PAUSE_MIN).min(PAUSE_MAX);
        let until = now + length;
        self.0.insert(upstream.into(), Pause { until, length });
    }
}
