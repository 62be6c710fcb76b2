//! Where time comes in: the only file that reads a clock. It is the monotonic one; the time of day comes with the records.

use std::time::{Duration, Instant};

/// This moment.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What has passed since a moment.
pub(crate) fn since(moment: Instant) -> Duration {
    now().saturating_duration_since(moment)
}

/// The same in milliseconds.
pub(crate) fn millis_since(moment: Instant) -> u64 {
    u64::try_from(since(moment).as_millis()).unwrap_or(u64::MAX)
}

/// The same in microseconds.
pub(crate) fn micros_since(moment: Instant) -> u64 {
    u64::try_from(since(moment).as_micros()).unwrap_or(u64::MAX)
}
