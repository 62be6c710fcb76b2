//! How long acks took lately.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// The latest ack latencies of all sensors together.
#[derive(Debug, Default)]
pub(super) struct AckLatency(Mutex<VecDeque<Duration>>);

/// How many are kept.
const KEPT_MAX: usize = 4096;

impl AckLatency {
    /// Adds one.
    pub(super) fn add(&self, took: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        kept.push_back(took);
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }

    /// Median and 99th percentile of what is kept; zero where nothing is.
    pub(super) fn percentiles(&self) -> (Duration, Duration) {
        let kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let mut sorted: Vec<Duration> = kept.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let place = sorted.len().saturating_sub(1) * percent / 100;
            sorted.get(place).copied().unwrap_or_default()
        };
        (at(50), at(99))
    }
}
