//! The lock on the store's directory: one process has it open.

use crate::api::error::OpenError;
use crate::engine::disk;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the lock may be another's: who only looks has it for a moment, and a process that ends a little longer.
const PATIENCE: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The directory's lock. It is let go expressly: closing the file would leave it to a child process that is just being
/// started and has the descriptor until it executes its program.
pub(super) struct DirLock {
    file: File,
    path: PathBuf,
}

impl DirLock {
    /// Whether the directory is where it was opened. What is written to one that was removed or replaced is on the disk, and
    /// yet no start ever finds it.
    ///
    /// # Errors
    /// What is there instead.
    pub(super) fn in_place(&self) -> Result<(), String> {
        let id = |file: Metadata| (file.dev(), file.ino());
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => Some(id(there)),
            Err(error) if is_nothing(&error) => None,
            // What cannot be looked at now may well be there.
            Err(_) => return Ok(()),
        };
        if there.is_some() && there == self.file.metadata().ok().map(id) {
            return Ok(());
        }
        let dir = self.path.parent().unwrap_or(&self.path).display();
        Err(format!(
            "{dir} was removed, moved or replaced while it was open: put it back, or start the gateway again"
        ))
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl Drop for DirLock {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Where the lock is.
pub(super) fn lock_file(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// That another process has the directory, and which one says that it has.
pub(super) fn in_use(dir: &Path) -> OpenError {
    let mut text = String::new();
    let read = File::open(lock_file(dir)).and_then(|file| file.take(20).read_to_string(&mut text));
    OpenError::InUse {
        dir: dir.to_path_buf(),
        pid: read.ok().and_then(|_| text.trim().parse().ok()),
    }
}

/// Takes the directory for this process; the lock file says who has it.
pub(super) fn take_lock(dir: &Path) -> Result<DirLock, OpenError> {
    let path = lock_file(dir);
    let io = |error: io::Error| OpenError::io(&path, &error);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    disk::share(&path);
    let mut patience = PATIENCE;
    let locked = loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(PAUSE);
            }
            other => break other,
        }
    };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(in_use(dir));
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    // The lock is what counts; on a full disk the note of who has it may fail.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(DirLock { file, path })
}
