//! Pauses between attempts: exponential with full jitter, so that a fleet does not come back in step.

use std::time::Duration;

/// Grows with each attempt, and is forgotten on success.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Pauses between `min` at first and `max` at most.
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff {
            min,
            max: max.max(min),
            attempts: 0,
        }
    }

    /// The next pause; `random` is uniform in `0.0..1.0`.
    ///
    /// Full jitter: uniform between zero and the ceiling, which doubles with each attempt
    /// (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    pub fn next(&mut self, random: f64) -> Duration {
        let ceiling = ceiling(self.min, self.max, self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }

    /// It worked: the next pause is short again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// The longest pause after `attempts` failures.
pub fn ceiling(min: Duration, max: Duration, attempts: u32) -> Duration {
    let doubled = min.saturating_mul(1u32.checked_shl(attempts.min(31)).unwrap_or(u32::MAX));
    doubled.min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_its_bound_and_is_forgotten_on_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<u128> = (0..6).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(0.5).as_millis(), 50);
    }

    #[test]
    fn a_million_attempts_do_not_overflow() {
        assert_eq!(
            ceiling(Duration::from_secs(3600), Duration::MAX, 1_000_000),
            Duration::from_secs(3600) * (1 << 31)
        );
    }
}
