//! Serial ports, by names that stay what they are wherever a board is plugged in.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Machine;
use super::ports::Holder;

const BY_ID: &str = "/dev/serial/by-id";

/// A serial port that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::setup) struct SerialPort {
    /// Its name that stays, such as `/dev/serial/by-id/usb-Arduino_Uno-if00`.
    pub(in crate::cli::setup) name: PathBuf,
    /// What it is now, such as `/dev/ttyACM0`.
    pub(in crate::cli::setup) device: PathBuf,
}

/// Whose a device file is, and who else may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::setup) struct Access {
    /// Its owner.
    pub(in crate::cli::setup) uid: u32,
    /// Its group.
    pub(in crate::cli::setup) gid: u32,
    /// What each may.
    pub(in crate::cli::setup) mode: u32,
}

impl Machine {
    /// The ports that have such a name.
    pub(in crate::cli::setup) fn serial_ports(&self) -> Vec<SerialPort> {
        let names = self.names(BY_ID).into_iter();
        let ports = names.filter_map(|name| {
            let name = Path::new(BY_ID).join(name);
            let device = self.path(&name).canonicalize().ok()?;
            let below = device.strip_prefix(self.root.canonicalize().ok()?).ok()?;
            let device = Path::new("/").join(below);
            Some(SerialPort { name, device })
        });
        ports.collect()
    }

    /// Who may use the device file `path`; none where it is not there.
    pub(in crate::cli::setup) fn access(&self, path: &Path) -> Option<Access> {
        let found = std::fs::metadata(self.path(path)).ok()?;
        Some(Access {
            uid: found.uid(),
            gid: found.gid(),
            mode: found.mode() & 0o777,
        })
    }

    /// The program that has a device open, where this user may see it.
    pub(in crate::cli::setup) fn user_of(&self, device: &Path) -> Option<Holder> {
        let mut processes = self.processes().into_iter();
        let pid = processes.find(|pid| {
            let folder = self.path(format!("/proc/{pid}/fd"));
            let links = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut targets = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
            targets.any(|target| target == device)
        })?;
        Some(Holder {
            pid,
            name: self.process_name(pid),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_known_by_names_that_stay() {
        let root = tempfile::tempdir().expect("a folder");
        let by_id = root.path().join("dev/serial/by-id");
        std::fs::create_dir_all(&by_id).expect("a folder");
        std::fs::write(root.path().join("dev/ttyACM0"), "").expect("room");
        let name = "usb-Raspberry_Pi_Pico_E661-if00";
        std::os::unix::fs::symlink("../../ttyACM0", by_id.join(name)).expect("a link");
        std::os::unix::fs::symlink("../../ttyUSB9", by_id.join("usb-gone")).expect("a link");
        let machine = Machine::new(Some(root.path().to_owned()));
        let port = SerialPort {
            name: Path::new(BY_ID).join(name),
            device: "/dev/ttyACM0".into(),
        };
        assert_eq!(machine.serial_ports(), [port]);
        assert!(machine.access(Path::new("/dev/ttyACM0")).is_some());
        assert_eq!(machine.access(Path::new("/dev/ttyUSB9")), None);
    }
}
