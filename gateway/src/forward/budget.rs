//! Rates as token buckets; the time comes in as a parameter.

use std::time::{Duration, Instant};

/// A bucket that fills at a rate and holds one second's worth.
#[derive(Debug, Clone)]
pub struct Budget {
    per_second: f64,
    level: f64,
    at: Instant,
}

impl Budget {
    /// A full bucket.
    pub fn new(per_second: u64, now: Instant) -> Budget {
        let per_second = per_second.max(1) as f64;
        Budget {
            per_second,
            level: per_second,
            at: now,
        }
    }

    /// How long until something may be spent; zero when it may be now.
    pub fn wait(&mut self, now: Instant) -> Duration {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + filled).min(self.per_second);
        self.at = now;
        if self.level > 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-self.level / self.per_second + 1e-3)
    }

    /// Spends; a large item may overdraw, and is paid back by waiting.
    pub fn spend(&mut self, amount: usize) {
        self.level -= amount as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_a_budget_of_100_lets_1100_through() {
        let start = crate::clock::monotonic();
        let mut budget = Budget::new(100, start);
        let mut spent = 0;
        for tick in 0..10_000 {
            while budget.wait(start + Duration::from_millis(tick)).is_zero() {
                budget.spend(1);
                spent += 1;
            }
        }
        assert!((1090..=1110).contains(&spent), "{spent}");
    }

    #[test]
    fn what_was_overdrawn_is_paid_back_by_waiting() {
        let start = crate::clock::monotonic();
        let mut budget = Budget::new(1000, start);
        assert!(budget.wait(start).is_zero());
        budget.spend(5000);
        let wait = budget.wait(start);
        assert!(
            wait > Duration::from_secs(3) && wait < Duration::from_secs(5),
            "{wait:?}"
        );
    }
}
