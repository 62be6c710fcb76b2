//! Whether the clock can be trusted: a chip that goes on without power, and a server that it is compared with.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Machine;
use crate::time::clock;

/// How long a program may take to say so.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Programs that set the clock by a server.
const DAEMONS: [&str; 7] = [
    "chronyd",
    "ntpd",
    "ntpd-rs",
    "ntp-daemon",
    "openntpd",
    "systemd-timesyn",
    "ptp4l",
];
/// What `systemd-timesyncd` makes once it has set the clock.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// What is known of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::setup) struct ClockState {
    /// A chip with a battery keeps the time while the machine is off.
    pub(in crate::cli::setup) has_chip: bool,
    /// A server was compared with; `None` where nobody can tell.
    pub(in crate::cli::setup) synchronized: Option<bool>,
    /// A program that compares runs.
    pub(in crate::cli::setup) has_daemon: bool,
}

impl ClockState {
    /// Whether the time is known after a start without power, or will be.
    pub(in crate::cli::setup) fn is_kept(self) -> bool {
        match self.synchronized {
            Some(true) => true,
            Some(false) => self.has_chip,
            None => self.has_chip || self.has_daemon,
        }
    }
}

impl Machine {
    /// Looks at the clock.
    pub(in crate::cli::setup) fn clock(&self) -> ClockState {
        let names: Vec<String> = self
            .processes()
            .iter()
            .map(|pid| self.process_name(*pid))
            .collect();
        let has_daemon = names.iter().any(|name| DAEMONS.contains(&&**name));
        let synchronized = match self.has(SYNCHRONIZED) {
            true => Some(true),
            false if self.is_this() => told_by_system(),
            false => None,
        };
        ClockState {
            has_chip: !self.names("/sys/class/rtc").is_empty(),
            synchronized,
            has_daemon,
        }
    }
}

/// What `timedatectl` says, which asks the kernel whether anybody set the clock by a server.
fn told_by_system() -> Option<bool> {
    let mut child = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let began = clock::monotonic();
    let ended = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if clock::monotonic().duration_since(began) > ANSWER_WITHIN => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            None => std::thread::sleep(LOOK_AGAIN),
        }
    };
    let mut said = String::new();
    child.stdout.take()?.read_to_string(&mut said).ok()?;
    match (ended.success(), said.trim()) {
        (true, "yes") => Some(true),
        (true, "no") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_or_a_server_keeps_the_time() {
        let root = tempfile::tempdir().expect("a folder");
        let machine = Machine::new(Some(root.path().to_owned()));
        assert!(!machine.clock().is_kept(), "neither");
        let chip = root.path().join("sys/class/rtc/rtc0");
        std::fs::create_dir_all(&chip).expect("a folder");
        assert!(machine.clock().is_kept(), "a chip");
        std::fs::remove_dir(&chip).expect("it is there");
        let process = root.path().join("proc/412");
        std::fs::create_dir_all(&process).expect("a folder");
        std::fs::write(process.join("comm"), "chronyd\n").expect("room");
        assert!(machine.clock().is_kept(), "a server");
        let state = ClockState {
            has_chip: false,
            synchronized: Some(false),
            has_daemon: true,
        };
        assert!(!state.is_kept(), "a server that does not answer");
    }
}
