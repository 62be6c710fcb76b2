//! How much may be sent per second: a bucket that fills evenly and may be overdrawn once.

use std::time::{Duration, Instant};

/// What may be saved up while there is nothing to send, as a part of a second's allowance.
const BURST_SECONDS: f64 = 0.1;

/// An allowance per second; without one it never says no.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    per_second: Option<f64>,
    left: f64,
    filled: Instant,
}

impl Budget {
    pub(super) fn new(per_second: Option<u64>, now: Instant) -> Budget {
        Budget {
            per_second: per_second.map(|rate| rate.max(1) as f64),
            left: 1.0,
            filled: now,
        }
    }

    /// Spends `amount`, whatever its size: a delivery larger than the allowance of a second
    /// must get through too, and what follows waits the longer.
    pub(super) fn spend(&mut self, amount: usize) {
        if self.per_second.is_some() {
            self.left -= amount as f64;
        }
    }

    /// When something may be sent; `None` means now.
    pub(super) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let rate = self.per_second?;
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + passed * rate).min((rate * BURST_SECONDS).max(1.0));
        self.filled = now.max(self.filled);
        // The fraction that rounding loses must not become a wait that never ends.
        if self.left > 1e-6 {
            return None;
        }
        let wait = Duration::from_secs_f64((1e-5 - self.left) / rate);
        Some(now + wait.max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends units of `size` whenever the budget allows, for ten seconds.
    fn sent_in_ten_seconds(per_second: u64, size: usize) -> usize {
        let start = crate::time::clock::monotonic();
        let mut budget = Budget::new(Some(per_second), start);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(10) {
            match budget.ready_at(now) {
                Some(later) => now = later,
                None => {
                    budget.spend(size);
                    sent += size;
                }
            }
        }
        sent
    }

    #[test]
    fn what_is_sent_in_ten_seconds_is_ten_times_the_allowance() {
        for (per_second, size) in [(1, 1), (7, 1), (1000, 1), (100_000, 1), (4000, 300)] {
            let (sent, expected) = (sent_in_ten_seconds(per_second, size), 10 * per_second);
            let burst = per_second as f64 * BURST_SECONDS + 1.0 + size as f64;
            assert!(
                (sent as f64 - expected as f64).abs() <= burst,
                "{sent} of {expected} at {per_second} by {size}"
            );
        }
    }

    #[test]
    fn a_delivery_larger_than_a_second_gets_through() {
        let sent = sent_in_ten_seconds(100, 350);
        assert!((700..=1400).contains(&sent), "{sent}");
    }

    #[test]
    fn without_an_allowance_there_is_no_limit() {
        let now = crate::time::clock::monotonic();
        let mut budget = Budget::new(None, now);
        budget.spend(usize::MAX);
        assert_eq!(budget.ready_at(now), None);
    }
}
