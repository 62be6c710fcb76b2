//! Small file systems to fill: one in memory, and a real ext4 on an image file, whose inodes can be few. They need the
//! right to mount; without it the tests say so and pass, or fail where `TIDEGATE_REQUIRE_PEERS=1` asks for them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when it goes.
pub(crate) struct SmallDisk {
    pub(crate) dir: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    /// Every kind there is, each of so many MiB.
    pub(crate) fn each(mib: u32) -> impl Iterator<Item = SmallDisk> {
        [SmallDisk::tmpfs(mib), SmallDisk::ext4(mib, 4_000)]
            .into_iter()
            .flatten()
    }

    fn tmpfs(mib: u32) -> Option<SmallDisk> {
        let size = format!("size={mib}m,nr_inodes=4000");
        SmallDisk::mount(|_| {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &size, "tidegate-test"]);
            Some(mount)
        })
    }

    /// An ext4 with its journal on an image file.
    pub(crate) fn ext4(mib: u32, inodes: u32) -> Option<SmallDisk> {
        SmallDisk::mount(|parent| {
            let image = parent.join("image");
            fs::File::create(&image)
                .ok()?
                .set_len(u64::from(mib) << 20)
                .ok()?;
            let made = Command::new("mkfs.ext4")
                .args(["-q", "-F", "-m", "0", "-N", &inodes.to_string()])
                .arg(&image)
                .stderr(Stdio::null())
                .status();
            let mut mount = Command::new("mount");
            mount.args(["-o", "loop"]).arg(&image);
            made.is_ok_and(|status| status.success()).then_some(mount)
        })
    }

    fn mount(command: impl FnOnce(&Path) -> Option<Command>) -> Option<SmallDisk> {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("disk");
        fs::create_dir(&dir).unwrap();
        let mounted = command(parent.path())
            .and_then(|mut mount| mount.arg(&dir).stderr(Stdio::null()).status().ok())
            .is_some_and(|status| status.success());
        if mounted {
            return Some(SmallDisk {
                dir,
                _parent: parent,
            });
        }
        assert!(
            std::env::var_os("TIDEGATE_REQUIRE_PEERS").is_none(),
            "cannot mount a small disk"
        );
        // Not eprintln!, which the test runner keeps to itself while a test passes.
        let why = "SKIPPED: a full-disk test, because this process may not mount a tmpfs or a loop device";
        let _ = writeln!(std::io::stderr(), "{why}");
        None
    }

    /// Takes up to so many bytes.
    pub(crate) fn hog(&self, bytes: usize) -> PathBuf {
        let path = self.dir.join("hog");
        let _ = fs::write(&path, vec![1; bytes]);
        path
    }

    /// Takes all inodes.
    pub(crate) fn hog_inodes(&self) -> PathBuf {
        let path = self.dir.join("hogs");
        let made = fs::create_dir(&path);
        let mut names = (0..).map(|n: u32| path.join(n.to_string()));
        let _ = made.map(|()| names.find(|name| fs::File::create(name).is_err()));
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}
