//! A control group that bounds the memory of a process, of version 1 or 2, whichever the machine has.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::peer;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A group; it goes with its processes.
pub struct MemoryGroup {
    folder: PathBuf,
    is_first_version: bool,
}

impl MemoryGroup {
    /// A group of at most so many bytes; `None` after saying why `test` is skipped.
    ///
    /// # Panics
    /// When `TIDEGATE_REQUIRE_PEERS=1` is set and none can be made.
    pub fn new(bytes: u64, test: &str) -> Option<MemoryGroup> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-test-{}-{number}", std::process::id());
        let (root, is_first_version) = match Path::new("/sys/fs/cgroup/memory").is_dir() {
            true => (Path::new("/sys/fs/cgroup/memory"), true),
            false => (Path::new("/sys/fs/cgroup"), false),
        };
        if !is_first_version {
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        }
        let group = MemoryGroup {
            folder: root.join(name),
            is_first_version,
        };
        let limit = match is_first_version {
            true => "memory.limit_in_bytes",
            false => "memory.max",
        };
        let made = fs::create_dir(&group.folder)
            .and_then(|()| fs::write(group.folder.join(limit), bytes.to_string()));
        if let Err(error) = made {
            peer::skip(test, &format!("no memory group can be made: {error}"));
            return None;
        }
        if !is_first_version {
            // What is swapped out is not bounded memory.
            let _ = fs::write(group.folder.join("memory.swap.max"), "0");
        }
        Some(group)
    }

    /// The words in front of a command that run it in the group.
    pub fn words(&self) -> Vec<OsString> {
        let enter = format!(
            "echo $$ > {}/cgroup.procs && exec \"$@\"",
            self.folder.display()
        );
        ["sh", "-c", &enter, "sh"].map(OsString::from).into()
    }

    /// How often the kernel killed a process of it for want of memory.
    ///
    /// # Panics
    /// When the kernel does not say.
    pub fn kills(&self) -> u64 {
        let file = match self.is_first_version {
            true => "memory.oom_control",
            false => "memory.events",
        };
        let text = fs::read_to_string(self.folder.join(file)).expect("the group is there");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.map_or(0, |count| count.trim().parse().expect("a number"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
