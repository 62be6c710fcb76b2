//! A copy of a database in memory, for a disk that is full. sled writes where it opens: a snapshot, the rest of its last
//! segment. Where not even that fits, a copy is opened; it can be read, and what is written to it is lost.

use crate::engine::database_files::is_beside;
use crate::engine::disk;
use crate::engine::value_log;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where file systems in memory usually are. Any other disk with room will do as well.
const PLACES: [&str; 3] = ["/dev/shm", "/run", "/tmp"];
/// A larger database is not copied.
const BYTES_MAX: u64 = 64 << 20;
/// What sled adds to the copy when it opens it, and what others are left.
const SLACK_BYTES: u64 = 4 << 20;

/// A folder with the copy; gone when this goes. What is open of it stays.
pub(super) struct Aside(PathBuf);

impl Aside {
    /// Copies the database in `dir`.
    pub(super) fn of(dir: &Path) -> io::Result<Aside> {
        let values_bytes = disk::allocated_bytes(&dir.join(value_log::FILE));
        let bytes = disk::allocated_bytes(dir).saturating_sub(values_bytes);
        if bytes > BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut found = Err(io::ErrorKind::StorageFull.into());
        for place in PLACES.map(Path::new) {
            let has_room = disk::free_bytes(place).is_ok_and(|free| free >= bytes + SLACK_BYTES);
            if has_room && !on_one_disk(place, dir) {
                found = copy(dir, place);
            }
            if found.is_ok() {
                break;
            }
        }
        found
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn on_one_disk(place: &Path, dir: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    device(place) == device(dir)
}

fn copy(dir: &Path, place: &Path) -> io::Result<Aside> {
    let to = place.join(name(dir)?);
    if fs::symlink_metadata(&to).is_ok() {
        // Left by a process that was killed while it opened the copy; somebody else's cannot be removed.
        fs::remove_dir_all(&to)?;
    }
    DirBuilder::new().mode(0o700).create(&to)?;
    let aside = Aside(to);
    fs::create_dir(aside.dir().join("blobs"))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && !is_beside(&entry.file_name()) {
            fs::copy(entry.path(), aside.dir().join(entry.file_name()))?;
        }
    }
    Ok(aside)
}

/// The same for every process that opens this database: the store's lock lets one at a time.
fn name(dir: &Path) -> io::Result<String> {
    let path = dir.canonicalize()?;
    let sum = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
    let own = dir.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("tidegate-{sum:08x}-{own}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_whole_and_goes_with_its_owner() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::write(dir.path().join("db"), b"bytes").unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        let copied = || copy(dir.path(), Path::new("/dev/shm")).unwrap();
        // As after a kill: the second one replaces what the first one left.
        std::mem::forget(copied());
        let aside = copied();
        let path = aside.dir().to_path_buf();
        assert_eq!(fs::read(path.join("db")).unwrap(), b"bytes");
        drop(aside);
        assert!(!path.exists());
        assert_eq!(fs::read(dir.path().join("db")).unwrap(), b"bytes");
    }
}
