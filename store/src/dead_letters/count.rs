//! How many dead letters there must be at least: a small file beside their database.
//!
//! sled takes damage at the end of its log for a torn write and drops what follows without a word. The log of events
//! has its sequences to show that; the dead letters have this count.
//!
//! ```text
//! count u64 LE · crc32c u32 LE of it
//! ```
//!
//! The count is never too high, whatever a power cut leaves: it is raised after a dead letter is durable, and lowered, durably,
//! before one is removed.

use crate::engine::disk;
use crate::format::checksummed::{verified, with_checksum};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const FILE: &str = "count";

/// What was noted; `None` if nothing was, or if it cannot be read.
pub(crate) fn noted(dir: &Path) -> Option<u64> {
    let bytes = std::fs::read(dir.join(FILE)).ok()?;
    let count = verified(&bytes)?.try_into().ok()?;
    Some(u64::from_le_bytes(count))
}

/// Notes that dead letters have come. What fails here leaves the lower count, or none.
pub(crate) fn raise(dir: &Path, count: u64) {
    let _ = write(dir, count);
}

/// Notes that one will go.
pub(crate) fn lower(dir: &Path, count: u64) -> io::Result<()> {
    write(dir, count)?.sync_data()
}

fn write(dir: &Path, count: u64) -> io::Result<File> {
    let path = dir.join(FILE);
    let is_new = !path.exists();
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)?;
    if is_new {
        disk::share(&path);
    }
    file.write_all_at(&with_checksum(count.to_le_bytes().to_vec()), 0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_comes_back_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(noted(dir.path()), None);
        raise(dir.path(), 700);
        assert_eq!(noted(dir.path()), Some(700));
        lower(dir.path(), 699).unwrap();
        assert_eq!(noted(dir.path()), Some(699));
        let mut bytes = std::fs::read(dir.path().join(FILE)).unwrap();
        bytes[0] ^= 1;
        std::fs::write(dir.path().join(FILE), bytes).unwrap();
        assert_eq!(noted(dir.path()), None);
    }
}
