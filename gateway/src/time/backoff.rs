//! How long to wait before trying again: exponential with full jitter, pure.
//!
//! Each pause is drawn evenly between zero and a ceiling that doubles with every attempt, so
//! that a thousand gateways which lost the same broker do not come back at the same moment.

use std::time::Duration;

/// Counts attempts and gives the pause before the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// The first pause stays below `min`, no pause exceeds `max`.
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff {
            min,
            max,
            attempts: 0,
        }
    }

    /// The next pause. `random` is drawn evenly over all of `u64`.
    pub fn next(&mut self, random: u64) -> Duration {
        let pause = full_jitter(ceiling(self.min, self.max, self.attempts), random);
        self.attempts = self.attempts.saturating_add(1);
        pause
    }

    /// Counts `attempts` as made, without a pause for them.
    pub fn skip(&mut self, attempts: u32) {
        self.attempts = self.attempts.saturating_add(attempts);
    }

    /// Attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// It worked: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Draws for pauses; the same seed gives the same draws.
#[derive(Debug, Clone)]
pub struct Jitter(fastrand::Rng);

impl Jitter {
    /// Draws that follow from `seed`.
    pub fn seeded(seed: u64) -> Jitter {
        Jitter(fastrand::Rng::with_seed(seed))
    }

    /// The next draw, evenly over all of `u64`.
    pub fn draw(&mut self) -> u64 {
        self.0.u64(..)
    }
}

/// The longest pause before attempt `attempts` (counted from 0).
pub fn ceiling(min: Duration, max: Duration, attempts: u32) -> Duration {
    let factor = 1u32.checked_shl(attempts).unwrap_or(u32::MAX);
    min.saturating_mul(factor).min(max)
}

/// A pause drawn evenly between zero and `ceiling`. `random` is drawn evenly over all of `u64`.
pub fn full_jitter(ceiling: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
    let drawn = (u128::from(nanos) * u128::from(random)) >> 64;
    Duration::from_nanos(drawn as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(250);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let ceilings: Vec<_> = (0..9)
            .map(|attempts| ceiling(MIN, MAX, attempts).as_millis())
            .collect();
        assert_eq!(
            ceilings,
            [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
        assert_eq!(ceiling(MIN, MAX, u32::MAX), MAX);
    }

    #[test]
    fn a_success_makes_the_next_pause_short_again() {
        let mut backoff = Backoff::new(MIN, MAX);
        (0..10).for_each(|_| assert!(backoff.next(u64::MAX) <= MAX));
        assert_eq!(backoff.attempts(), 10);
        backoff.reset();
        assert!(backoff.next(u64::MAX) <= MIN);
    }

    /// The largest distance between the drawn pauses and an even spread stays below what chance
    /// allows once in a thousand runs (Kolmogorov–Smirnov).
    #[test]
    fn pauses_are_spread_evenly_from_zero_to_the_ceiling() {
        const DRAWS: usize = 10_000;
        let mut random = fastrand::Rng::with_seed(7);
        let mut pauses: Vec<f64> = (0..DRAWS)
            .map(|_| full_jitter(MAX, random.u64(..)).as_secs_f64() / MAX.as_secs_f64())
            .collect();
        pauses.sort_by(f64::total_cmp);
        let distance = pauses.iter().enumerate().fold(0.0f64, |worst, (n, pause)| {
            let (before, after) = (n as f64 / DRAWS as f64, (n + 1) as f64 / DRAWS as f64);
            worst.max((pause - before).abs()).max((after - pause).abs())
        });
        assert!(distance < 1.95 / (DRAWS as f64).sqrt(), "{distance}");
    }
}
