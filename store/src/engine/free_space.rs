//! Room on the disk: below the minimum nothing is accepted, nor while the ballast is gone.

use super::ballast::Ballast;
use super::disk;
use crate::api::error::CommitError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
pub(crate) struct FreeSpace {
    dir: PathBuf,
    bytes_min: u64,
    ballast: Ballast,
    /// Times the ballast was given up.
    released: AtomicU64,
}

impl FreeSpace {
    pub(crate) fn new(dir: PathBuf, bytes_min: u64, ballast: Ballast) -> FreeSpace {
        FreeSpace {
            dir,
            bytes_min,
            ballast,
            released: AtomicU64::new(0),
        }
    }

    /// Bytes that this process may still write.
    pub(crate) fn bytes(&self) -> u64 {
        disk::free_bytes(&self.dir).unwrap_or(0)
    }

    pub(crate) fn bytes_min(&self) -> u64 {
        self.bytes_min
    }

    pub(crate) fn ballast(&self) -> &Ballast {
        &self.ballast
    }

    /// Below the minimum of free disk nothing is accepted; nor while the ballast is gone, unless it can be made again.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        let free = self.bytes();
        if free < self.bytes_min {
            return Err(self.refusal());
        }
        if self.ballast.is_present() {
            return Ok(());
        }
        let enough = free >= self.bytes_min + self.ballast.bytes();
        if enough && self.ballast.make().is_ok() {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    /// What a caller is told for whom there is no room.
    pub(crate) fn refusal(&self) -> CommitError {
        CommitError::NoSpace {
            free_bytes: self.bytes(),
            free_bytes_min: self.bytes_min,
            reserve_bytes: match self.ballast.is_present() {
                true => 0,
                false => self.ballast.bytes(),
            },
        }
    }

    /// Gives up the ballast. True if that made room.
    pub(crate) fn release_ballast(&self) -> bool {
        let released = self.ballast.release();
        self.released
            .fetch_add(u64::from(released), Ordering::Relaxed);
        released
    }

    /// Times that the ballast was given up since the opening.
    pub(crate) fn ballast_released(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }
}
