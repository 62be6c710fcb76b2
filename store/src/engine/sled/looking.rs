//! Looking at a store without writing to its folder: by who may only read it, on a disk that is full or mounted to be
//! read, and without keeping a gateway from starting. No lock is held. That nobody had the store open meanwhile is seen
//! by the lock file, into which every opening writes; what was read while somebody had is not used.

use super::Engine;
use crate::engine::failure::EngineError;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is said when somebody opened the store meanwhile.
const DISTURBED: &str = "another process opened this store while it was looked at; ask again";

/// A store that is looked at.
pub(crate) struct Looking {
    lock: PathBuf,
    seen: Option<Seen>,
}

/// How databases are opened to be read.
#[derive(Clone, Copy)]
pub(crate) enum How<'a> {
    /// To be written to as well.
    InPlace,
    /// What the disk has no room to open is read from a copy in memory.
    OrCopy,
    /// All are read from copies, and nothing is written or moved.
    ToLook(&'a Looking),
}

impl How<'_> {
    /// Opens the database in `dir`.
    pub(crate) fn open(self, dir: &Path, cache_bytes: u64) -> Result<Engine, EngineError> {
        match self {
            How::InPlace => Engine::open(dir, cache_bytes),
            How::OrCopy => Engine::open_or_copy(dir, cache_bytes),
            How::ToLook(looking) => Engine::open_to_look(dir, cache_bytes, looking),
        }
    }
}

/// The lock file as the last opening left it.
#[derive(PartialEq)]
struct Seen {
    inode: u64,
    changed: (i64, i64),
}

impl Looking {
    /// Begins, by the store's lock file; `None` while another process has it open.
    pub(crate) fn begin(lock: &Path) -> io::Result<Option<Looking>> {
        let seen = seen(lock)?;
        if is_held(lock)? {
            return Ok(None);
        }
        Ok(Some(Looking {
            lock: lock.to_path_buf(),
            seen,
        }))
    }

    /// True if nobody has opened the store since this began.
    pub(crate) fn is_undisturbed(&self) -> bool {
        let same = seen(&self.lock).is_ok_and(|seen| seen == self.seen);
        same && is_held(&self.lock).is_ok_and(|held| !held)
    }

    /// An error if somebody has.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match self.is_undisturbed() {
            true => Ok(()),
            false => Err(EngineError::Failed(DISTURBED.into())),
        }
    }
}

fn seen(lock: &Path) -> io::Result<Option<Seen>> {
    match fs::metadata(lock) {
        Ok(found) => Ok(Some(Seen {
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether somebody holds the lock. It is held for a moment itself to find out, which who opens the store waits for.
fn is_held(lock: &Path) -> io::Result<bool> {
    let file = match File::open(lock) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
