//! A port that brings bytes, and whether anything can be read of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::Observe;

/// Bytes that for so long were no reading are a trouble; a start in the middle of a line is not.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// So few are not.
const BYTES_MIN: u64 = 16;
/// The trouble is over when no bytes come any more for so long.
const QUIET: Duration = Duration::from_secs(600);
const KIND: &str = "readings";

/// What came over one port.
#[derive(Default)]
pub(super) struct Readings {
    bytes: AtomicU64,
    readable: AtomicU64,
    /// Since the last end of a line, where lines are read.
    unended: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// At the last look.
    bytes: u64,
    readable: u64,
    /// When bytes came that were no reading, and the count before them.
    since: Option<(Instant, u64)>,
    /// Bits per second.
    baud: u32,
    /// What was wrong with what came last.
    why: Option<String>,
}

impl Readings {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The port is open at `baud`.
    pub(super) fn opened(&self, baud: u32) {
        let mut seen = self.seen();
        (seen.baud, seen.since, seen.why) = (baud, None, None);
    }

    /// Bytes came.
    pub(super) fn bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
    }

    /// A reading was among them.
    pub(super) fn readable(&self) {
        self.readable.fetch_add(1, Ordering::Relaxed);
    }

    /// So many of them came since the last end of a line.
    pub(super) fn unended(&self, count: u64) {
        self.unended.store(count, Ordering::Relaxed);
    }

    /// Something was not.
    pub(super) fn unreadable(&self, why: &str) {
        self.seen().why = Some(why.to_owned());
    }

    /// Looks at the port of `subject`; `frames` is what its link could read.
    pub(super) fn look(
        &self,
        observe: &Observe,
        subject: &str,
        is_up: bool,
        frames: u64,
        now: Instant,
    ) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let readable = self.readable.load(Ordering::Relaxed) + frames;
        let mut seen = self.seen();
        let before = std::mem::replace(&mut seen.bytes, bytes);
        if readable > seen.readable || !is_up {
            (seen.readable, seen.since, seen.why) = (readable, None, None);
            drop(seen);
            return observe.clear(subject, KIND);
        }
        if bytes == before {
            return;
        }
        let (since, count) = *seen.since.get_or_insert((now, before));
        let (lasts, came) = (now.saturating_duration_since(since), bytes - count);
        if lasts < SILENT_AFTER || came < BYTES_MIN {
            return;
        }
        let last = match &seen.why {
            None => String::new(),
            Some(why) => format!(" The last was refused: {why}."),
        };
        let unended = self.unended.load(Ordering::Relaxed);
        let endless = match unended.min(came) {
            count if count >= BYTES_MIN => {
                format!(" No end of a line (CR or LF) is among the last {unended}.")
            }
            _ => String::new(),
        };
        let what = format!(
            "bytes come ({came} so far) and none of them can be read.{endless}{last} Compare `baud` = {} with the device's, then \
             what it speaks with the source's `type` and `format`",
            seen.baud
        );
        drop(seen);
        observe.follow(subject, KIND, &what, Some(now + QUIET));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::clock;

    #[test]
    fn a_port_that_brings_bytes_and_no_readings_is_told_until_one_comes() {
        let observe = Observe::default();
        let start = clock::monotonic();
        let port = Readings::default();
        let look = |second: u64, bytes: u64, frames: u64| {
            port.bytes(bytes);
            let now = start + Duration::from_secs(second);
            port.look(&observe, "source gps", true, frames, now);
            observe.is_raised("source gps", KIND)
        };
        port.opened(9600);
        for second in 0..60 {
            assert!(!look(second, 0, 0), "a silent port");
        }
        for second in 60..100 {
            port.readable();
            assert!(!look(second, 500, 0), "lines among noise");
        }
        for second in 100..109 {
            assert!(!look(second, 500, 0), "not yet");
        }
        port.unreadable("it is not UTF-8");
        assert!(look(110, 500, 0));
        let line = &observe.troubles.lines_at(start)[0];
        assert!(
            line.contains("9600") && line.contains("not UTF-8"),
            "{line}"
        );
        assert!(!line.contains("end of a line"), "{line}");
        port.unended(40_000);
        assert!(look(111, 500, 0));
        let line = &observe.troubles.lines_at(start)[0];
        assert!(line.contains("among the last 40000."), "{line}");
        assert!(look(111, 0, 0), "until something can be read");
        assert!(!look(112, 500, 1), "a frame");
        assert!(!look(113, 500, 1) && !look(122, 500, 1) && look(123, 500, 1));
        port.look(&observe, "source gps", false, 1, start);
        assert!(!observe.is_raised("source gps", KIND), "the port is gone");
    }
}
