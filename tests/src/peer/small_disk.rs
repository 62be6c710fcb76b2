//! A small file system of its own over a folder, to be filled.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::peer;

/// What the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In memory.
    Tmpfs,
    /// An ext4 on an image file, with so many inodes.
    Ext4 {
        /// How many.
        inodes: u32,
    },
}

/// A mounted file system; unmounted when it goes.
pub struct SmallDisk {
    over: PathBuf,
    hogs: usize,
    _image: Option<tempfile::NamedTempFile>,
}

impl SmallDisk {
    /// One of `mib` MiB over a folder; `None` where none can be mounted.
    ///
    /// # Panics
    /// When no image file can be made.
    pub fn mount(over: PathBuf, kind: Kind, mib: u64, test: &str) -> Option<SmallDisk> {
        let mut mount = Command::new("mount");
        let image = match kind {
            Kind::Tmpfs => {
                mount.args([
                    "-t",
                    "tmpfs",
                    "-o",
                    &format!("size={mib}m,nr_inodes=1000"),
                    "tmpfs",
                ]);
                None
            }
            Kind::Ext4 { inodes } => {
                let image = image(mib, inodes);
                mount.args(["-o", "loop"]).arg(image.path());
                Some(image)
            }
        };
        let mounted = mount.arg(&over).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk {
                over,
                hogs: 0,
                _image: image,
            });
        }
        peer::skip(test, "no small disk can be mounted (it takes root)");
        None
    }

    /// Bytes free for everybody.
    ///
    /// # Panics
    /// When it is not mounted.
    pub fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.over).expect("it is mounted");
        found.f_bavail * found.f_frsize
    }

    /// Takes the room but for `left` bytes; what was taken stays taken.
    ///
    /// # Panics
    /// When no file can be made although there is room.
    pub fn fill_but(&mut self, left: u64) -> PathBuf {
        let path = self.hog();
        // Without an inode for it the disk is as full as it gets.
        if let Ok(mut file) = File::create(&path) {
            for step in [65536, 4096] {
                while self.free_bytes() > left && file.write_all(&vec![1; step]).is_ok() {}
            }
            let _ = file.sync_all();
        }
        path
    }

    /// Takes all room and all inodes that are left.
    pub fn fill(&mut self) {
        self.fill_but(0);
        self.fill_inodes();
    }

    /// Takes all inodes.
    pub fn fill_inodes(&mut self) {
        let folder = self.hog();
        if fs::create_dir(&folder).is_ok() {
            let mut names = (0..).map(|n: u32| folder.join(n.to_string()));
            names.find(|name| File::create(name).is_err());
        }
    }

    /// Gives back everything that was taken.
    pub fn give_back(&mut self) {
        for number in 0..self.hogs {
            let path = hog(&self.over, number);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        self.hogs = 0;
    }

    fn hog(&mut self) -> PathBuf {
        self.hogs += 1;
        hog(&self.over, self.hogs - 1)
    }
}

fn hog(over: &Path, number: usize) -> PathBuf {
    over.join(format!("hog-{number}"))
}

fn image(mib: u64, inodes: u32) -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().expect("an image file");
    image.as_file().set_len(mib << 20).expect("its size");
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-N", &inodes.to_string()])
        .arg(image.path())
        .stderr(Stdio::null())
        .status();
    drop(made);
    image
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.over).status();
    }
}
