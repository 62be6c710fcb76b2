//! The running time, the clock that undelivered records expire by: it counts only while the store is open, so that neither a step of the
//! wall clock nor a time without power makes anything expire too early. A generation keeps its reading from the moment
//! it was sealed; what was not sealed at a crash counts as new.

use crate::engine::{clock, disk};
use crate::format::checksummed::{verified, with_checksum};
use crate::format::varint::Reader;
use std::path::Path;
use std::time::Instant;

const FILE: &str = "clock";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningTime {
    base_ms: u64,
    since: Instant,
}

impl RunningTime {
    /// Goes on from the latest reading that was kept.
    pub(crate) fn from(base_ms: u64) -> RunningTime {
        RunningTime {
            base_ms,
            since: clock::now(),
        }
    }

    /// Milliseconds that the store was open, over all its openings.
    pub(crate) fn now_ms(&self) -> u64 {
        self.base_ms.saturating_add(clock::millis_since(self.since))
    }
}

/// Keeps a reading in a generation that is sealed.
pub(crate) fn save(generation: &Path, reading_ms: u64) -> std::io::Result<()> {
    let sealed = with_checksum(reading_ms.to_le_bytes().to_vec());
    disk::write_atomically(&generation.join(FILE), &sealed)
}

/// The reading that a sealed generation keeps; `None` if there is none to be trusted.
pub(crate) fn load(generation: &Path) -> Option<u64> {
    let bytes = std::fs::read(generation.join(FILE)).ok()?;
    Reader::new(verified(&bytes)?).u64()
}
