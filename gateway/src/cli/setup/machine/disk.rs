//! What kind of disk a file system lies on: a card wears out long before a disk does.

use std::path::PathBuf;

use super::Machine;
use super::mounts::Mount;

/// A kind of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::setup) enum Medium {
    /// An SD card.
    Card,
    /// Flash that is soldered in.
    Emmc,
    /// A stick or a card in a reader.
    UsbStick,
    /// A solid-state disk.
    Ssd,
    /// A disk that turns.
    HardDisk,
    /// A disk of a virtual machine, or a file of another file system.
    Virtual,
    /// Memory.
    Memory,
    /// A file server.
    Network,
    /// The kernel says nothing of it.
    Unknown,
}

/// File systems that another machine keeps.
const NETWORKS: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"];
/// Devices that lie one above the other.
const LAYERS_MAX: usize = 8;

impl Medium {
    /// How it is called in a sentence.
    pub(in crate::cli::setup) fn name(self) -> &'static str {
        match self {
            Medium::Card => "SD card",
            Medium::Emmc => "eMMC",
            Medium::UsbStick => "USB stick",
            Medium::Ssd => "SSD",
            Medium::HardDisk => "hard disk",
            Medium::Virtual => "virtual disk",
            Medium::Memory => "memory",
            Medium::Network => "file server",
            Medium::Unknown => "disk of an unknown kind",
        }
    }

    /// Whether writing wears it out, and nobody else looks after that.
    pub(in crate::cli::setup) fn is_flash(self) -> bool {
        matches!(
            self,
            Medium::Card | Medium::Emmc | Medium::UsbStick | Medium::Ssd
        )
    }

    /// What may be written to a small one of its kind in all, where only that is known: 3,000 times 8 GB less what a card
    /// writes beside for itself, and the 60 TB that makers of small SSDs promise.
    pub(in crate::cli::setup) fn endurance_assumed(self) -> Option<u64> {
        const TERABYTE: u64 = 1_000_000_000_000;
        match self {
            Medium::Card | Medium::UsbStick => Some(5 * TERABYTE),
            Medium::Emmc => Some(10 * TERABYTE),
            Medium::Ssd => Some(60 * TERABYTE),
            _ => None,
        }
    }
}

/// The disk of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::setup) struct Disk {
    /// Such as `mmcblk0`; none where the file system lies on no device.
    pub(in crate::cli::setup) name: Option<String>,
    /// What kind it is.
    pub(in crate::cli::setup) medium: Medium,
}

impl Machine {
    /// The disk under `mount`.
    pub(in crate::cli::setup) fn disk_of(&self, mount: &Mount) -> Disk {
        let nameless = |medium| Disk { name: None, medium };
        if mount.is_in_memory() {
            return nameless(Medium::Memory);
        }
        if NETWORKS.contains(&&*mount.kind) {
            return nameless(Medium::Network);
        }
        let Some(folder) = self.block_folder(mount) else {
            return nameless(Medium::Unknown);
        };
        let whole = match folder.join("partition").exists() {
            true => folder.parent().map(PathBuf::from).unwrap_or(folder),
            false => folder,
        };
        let name = whole
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let medium = match &name {
            Some(name) => self.medium(name, &whole, LAYERS_MAX),
            None => Medium::Unknown,
        };
        Disk { name, medium }
    }

    /// The folder of its device in `/sys`; btrfs and the like have device numbers that stand for none.
    fn block_folder(&self, mount: &Mount) -> Option<PathBuf> {
        let (major, minor) = mount.device;
        let by_number = self
            .path(format!("/sys/dev/block/{major}:{minor}"))
            .canonicalize();
        by_number.ok().or_else(|| {
            let name = mount.source.strip_prefix("/dev/")?;
            let by_name = self.path(format!("/sys/class/block/{name}"));
            by_name.canonicalize().ok()
        })
    }

    fn medium(&self, name: &str, folder: &std::path::Path, layers: usize) -> Medium {
        let text = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            text.trim().to_owned()
        };
        // Volumes, arrays and encrypted disks lie on others.
        let below = std::fs::read_dir(folder.join("slaves"))
            .into_iter()
            .flatten();
        let below = below.flatten().next().map(|entry| entry.path());
        if let (Some(below), 1..) = (below.and_then(|path| path.canonicalize().ok()), layers) {
            let whole = match below.join("partition").exists() {
                true => below.parent().map(PathBuf::from).unwrap_or(below),
                false => below,
            };
            let name = whole.file_name().map(|name| name.to_string_lossy());
            return self.medium(&name.unwrap_or_default(), &whole, layers - 1);
        }
        let is_virtual = ["vd", "xvd", "loop", "nbd", "dm-", "md"];
        match name {
            name if name.starts_with("mmcblk") => match &*text("device/type") {
                "MMC" => Medium::Emmc,
                _ => Medium::Card,
            },
            name if name.starts_with("ram") || name.starts_with("zram") => Medium::Memory,
            name if is_virtual.iter().any(|prefix| name.starts_with(prefix)) => Medium::Virtual,
            _ if text("removable") == "1" => Medium::UsbStick,
            _ if text("device/vendor").to_uppercase().contains("QEMU") => Medium::Virtual,
            _ => match &*text("queue/rotational") {
                "1" => Medium::HardDisk,
                "0" => Medium::Ssd,
                _ => Medium::Unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(device: &str, files: &[(&str, &str)], partition: bool, expected: Medium) {
        let root = tempfile::tempdir().expect("a folder");
        let whole = root.path().join("sys/devices/x/block").join(device);
        std::fs::create_dir_all(whole.join("queue")).expect("a folder");
        std::fs::create_dir_all(whole.join("device")).expect("a folder");
        for (name, text) in files {
            std::fs::write(whole.join(name), text).expect("room");
        }
        let folder = match partition {
            true => whole.join(format!("{device}p2")),
            false => whole,
        };
        std::fs::create_dir_all(&folder).expect("a folder");
        if partition {
            std::fs::write(folder.join("partition"), "2\n").expect("room");
        }
        let numbers = root.path().join("sys/dev/block");
        std::fs::create_dir_all(&numbers).expect("a folder");
        std::os::unix::fs::symlink(&folder, numbers.join("179:2")).expect("a link");
        let mount = Mount {
            point: "/".into(),
            kind: "ext4".into(),
            device: (179, 2),
            source: "/dev/root".into(),
            options: Vec::new(),
        };
        let machine = Machine::new(Some(root.path().to_owned()));
        let disk = machine.disk_of(&mount);
        assert_eq!(
            (disk.name.as_deref(), disk.medium),
            (Some(device), expected)
        );
    }

    #[test]
    fn a_card_is_told_from_a_disk() {
        check("mmcblk0", &[("device/type", "SD\n")], true, Medium::Card);
        check("mmcblk1", &[("device/type", "MMC\n")], true, Medium::Emmc);
        check("sda", &[("removable", "1\n")], false, Medium::UsbStick);
        let turning = [("removable", "0"), ("queue/rotational", "1\n")];
        check("sda", &turning, false, Medium::HardDisk);
        check("nvme0n1", &[("queue/rotational", "0\n")], true, Medium::Ssd);
        check(
            "vda",
            &[("queue/rotational", "1\n")],
            false,
            Medium::Virtual,
        );
        check("sdb", &[], false, Medium::Unknown);
    }
}
