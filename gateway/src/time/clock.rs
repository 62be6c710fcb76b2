//! The only clock. Main loops, requests and collectors of metrics read it and hand the time on.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_rules::event::UnixMs;

/// Seconds since the Unix epoch at which this program was built: a wall clock that is behind that is wrong.
pub const BUILT_UNIX_S: &str = env!("TIDEGATE_BUILT_UNIX_S");

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

/// Which boot of the machine this is, and the time since: no program's end and no step of the wall clock changes either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Boot {
    /// Drawn at random at each boot.
    pub id: u64,
    /// Milliseconds since then, asleep or not.
    pub since_ms: u64,
}

/// The boot that this is, where the kernel tells.
pub fn boot() -> Option<Boot> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .collect();
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).ok()?;
    let ms = u64::try_from(since.tv_nsec / 1_000_000).ok()?;
    Some(Boot {
        id: u64::from_str_radix(&digits, 16).ok()?,
        since_ms: seconds.saturating_mul(1000).saturating_add(ms),
    })
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
