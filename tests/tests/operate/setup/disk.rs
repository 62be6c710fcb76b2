//! Disks of a kind: mounted without barriers, and so slow that they take so many writes a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::{NamedTempFile, TempDir};
use tidegate_tests::peer;

const THROTTLE: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device";
const MIB: u64 = 512;

/// An ext4 on an image file; unmounted when it goes.
pub(super) struct LoopDisk {
    folder: TempDir,
    device: Option<String>,
    _image: NamedTempFile,
}

impl LoopDisk {
    /// Mounted with these options; `None` where none can be.
    pub(super) fn mount(options: &str, test: &str) -> Option<LoopDisk> {
        let image = NamedTempFile::new().expect("a file");
        image.as_file().set_len(MIB << 20).expect("its size");
        let mut disk = LoopDisk {
            folder: tempfile::tempdir().expect("a folder"),
            device: None,
            _image: image,
        };
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-F"]).arg(disk._image.path());
        let mut mount = Command::new("mount");
        mount
            .args(["-o", &format!("loop{options}")])
            .arg(disk._image.path())
            .arg(disk.folder.path());
        if !is_done(&mut make) || !is_done(&mut mount) {
            peer::skip(
                test,
                "no ext4 can be mounted from a file (it takes root and loop devices)",
            );
            return None;
        }
        disk.device = device_of(disk.folder.path());
        Some(disk)
    }

    /// Lets it take so many writes a second; false where the system has no such limit.
    pub(super) fn throttle(&self, writes: u32, test: &str) -> bool {
        let device = self.device.as_deref().unwrap_or_default();
        let limited = fs::write(THROTTLE, format!("{device} {writes}"));
        let is_limited =
            limited.is_ok() && fs::read_to_string(THROTTLE).is_ok_and(|text| text.contains(device));
        if !is_limited {
            peer::skip(
                test,
                "no disk can be slowed down (it takes blkio.throttle of cgroup v1)",
            );
        }
        is_limited
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// Major and minor number of the device that is mounted there.
fn device_of(folder: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let folder = folder.to_str()?;
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some(folder))?;
    line.split(' ').nth(2).map(str::to_owned)
}

fn is_done(command: &mut Command) -> bool {
    let done = command.stdout(Stdio::null()).stderr(Stdio::null());
    done.status().is_ok_and(|status| status.success())
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if let Some(device) = &self.device {
            let _ = fs::write(THROTTLE, format!("{device} 0"));
        }
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}
