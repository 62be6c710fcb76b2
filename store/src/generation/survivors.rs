//! The sequences that a rewritten generation still holds: a small file outside sled, so that a reader can tell what was let
//! go from what was lost.

use super::ranges::Ranges;
use crate::Sequence;
use crate::engine::disk;
use crate::format::checksummed::{verified, with_checksum};
use crate::format::varint::{Reader, put_varint};
use std::path::Path;

const VERSION: u8 = 1;
const FILE: &str = "kept";

/// What a rewritten generation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survivors {
    pub(crate) ranges: Ranges,
    /// First sequence behind the generation, whether or not its last records were kept.
    pub(crate) end: Sequence,
}

impl Survivors {
    /// Written last of all: with this file the generation counts.
    pub(crate) fn save(&self, generation: &Path) -> std::io::Result<()> {
        let mut out = vec![VERSION];
        self.ranges.put(&mut out);
        put_varint(&mut out, self.end);
        disk::write_atomically(&generation.join(FILE), &with_checksum(out))
    }

    /// `None` if the generation was never rewritten, or if the file cannot be trusted: then whatever is not there
    /// counts as missing.
    pub(crate) fn load(generation: &Path) -> Option<Survivors> {
        let bytes = std::fs::read(generation.join(FILE)).ok()?;
        let mut reader = Reader::new(verified(&bytes)?);
        if reader.u8()? != VERSION {
            return None;
        }
        let ranges = Ranges::take(&mut reader)?;
        let end = reader.varint()?;
        reader.is_empty().then_some(Survivors { ranges, end })
    }
}
