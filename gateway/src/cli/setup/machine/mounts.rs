//! Which file system holds a folder, and whether a sync on it reaches the disk.

use std::path::{Path, PathBuf};

use super::Machine;

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::setup) struct Mount {
    /// Where it is.
    pub(in crate::cli::setup) point: PathBuf,
    /// Such as `ext4`.
    pub(in crate::cli::setup) kind: String,
    /// Major and minor number of its device.
    pub(in crate::cli::setup) device: (u32, u32),
    /// What it is mounted from, such as `/dev/mmcblk0p2`.
    pub(in crate::cli::setup) source: String,
    /// Options of the mount and of the file system.
    pub(in crate::cli::setup) options: Vec<String>,
}

/// File systems that live in memory.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

impl Mount {
    /// Whether all of it is gone once the power is.
    pub(in crate::cli::setup) fn is_in_memory(&self) -> bool {
        IN_MEMORY.contains(&&*self.kind)
    }

    /// Whether it may only be read.
    pub(in crate::cli::setup) fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }

    /// The option by which a sync does not reach the disk.
    pub(in crate::cli::setup) fn without_barriers(&self) -> Option<&str> {
        let options = self.options.iter().map(String::as_str);
        let mut named = options.filter(|option| {
            matches!(
                *option,
                "nobarrier" | "barrier=0" | "barrier=none" | "fsync_mode=nobarrier"
            ) || (*option == "volatile" && self.kind == "overlay")
        });
        named.next()
    }
}

impl Machine {
    /// All that is mounted, in the order in which it was.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let text = self.text("/proc/self/mountinfo");
        text.lines().filter_map(mount).collect()
    }

    /// The file system that holds `path`, or will once it is made.
    pub(in crate::cli::setup) fn mount_of(&self, path: &Path) -> Option<Mount> {
        let whole = existing(path)?;
        // Of two at one place the later one lies above.
        let mounts = self.mounts().into_iter();
        let above = mounts.filter(|mount| whole.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count())
    }
}

/// The folder itself, or the nearest above it that is there, without links.
pub(in crate::cli::setup) fn existing(path: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(path).ok()?;
    whole
        .ancestors()
        .find_map(|folder| folder.canonicalize().ok())
}

/// A line of `/proc/self/mountinfo`, see `proc_pid_mountinfo(5)`.
fn mount(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    let mut first = first.split(' ').skip(2);
    let (major, minor) = first.next()?.split_once(':')?;
    let point = unescaped(first.nth(1)?);
    let own = first.next()?;
    let mut second = second.split(' ');
    let kind = second.next()?.to_owned();
    let source = unescaped(second.next()?);
    let of_disk = second.next().unwrap_or_default();
    // What only one mount says of reading and writing counts for it.
    let disk = of_disk
        .split(',')
        .filter(|option| !matches!(*option, "rw" | "ro") || own.is_empty());
    let read_only = of_disk.split(',').any(|option| option == "ro");
    let options = own.split(',').chain(disk).chain(read_only.then_some("ro"));
    Some(Mount {
        point: point.into(),
        kind,
        device: (major.parse().ok()?, minor.parse().ok()?),
        source,
        options: options.map(str::to_owned).collect(),
    })
}

/// Blanks, tabs, ends of lines and backslashes stand there as `\040` and the like.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let octal = others
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &others[3..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 3] = [
        "26 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,nobarrier,discard",
        "40 26 0:35 / /mnt/my\\040card rw,nosuid - tmpfs tmpfs rw,size=65536k",
        "41 26 7:0 / /ro ro,relatime - ext4 /dev/loop0 ro",
    ];

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let [root, card, read_only] = LINES.map(|line| mount(line).expect("a mount"));
        assert_eq!(root.device, (254, 0));
        assert_eq!(root.without_barriers(), Some("nobarrier"));
        assert!(!root.is_in_memory() && !root.is_read_only());
        assert_eq!(card.point, Path::new("/mnt/my card"));
        assert!(card.is_in_memory() && card.without_barriers().is_none());
        assert!(read_only.is_read_only());
        assert_eq!(mount("nothing of the kind"), None);
    }

    #[test]
    fn the_nearest_mount_holds_a_folder_that_is_not_there_yet() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("proc/self")).expect("a folder");
        let data = root
            .path()
            .canonicalize()
            .expect("it is there")
            .join("data");
        std::fs::create_dir(&data).expect("a folder");
        let of = |point: &Path, kind| {
            format!(
                "9 1 8:1 / {} rw - {kind} /dev/sda1 rw,barrier=0\n",
                point.display()
            )
        };
        let text = of(Path::new("/"), "xfs") + &of(&data, "btrfs") + &of(&data, "ext4");
        std::fs::write(root.path().join("proc/self/mountinfo"), text).expect("room");
        let machine = Machine::new(Some(root.path().to_owned()));
        let found = machine.mount_of(&data.join("not/yet")).expect("a mount");
        assert_eq!(
            (&*found.kind, found.without_barriers()),
            ("ext4", Some("barrier=0"))
        );
        let found = machine.mount_of(root.path()).expect("a mount");
        assert_eq!(found.kind, "xfs");
    }
}
