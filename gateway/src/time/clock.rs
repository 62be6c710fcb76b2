//! The only clock. Main loops, requests and collectors of metrics read it and hand the time on.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_rules::event::UnixMs;

/// The wall clock in milliseconds since the Unix epoch; before 1970 it reads 0.
pub fn unix_ms() -> UnixMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as UnixMs)
}

/// Whether the wall clock shows a year of four digits, as dates of HTTP do: the server panics beyond.
pub fn is_before_year_10000() -> bool {
    const YEAR_9999: UnixMs = 253_370_764_800_000;
    unix_ms() < YEAR_9999
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// On the monotonic clock.
    pub instant: std::time::Instant,
    /// On the wall clock.
    pub unix_ms: UnixMs,
}

/// Reads both clocks.
pub fn now() -> Now {
    Now {
        instant: monotonic(),
        unix_ms: unix_ms(),
    }
}

/// The monotonic clock, for every wait, deadline and latency.
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
