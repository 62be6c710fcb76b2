//! How much memory a process may take: what its control groups allow, in both versions of them.

use std::path::{Path, PathBuf};

use super::Machine;
use super::mounts::Mount;

/// Version 1 says no limit with the largest number of whole pages; nobody has half as much.
const NO_LIMIT: u64 = 1 << 60;

/// A limit, and the file in which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::setup) struct MemoryLimit {
    /// How much.
    pub(in crate::cli::setup) bytes: u64,
    /// Where.
    pub(in crate::cli::setup) file: PathBuf,
}

impl Machine {
    /// The least that the groups of the process `pid` (`self`) allow.
    pub(in crate::cli::setup) fn memory_limit(&self, pid: &str) -> Option<MemoryLimit> {
        let groups = self.text(format!("/proc/{pid}/cgroup"));
        let limits = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, group) = (parts.next()?, parts.next()?);
            match controllers {
                "" => self.least("cgroup2", None, group, &["memory.max", "memory.high"]),
                _ if controllers.split(',').any(|one| one == "memory") => {
                    let file = "memory.limit_in_bytes";
                    self.least("cgroup", Some("memory"), group, &[file])
                }
                _ => None,
            }
        });
        limits.min_by_key(|limit| limit.bytes)
    }

    /// The least on the way from `group` up, below where the hierarchy is mounted.
    fn least(
        &self,
        kind: &str,
        controller: Option<&str>,
        group: &str,
        files: &[&str],
    ) -> Option<MemoryLimit> {
        let top = self.hierarchy(kind, controller)?;
        let group = Path::new(group.trim_start_matches('/'));
        let folders = group.ancestors().map(|group| top.join(group));
        let places = folders.flat_map(|folder| files.iter().map(move |file| folder.join(file)));
        let limits = places.filter_map(|file| {
            let bytes = self.number(&file).filter(|bytes| *bytes < NO_LIMIT)?;
            Some(MemoryLimit { bytes, file })
        });
        limits.min_by_key(|limit| limit.bytes)
    }

    /// Where the groups of a version are mounted.
    fn hierarchy(&self, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
        let is_it = |mount: &Mount| {
            let mut options = mount.options.iter();
            let has = controller.is_none_or(|controller| options.any(|one| one == controller));
            mount.kind == kind && has
        };
        let found = self.mounts().into_iter().find(is_it);
        found.map(|mount| mount.point)
    }

    /// Whether the kernel was started without limits for memory, as that of a Raspberry Pi is unless told otherwise.
    pub(in crate::cli::setup) fn has_memory_groups_disabled(&self) -> bool {
        let command_line = self.text("/proc/cmdline");
        let mut said = command_line.split_whitespace().filter_map(|word| {
            let of = |prefix| word.strip_prefix(prefix);
            let is_off = of("cgroup_disable=").map(|names: &str| (names, true));
            let is_on = of("cgroup_enable=").map(|names: &str| (names, false));
            let (names, off) = is_off.or(is_on)?;
            names.split(',').any(|name| name == "memory").then_some(off)
        });
        let groups = self.text("/proc/cgroups");
        let row = groups.lines().find(|line| line.starts_with("memory\t"));
        let enabled = row.and_then(|row| row.split_whitespace().nth(3));
        match enabled {
            Some(enabled) => enabled == "0",
            None => said.next_back() == Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("room");
        }
        let machine = Machine::new(Some(root.path().to_owned()));
        (root, machine)
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_above_counts() {
        let (_root, of_two) = machine(&[
            (
                "proc/self/mountinfo",
                "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n",
            ),
            ("proc/self/cgroup", "0::/system.slice/tidegate.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "100000000\n"),
            (
                "sys/fs/cgroup/system.slice/tidegate.service/memory.max",
                "max\n",
            ),
            (
                "sys/fs/cgroup/system.slice/tidegate.service/memory.high",
                "200000000\n",
            ),
        ]);
        let limit = of_two.memory_limit("self").expect("a limit");
        assert_eq!(limit.bytes, 100_000_000);
        assert!(limit.file.ends_with("system.slice/memory.max"));
        let mounts = "1 1 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      2 1 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let (_root, of_one) = machine(&[
            ("proc/self/mountinfo", mounts),
            ("proc/self/cgroup", "4:memory:/small\n3:cpu:/\n0::/\n"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            (
                "sys/fs/cgroup/memory/small/memory.limit_in_bytes",
                "33554432\n",
            ),
        ]);
        assert_eq!(
            of_one.memory_limit("self").map(|limit| limit.bytes),
            Some(32 << 20)
        );
        let (_root, of_none) = machine(&[]);
        assert_eq!(of_none.memory_limit("self"), None);
    }

    #[test]
    fn a_kernel_without_limits_for_memory_is_told() {
        let cases = [
            ("cgroup_disable=memory console=tty1", "", true),
            (
                "cgroup_disable=memory cgroup_enable=cpuset,memory",
                "",
                false,
            ),
            ("console=tty1", "", false),
            ("cgroup_disable=memory", "memory\t0\t1\t1\n", false),
            ("", "#name\tx\nmemory\t0\t1\t0\n", true),
        ];
        for (line, groups, expected) in cases {
            let (_root, machine) = machine(&[("proc/cmdline", line), ("proc/cgroups", groups)]);
            assert_eq!(
                machine.has_memory_groups_disabled(),
                expected,
                "{line:?} {groups:?}"
            );
        }
    }
}
