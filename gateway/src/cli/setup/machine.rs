//! The machine as a person who sets up a gateway finds it: disks, clock, limits, ports and users, read from the files in
//! which the kernel tells them. Nothing is changed.

pub(super) mod clock;
pub(super) mod disk;
pub(super) mod memory;
pub(super) mod mounts;
pub(super) mod ports;
pub(super) mod serial;
pub(super) mod service;
pub(super) mod users;

use std::path::{Path, PathBuf};

/// Bytes that are read of one of the kernel's files.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where `/proc`, `/sys`, `/dev`, `/run` and `/etc` are.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    /// This machine, or one that is described by files below `root`.
    pub(super) fn new(root: Option<PathBuf>) -> Machine {
        Machine {
            root: root.unwrap_or_else(|| PathBuf::from("/")),
        }
    }

    /// Whether it is this one, so that programs can be asked too.
    pub(super) fn is_this(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The file that is called `path`, an absolute one.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file; empty where there is none.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> String {
        use std::io::Read;
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(self.path(path)) {
            // What was read before an error is what there is.
            let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The number that stands alone in a file.
    pub(super) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path).trim().parse().ok()
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// Names in a folder, sorted.
    pub(super) fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder));
        let entries = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Numbers of all processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        let names = self.names("/proc");
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The name of a process.
    pub(super) fn process_name(&self, pid: u32) -> String {
        self.text(format!("/proc/{pid}/comm")).trim().to_owned()
    }
}
