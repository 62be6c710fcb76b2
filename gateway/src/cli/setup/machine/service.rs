//! As whom and with what limits the gateway runs here: the process itself while it runs, else what its unit says.

use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;

use super::Machine;
use super::users::User;
use crate::config::SOCKET;
use crate::control::fresh_socket;

const UNIT: &str = "tidegate.service";
/// Later ones come before earlier ones.
const FOLDERS: [&str; 4] = [
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/system",
    "/etc/systemd/system",
];
/// The user that the package makes.
const USER: &str = "tidegate";

/// What the unit says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli::setup) struct Unit {
    /// `User=`
    pub(in crate::cli::setup) user: Option<String>,
    /// `Group=`
    pub(in crate::cli::setup) group: Option<String>,
    /// `SupplementaryGroups=`
    pub(in crate::cli::setup) groups: Vec<String>,
    /// `LimitNOFILE=`, the hard limit of it.
    pub(in crate::cli::setup) descriptors: Option<u64>,
    /// The least of `MemoryMax=`, `MemoryHigh=` and `MemoryLimit=`.
    pub(in crate::cli::setup) memory_bytes: Option<u64>,
}

/// A gateway that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::setup) struct RunningGateway {
    /// Its process.
    pub(in crate::cli::setup) pid: u32,
    /// Its user.
    pub(in crate::cli::setup) uid: u32,
}

impl Machine {
    /// The gateway that runs over `data_dir`, where this user may ask it.
    pub(in crate::cli::setup) fn running_gateway(&self, data_dir: &Path) -> Option<RunningGateway> {
        let socket = UnixStream::connect(data_dir.join(SOCKET)).ok()?;
        let peer = socket_peercred(&socket).ok()?;
        Some(RunningGateway {
            pid: u32::try_from(peer.pid.as_raw_nonzero().get()).ok()?,
            uid: peer.uid.as_raw(),
        })
    }

    /// Whether some gateway has its socket in `data_dir`, though this user may not ask it.
    pub(in crate::cli::setup) fn has_gateway(&self, data_dir: &Path) -> bool {
        let Ok(folder) = data_dir.canonicalize() else {
            return false;
        };
        let fresh = fresh_socket(&folder.join(SOCKET));
        let sockets = self.text("/proc/net/unix");
        let mut lines = sockets.lines();
        // They stand there under the names with which they were made.
        lines.any(|line| {
            let path = line.split_whitespace().nth(7).map(Path::new);
            path.is_some_and(|path| match path.is_absolute() {
                true => {
                    let beside = path.parent().and_then(|parent| parent.canonicalize().ok());
                    beside.as_deref() == Some(&folder) && path.file_name() == fresh.file_name()
                }
                false => fresh.ends_with(path),
            })
        })
    }

    /// The unit of the gateway, where this machine has one.
    pub(in crate::cli::setup) fn unit(&self) -> Option<Unit> {
        let units = FOLDERS
            .iter()
            .rev()
            .map(|folder| format!("{folder}/{UNIT}"));
        let file = units.into_iter().find(|file| self.has(file))?;
        let mut unit = Unit::default();
        unit.read(&self.text(file));
        for folder in FOLDERS {
            let more = format!("{folder}/{UNIT}.d");
            for name in self.names(&more) {
                if name.ends_with(".conf") {
                    unit.read(&self.text(format!("{more}/{name}")));
                }
            }
        }
        Some(unit)
    }

