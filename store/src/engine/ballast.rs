//! Room kept in reserve: a file that takes real blocks and is given up when the disk is full, because sled needs room
//! even to open what it has written. While it is gone nothing new is accepted; it is made again when room is back.

use super::disk::allocated_bytes;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
pub(crate) struct Ballast {
    path: PathBuf,
    bytes: u64,
    present: AtomicBool,
}

impl Ballast {
    /// Looks for the file; it is not made yet.
    pub(crate) fn new(path: PathBuf, bytes: u64) -> Ballast {
        let present = allocated_bytes(&path) >= bytes;
        Ballast {
            path,
            bytes,
            present: AtomicBool::new(present),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_present(&self) -> bool {
        self.present.load(Ordering::Relaxed)
    }

    /// Takes the room; the caller has checked that there is enough.
    pub(crate) fn make(&self) -> io::Result<()> {
        let made = self.allocate();
        if made.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        self.present.store(made.is_ok(), Ordering::Relaxed);
        made
    }

    fn allocate(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let file = File::create(&self.path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, self.bytes)?;
        file.sync_all()
    }

    /// Gives the room back. True if there was any.
    pub(crate) fn release(&self) -> bool {
        self.present.swap(false, Ordering::Relaxed)
            && self.bytes > 0
            && fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_takes_real_blocks_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ballast");
        let ballast = Ballast::new(path.clone(), 1 << 20);
        assert!(!ballast.is_present());
        ballast.make().unwrap();
        assert!(allocated_bytes(&path) >= 1 << 20);
        assert!(
            Ballast::new(path.clone(), 1 << 20).is_present(),
            "a later process finds it"
        );
        assert!(ballast.release());
        assert!(!path.exists() && !ballast.release());
    }
}
