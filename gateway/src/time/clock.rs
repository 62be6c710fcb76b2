//! The only clock. Everything else takes the time as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_rules::event::UnixMs;

/// The wall clock in milliseconds since the Unix epoch; before 1970 it reads 0.
pub fn unix_ms() -> UnixMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as UnixMs)
}

/// The monotonic clock, for every wait, deadline and latency.
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