    /// As whom the gateway runs, or will: the one that runs, or whose data it is; of a configuration of the system the unit's user, and for root
    /// the package's; else this one.
    pub(in crate::cli::setup) fn service_user(
        &self,
        running: Option<RunningGateway>,
        data_dir: &Path,
        is_of_system: bool,
    ) -> User {
        if let Some(running) = running {
            let gids = self.groups_of(running.pid);
            let user = self.user_numbered(running.uid);
            return match gids.is_empty() {
                true => user,
                false => User { gids, ..user },
            };
        }
        let now = self.user_now();
        let owner = self.access(data_dir).map(|folder| folder.uid);
        // Whoever may not ask it still sees whose it is; and root runs what is another's as that.
        let is_of_owner = self.has_gateway(data_dir) || (now.uid == 0 && !is_of_system);
        if let Some(uid) = owner.filter(|uid| is_of_owner && *uid != now.uid) {
            return self.user_numbered(uid);
        }
        let unit = self.unit().filter(|_| is_of_system);
        let named = unit.as_ref().and_then(|unit| unit.user.as_deref());
        let meant = named.or((now.uid == 0 && is_of_system).then_some(USER));
        let Some(mut user) = meant.and_then(|name| self.user_named(name)) else {
            return now;
        };
        let unit = unit.unwrap_or_default();
        let more = unit.groups.iter().chain(&unit.group);
        let more = more.filter_map(|name| name.parse().ok().or_else(|| self.group_named(name)));
        user.gids.extend(more);
        user
    }

    /// All groups of a process.
    fn groups_of(&self, pid: u32) -> Vec<u32> {
        let status = self.text(format!("/proc/{pid}/status"));
        let of = |name| status.lines().find_map(move |line| line.strip_prefix(name));
        let fields = [of("Gid:"), of("Groups:")].into_iter().flatten();
        let numbers = fields.flat_map(str::split_whitespace);
        numbers.filter_map(|number| number.parse().ok()).collect()
    }

    /// How many descriptors a process may be given.
    pub(in crate::cli::setup) fn descriptors_of(&self, pid: &str) -> Option<u64> {
        let limits = self.text(format!("/proc/{pid}/limits"));
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        // The soft limit is raised to the hard one at the start.
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Unit {
    /// Takes what stands in a unit, over what stood there before.
    fn read(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once('=') else {
                continue;
            };
            let value = value.trim();
            match key.trim() {
                "User" => self.user = (!value.is_empty()).then(|| value.to_owned()),
                "Group" => self.group = (!value.is_empty()).then(|| value.to_owned()),
                "SupplementaryGroups" if value.is_empty() => self.groups.clear(),
                "SupplementaryGroups" => {
                    self.groups
                        .extend(value.split_whitespace().map(str::to_owned));
                }
                "LimitNOFILE" => {
                    let hard = value.rsplit(':').next().unwrap_or_default();
                    self.descriptors = hard.parse().ok();
                }
                "MemoryMax" | "MemoryHigh" | "MemoryLimit" => {
                    let bytes = memory(value);
                    let less = |before: u64| bytes.map_or(before, |bytes| bytes.min(before));
                    self.memory_bytes = self.memory_bytes.map(less).or(bytes);
                }
                _ => {}
            }
        }
    }
}

/// `512M`, in powers of two as systemd reads it. Parts of the machine's memory and `infinity` are none.
fn memory(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let shift = match &value[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_says_as_whom_and_with_what_limits() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("lib/systemd/system");
        let more = root.path().join("etc/systemd/system/tidegate.service.d");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::create_dir_all(&more).expect("a folder");
        let text =
            "[Service]\nUser=tidegate\nSupplementaryGroups=dialout gpio\nLimitNOFILE=1024:65536\n";
        std::fs::write(folder.join(UNIT), text).expect("room");
        std::fs::write(more.join("x.conf"), "[Service]\nMemoryMax=64M\n").expect("room");
        let unit = Machine::new(Some(root.path().to_owned())).unit();
        let unit = unit.expect("a unit");
        assert_eq!(unit.user.as_deref(), Some("tidegate"));
        assert_eq!(unit.groups, ["dialout", "gpio"]);
        assert_eq!(unit.descriptors, Some(65_536));
        assert_eq!(unit.memory_bytes, Some(64 << 20));
    }

    #[test]
    fn sizes_are_read_as_systemd_does() {
        let cases = [
            ("512M", Some(512 << 20)),
            ("1073741824", Some(1 << 30)),
            ("infinity", None),
            ("50%", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(memory(text), expected, "{text:?}");
        }
    }
}
