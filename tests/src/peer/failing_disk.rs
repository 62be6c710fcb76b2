//! A disk that fails: the system itself answers what is written to it with EIO, from a moment on.
//!
//! It is an ext4 on an image in memory that is sealed against writing. It has no journal, for which ext4 would go read-only
//! at the first failure. What stood on it can be had on another disk then, as from one that is copied.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, syncfs};
use tempfile::NamedTempFile;

use crate::peer;

/// Bytes of the disk.
const SIZE: u64 = 128 << 20;

/// The disk; unmounted when it goes.
pub struct FailingDisk {
    over: PathBuf,
    image: File,
    _copy: Option<NamedTempFile>,
}

impl FailingDisk {
    /// One over a folder; `None` where none can be mounted.
    ///
    /// # Panics
    /// When the system makes no image in memory.
    pub fn mount(over: &Path, test: &str) -> Option<FailingDisk> {
        let image = memfd_create("disk", MemfdFlags::ALLOW_SEALING).expect("an image");
        let image = File::from(image);
        image.set_len(SIZE).expect("its size");
        let disk = FailingDisk {
            over: over.to_owned(),
            image,
            _copy: None,
        };
        let mut made = Command::new("mkfs.ext4");
        made.args(["-q", "-F", "-m", "0", "-O", "^has_journal"]);
        if is_done(made.arg(disk.path())) && mounted(&disk.path(), over) {
            return Some(disk);
        }
        peer::skip(
            test,
            "no disk that fails can be mounted (it takes root and mkfs.ext4)",
        );
        None
    }

    fn path(&self) -> PathBuf {
        let (process, number) = (std::process::id(), self.image.as_raw_fd());
        format!("/proc/{process}/fd/{number}").into()
    }

    /// From now on nothing is written any more.
    ///
    /// # Panics
    /// When the system does not seal the image.
    pub fn fail(&self) {
        let folder = File::open(&self.over).expect("it is mounted");
        syncfs(folder).expect("it works until now");
        fcntl_add_seals(&self.image, SealFlags::WRITE).expect("a seal");
    }

    /// Puts a disk in its place that works, with what was written to this one.
    ///
    /// # Panics
    /// When there is no room for a copy.
    #[must_use]
    pub fn copied(mut self) -> FailingDisk {
        unmount(&self.over);
        let copy = NamedTempFile::new().expect("a file");
        fs::copy(self.path(), copy.path()).expect("a copy");
        assert!(mounted(copy.path(), &self.over), "the copy is no disk");
        self._copy = Some(copy);
        self
    }
}

fn mounted(image: &Path, over: &Path) -> bool {
    let mut mount = Command::new("mount");
    let mount = mount.args(["-o", "loop,errors=continue"]);
    is_done(mount.arg(image).arg(over))
}

fn unmount(over: &Path) {
    let _ = Command::new("umount").arg("-l").arg(over).status();
}

fn is_done(command: &mut Command) -> bool {
    let done = command.stdout(Stdio::null()).stderr(Stdio::null());
    done.status().is_ok_and(|status| status.success())
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        unmount(&self.over);
    }
}
