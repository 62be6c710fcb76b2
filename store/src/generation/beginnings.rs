//! The blocks of a sealed generation once more, in a file beside its database: written where nearly all of its bytes are
//! in the value log, so that it is small against them. An opening reads from it what the records are about; opening the
//! database for that would cost two syncs and half a MiB of writing each, for sled writes where it opens.
//!
//! ```text
//! beginnings  version u8 = 1 · first varint · end varint · entries · crc32c u32 of everything before
//! entry       length of key varint · key · length of value varint · value
//! ```
//!
//! It is not synced, and each block has a checksum of its own: where the file is not there as it was written, or ends
//! elsewhere than its generation, the database is read.

use super::summary::Summary;
use crate::Sequence;
use crate::engine::database_files;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::format::checksummed::{verified, with_checksum};
use crate::format::varint::{Reader, put_varint};
use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;

/// Its name in the directory of the generation.
const FILE: &str = database_files::BEGINNINGS;
const VERSION: u8 = 1;
/// Written if it takes no more than one byte for so many of the value log.
const VALUE_BYTES_EACH: u64 = 16;
/// Nor more than this: it is held in memory while it is written and read.
const BYTES_MAX: u64 = 4 << 20;
const CHECKSUM_BYTES: usize = 4;

/// See the module.
pub(crate) struct Beginnings {
    bytes: Vec<u8>,
    /// Where the entries are.
    entries: Range<usize>,
}

impl Beginnings {
    /// Writes the file of a generation that takes no more records, if it pays. Without it all goes on, more slowly.
    pub(crate) fn save(engine: &Engine, summary: &Summary) {
        let value_bytes = engine.values().end();
        let block_bytes = summary.payload_bytes.saturating_sub(value_bytes);
        if block_bytes > BYTES_MAX || block_bytes.saturating_mul(VALUE_BYTES_EACH) > value_bytes {
            return;
        }
        let path = engine.dir().join(FILE);
        let written = encode(engine, summary)
            .and_then(|bytes| fs::write(&path, bytes).map_err(EngineError::from));
        if written.is_err() {
            let _ = fs::remove_file(path);
        }
    }

    /// That of the generation in `dir` with these sequences; `None` if there is none that can be trusted.
    pub(crate) fn load(dir: &Path, first: Sequence, end: Sequence) -> Option<Beginnings> {
        let path = dir.join(FILE);
        // Twice as much, for keys and lengths.
        if path.metadata().ok()?.len() > 2 * BYTES_MAX {
            return None;
        }
        let bytes = fs::read(path).ok()?;
        let mut reader = Reader::new(verified(&bytes)?);
        let found = (reader.u8()?, reader.varint()?, reader.varint()?);
        if found != (VERSION, first, end) {
            return None;
        }
        let end = bytes.len() - CHECKSUM_BYTES;
        let entries = end - reader.remaining()..end;
        Some(Beginnings { bytes, entries })
    }

    /// Visits blocks in order, from the one holding `from`, with their parts.
    pub(crate) fn blocks(
        &self,
        from: Sequence,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let is_behind = |key: &[u8]| match <[u8; 8]>::try_from(key) {
            Ok(first) => Sequence::from_be_bytes(first) > from,
            Err(_) => false,
        };
        let mut start = Reader::new(self.bytes.get(self.entries.clone()).unwrap_or_default());
        let mut reader = start.clone();
        loop {
            let before = reader.clone();
            match entry(&mut reader) {
                Some((key, _)) if is_behind(key) => break,
                Some((key, _)) if key.len() == size_of::<Sequence>() => start = before,
                Some(_) => {}
                None => break,
            }
        }
        let mut reader = start;
        while let Some((key, value)) = entry(&mut reader) {
            if visit(key, value).is_break() {
                return;
            }
        }
    }
}

fn encode(engine: &Engine, summary: &Summary) -> Result<Vec<u8>, EngineError> {
    let mut out = vec![VERSION];
    put_varint(&mut out, summary.first);
    put_varint(&mut out, summary.end);
    engine.blocks(summary.first, |key, value| {
        for bytes in [key, value] {
            put_varint(&mut out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        ControlFlow::Continue(())
    })?;
    Ok(with_checksum(out))
}

/// The next key and value.
fn entry<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut bytes = || {
        let length = usize::try_from(reader.varint()?).ok()?;
        reader.take(length)
    };
    Some((bytes()?, bytes()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequences 3 to 300: a block of 3, one of 5 with a part, one of 7.
    const FROZEN: &[u8] = b"\x01\x03\xac\x02\
        \x08\0\0\0\0\0\0\0\x03\x02ab\
        \x08\0\0\0\0\0\0\0\x05\x01c\
        \x0c\0\0\0\0\0\0\0\x05\0\0\0\0\x03def\
        \x08\0\0\0\0\0\0\0\x07\x00";

    #[test]
    fn a_frozen_file_is_read_from_the_block_that_holds_the_sequence() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), with_checksum(FROZEN.to_vec())).unwrap();
        for (first, end) in [(3, 301), (4, 300), (0, 300)] {
            assert!(Beginnings::load(dir.path(), first, end).is_none());
        }
        let found = Beginnings::load(dir.path(), 3, 300).unwrap();
        for (from, expected) in [
            (0, "ab c def"),
            (3, "ab c def"),
            (4, "ab c def"),
            (5, "c def"),
            (6, "c def"),
            (7, ""),
            (299, ""),
        ] {
            let mut values = String::new();
            found.blocks(from, |_, value| {
                values.push_str(std::str::from_utf8(value).unwrap());
                values.push(' ');
                ControlFlow::Continue(())
            });
            assert_eq!(values.trim_end(), expected, "from {from}");
        }
    }
}
