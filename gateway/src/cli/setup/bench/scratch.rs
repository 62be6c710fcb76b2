//! The folder of a bench: locked while it is used, removed at the end.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::cli::Failure;
use crate::cli::terminal::figures;

const PREFIX: &str = "tidegate-bench-";
const LOCK: &str = "lock";
/// Room that a bench needs: its store, what that keeps in reserve, and a little for others.
const FREE_BYTES_MIN: u64 = 112 << 20;
/// Bytes of its store.
const STORE_BYTES_MAX: u64 = 64 << 20;
const STORE_BYTES_MIN: u64 = 16 << 20;

/// See the module.
pub(super) struct Scratch {
    dir: PathBuf,
    /// Bytes that the store in it may have.
    store_bytes: u64,
    _lock: File,
}

impl Scratch {
    /// A new one in `folder`, from which what other benches left is removed.
    ///
    /// # Errors
    /// What keeps it from being made, and what to do; or another bench runs there.
    pub(super) fn create(folder: &Path) -> Result<Scratch, Failure> {
        let shown = folder.display();
        if !folder.is_dir() {
            return Err(Failure::new(match folder.exists() {
                true => format!("{shown} is no folder; name one with --data-dir"),
                false => format!(
                    "there is no {shown}; make it (`mkdir -p {shown}`), or name another one with --data-dir"
                ),
            }));
        }
        remove_leftovers(folder)?;
        let free = free_bytes(folder);
        if free < FREE_BYTES_MIN {
            return Err(Failure::new(format!(
                "{shown} has {} free, and a bench needs {}; make room, or measure another folder of the same disk",
                figures::size(free),
                figures::size(FREE_BYTES_MIN)
            )));
        }
        let dir = folder.join(format!("{PREFIX}{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|error| cannot_write(folder, &error))?;
        let locked = File::create(dir.join(LOCK)).and_then(|lock| {
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok(lock)
        });
        match locked {
            Ok(lock) => Ok(Scratch {
                dir,
                store_bytes: (free / 2).clamp(STORE_BYTES_MIN, STORE_BYTES_MAX),
                _lock: lock,
            }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&dir);
                Err(cannot_write(folder, &error))
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// Bytes that a store in it may have.
    pub(super) fn store_bytes(&self) -> u64 {
        self.store_bytes
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!(
                "tidegate: {} cannot be removed: {error}; the next bench there does it, or `rm -r` it",
                self.dir.display()
            );
        }
    }
}

/// Removes what benches left that were killed.
fn remove_leftovers(folder: &Path) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| cannot_write(folder, &error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let of_bench = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_number = of_bench.is_some_and(|rest| rest.parse::<u32>().is_ok());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_number || !is_folder {
            continue;
        }
        let left = entry.path();
        let is_used = File::open(left.join(LOCK))
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err());
        if is_used {
            return Err(Failure::new(format!(
                "another bench runs in {}; two at a time would measure each other",
                folder.display()
            )));
        }
        if let Err(error) = std::fs::remove_dir_all(&left) {
            eprintln!(
                "tidegate: {}, which a bench left, cannot be removed: {error}",
                left.display()
            );
        }
    }
    Ok(())
}

fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn cannot_write(folder: &Path, error: &std::io::Error) -> Failure {
    let shown = folder.display();
    let what = match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "run this as the user whose it is (`sudo -u USER tidegate bench --data-dir {shown}`), or as root"
        ),
        ErrorKind::ReadOnlyFilesystem => {
            "mount it for writing (`mount -o remount,rw`), or name another folder with --data-dir"
                .to_owned()
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room".to_owned(),
        _ => "name another folder with --data-dir".to_owned(),
    };
    Failure::new(format!("{shown} cannot be used: {error}; {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_removed_and_what_is_used_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = folder.path().join("tidegate-bench-1");
        let other = folder.path().join("tidegate-bench-notes");
        for path in [&left, &other] {
            std::fs::create_dir(path).expect("a folder");
        }
        File::create(left.join(LOCK)).expect("room");
        let scratch = Scratch::create(folder.path()).map_err(|error| error.to_string());
        let scratch = scratch.expect("it is made");
        assert!(!left.exists() && other.exists());
        let second = Scratch::create(folder.path()).err().expect("it is used");
        assert!(second.to_string().contains("another bench"), "{second}");
        let dir = scratch.path().to_owned();
        assert!(dir.exists());
        drop(scratch);
        assert!(!dir.exists());
    }
}
