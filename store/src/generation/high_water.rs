//! How far the log went as of the last rotation, opening or orderly end, outside sled: it tells an emptied directory from a
//! new one, and keeps sequences from being reused.

use crate::Sequence;
use crate::engine::disk;
use crate::format::checksummed::{verified, with_checksum};
use crate::format::varint::Reader;
use std::path::Path;

const FILE: &str = "high_water";

/// The mark kept outside sled: the newest complete generation and the sequence it began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HighWater {
    pub(crate) generation: u64,
    pub(crate) next: Sequence,
}

impl HighWater {
    pub(crate) fn save(self, dir: &Path) -> std::io::Result<()> {
        let bytes = [self.generation.to_le_bytes(), self.next.to_le_bytes()].concat();
        disk::write_atomically(&dir.join(FILE), &with_checksum(bytes))
    }

    /// `None` if there is none that can be trusted.
    pub(crate) fn load(dir: &Path) -> Option<HighWater> {
        let bytes = std::fs::read(dir.join(FILE)).ok()?;
        let mut reader = Reader::new(verified(&bytes)?);
        Some(HighWater {
            generation: reader.u64()?,
            next: reader.u64()?,
        })
    }
}
