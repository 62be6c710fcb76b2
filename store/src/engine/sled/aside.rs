//! A copy of a database, for a disk that is full and for who only looks. sled writes where it opens: a snapshot, the rest
//! of its last segment. Where not even that fits, or nothing may be written, a copy is opened; it can be read, and what is
//! written to it is lost.

use crate::api::error::is_no_space;
use crate::engine::database_files::{is_beside, is_snapshot};
use crate::engine::disk;
use crate::engine::failure::EngineError;
use crate::engine::value_log;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where file systems in memory usually are. Any other disk with room will do as well.
const PLACES: [&str; 3] = ["/dev/shm", "/run", "/tmp"];
/// A larger database is not copied there.
const BYTES_MAX: u64 = 64 << 20;
/// Nor one that is only looked at, which may be on any disk.
const LOOK_BYTES_MAX: u64 = 1 << 30;
/// How their names begin.
const LOOK_NAME: &str = "tidegate-look-";
/// Where who looks has its copies, behind the folder for temporary files.
const LOOK_PLACES: [&str; 2] = ["/var/tmp", "/dev/shm"];
/// A copy this old was left by a process that was killed while it opened it.
const LEFT_AFTER: Duration = Duration::from_secs(600);
/// What sled adds to the copy when it opens it, and what others are left.
const SLACK_BYTES: u64 = 4 << 20;

/// A folder with the copy; gone when this goes. What is open of it stays.
pub(super) struct Aside(PathBuf);

impl Aside {
    /// Copies the database in `dir`.
    pub(super) fn of(dir: &Path) -> io::Result<Aside> {
        let bytes = bytes_of(dir);
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

    /// Copies the database in `dir` to look at it: to a folder that nobody else can look into, under a name of this process.
    pub(super) fn to_look(dir: &Path) -> Result<Aside, EngineError> {
        let bytes = bytes_of(dir);
        let mut places = vec![std::env::temp_dir()];
        places.extend(LOOK_PLACES.map(PathBuf::from));
        let wanted = bytes + bytes / 4 + SLACK_BYTES;
        let mut refusals = Vec::new();
        for place in &places {
            if bytes > LOOK_BYTES_MAX {
                break;
            }
            remove_left(place);
            let free = disk::free_bytes(place).unwrap_or(0);
            if free < wanted {
                refusals.push(format!("{} has {} MiB free", place.display(), free >> 20));
                continue;
            }
            match copy_to(dir, &place.join(own_name(dir)?)) {
                Ok(aside) => return Ok(aside),
                Err(Failed::Reading(error)) => return Err(unreadable(dir, &error)),
                Err(Failed::Writing(error)) => {
                    refusals.push(format!("{}: {error}", place.display()));
                }
            }
        }
        let why = match refusals.is_empty() {
            true => format!("at most {} MiB are copied", LOOK_BYTES_MAX >> 20),
            false => format!("{}; set TMPDIR to a folder with room", refusals.join(", ")),
        };
        Err(EngineError::NoSpace(format!(
            "to look at {} takes a copy of it, {} MiB: {why}",
            dir.display(),
            wanted.div_ceil(1 << 20)
        )))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }
}

fn unreadable(dir: &Path, error: &io::Error) -> EngineError {
    EngineError::Failed(format!("{} cannot be read: {error}", dir.display()))
}

/// Bytes on the disk of what is copied.
fn bytes_of(dir: &Path) -> u64 {
    let values_bytes = disk::allocated_bytes(&dir.join(value_log::FILE));
    disk::allocated_bytes(dir).saturating_sub(values_bytes)
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
    copy_to(dir, &place.join(name(dir)?)).map_err(|error| match error {
        Failed::Reading(error) | Failed::Writing(error) => error,
    })
}

/// Which of the two disks a copy failed for.
enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

fn copy_to(dir: &Path, to: &Path) -> Result<Aside, Failed> {
    if fs::symlink_metadata(to).is_ok() {
        // Left by a process that was killed while it opened the copy; somebody else's cannot be removed.
        fs::remove_dir_all(to).map_err(Failed::Writing)?;
    }
    let made = DirBuilder::new().mode(0o700).create(to);
    made.map_err(Failed::Writing)?;
    let aside = Aside(to.to_path_buf());
    fs::create_dir(aside.dir().join("blobs")).map_err(Failed::Writing)?;
    for entry in fs::read_dir(dir).map_err(Failed::Reading)? {
        let entry = entry.map_err(Failed::Reading)?;
        let kind = entry.file_type().map_err(Failed::Reading)?;
        if !kind.is_file() || is_beside(&entry.file_name()) {
            continue;
        }
        let mut from = match File::open(entry.path()) {
            // sled makes it at any time, and does without: it replays its whole log.
            Err(error) if is_closed(&error) && is_snapshot(&entry.file_name()) => continue,
            from => from.map_err(Failed::Reading)?,
        };
        let to = aside.dir().join(entry.file_name());
        let mut to = File::create(to).map_err(Failed::Writing)?;
        io::copy(&mut from, &mut to).map_err(|error| match is_no_space(&error) {
            true => Failed::Writing(error),
            false => Failed::Reading(error),
        })?;
    }
    Ok(aside)
}

fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// The same for every process that opens this database: the store's lock lets one at a time.
fn name(dir: &Path) -> io::Result<String> {
    let path = dir.canonicalize()?;
    let sum = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
    let own = dir.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("tidegate-{sum:08x}-{own}"))
}

/// One of this process alone: several may look at once.
fn own_name(dir: &Path) -> Result<String, EngineError> {
    let name = name(dir).map_err(|error| unreadable(dir, &error))?;
    Ok(format!("{LOOK_NAME}{}-{name}", std::process::id()))
}

/// Removes from `place` what processes left there that were killed while they opened a copy.
fn remove_left(place: &Path) {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(LOOK_NAME));
    for entry in ours {
        let made = entry.metadata().and_then(|found| found.modified());
        let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age >= LEFT_AFTER));
        if is_old {
            // Somebody else's stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
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
