//! A gateway that is started as the service's unit does it: the gate first, run by the program that was kept, then the
//! program that is installed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tidegate_tests::gateway::{Gateway, binary};
use tidegate_tests::mqtt;
use tidegate_tests::wait;

const CONFIG: &str = "[upstreams.archive]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\n";

/// The gateway and its programs.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    /// The bytes of the release that works.
    old: Vec<u8>,
}

impl Site {
    /// A gateway whose release was ready once, with so many events waiting for an upstream that is away, and stopped.
    pub(crate) fn with_events(count: u16) -> Site {
        let mut site = Site::bare();
        site.install_bytes(&site.old.clone());
        site.start();
        site.publish(count);
        assert!(site.gateway.terminate().success());
        site.keep();
        site
    }

    /// A gateway without a program.
    pub(crate) fn bare() -> Site {
        let mut gateway = Gateway::new(CONFIG);
        let state = gateway.path("state");
        gateway.variable("TIDEGATE_GATE_STATE", &state.display().to_string());
        gateway.program(gateway.path("bin/tidegate"));
        for folder in ["bin", "lib/previous"] {
            std::fs::create_dir_all(gateway.path(folder)).expect("a folder");
        }
        let old = std::fs::read(binary::tidegate()).expect("the program");
        Site { gateway, old }
    }

    /// Another user finds its way to it.
    pub(crate) fn open_to_all(&self) {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.gateway.path(""), mode).expect("it is ours");
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.gateway.path("bin/tidegate")
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.gateway.path("lib/previous/tidegate")
    }

    /// As dpkg does it: beside the other one, then in its place.
    pub(crate) fn install_bytes(&self, bytes: &[u8]) {
        let fresh = self.gateway.path("bin/tidegate.dpkg-new");
        std::fs::write(&fresh, bytes).expect("a program");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&fresh, mode).expect("it is ours");
        std::fs::rename(&fresh, self.program()).expect("a program");
    }

    /// A release that does this when it is run.
    pub(crate) fn install(&self, script: &str) {
        self.install_bytes(format!("#!/bin/sh\n{script}\n").as_bytes());
    }

    /// Another release that works.
    pub(crate) fn install_working(&self) {
        self.install_bytes(&[&self.old[..], b"another release"].concat());
    }

    pub(crate) fn is_old(&self) -> bool {
        std::fs::read(self.program()).expect("a program") == self.old
    }

    /// What the unit runs before the program.
    pub(crate) fn gate(&self) -> Output {
        self.gate_command().output().expect("it runs")
    }

    pub(crate) fn gate_command(&self) -> Command {
        let previous = self.previous();
        let tried = Command::new(&previous).args(["self", "formats"]).output();
        let runs = match tried.is_ok_and(|tried| tried.status.success()) {
            true => previous,
            false => binary::tidegate(),
        };
        // As the unit has it.
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$0\" \"$@\""]);
        command.arg(runs).args(["self", "gate"]);
        self.with_places(&mut command);
        command
    }

    /// What the package runs before it is unpacked.
    pub(crate) fn keep(&self) -> Value {
        let mut command = Command::new(binary::tidegate());
        command.args(["self", "keep", "--format", "json"]);
        self.with_places(&mut command);
        let kept = command.output().expect("it runs");
        assert!(kept.status.success(), "{kept:?}");
        serde_json::from_slice(&kept.stdout).expect("JSON")
    }

    fn with_places(&self, command: &mut Command) {
        command
            .arg("--program")
            .arg(self.program())
            .arg("--previous")
            .arg(self.previous())
            .arg("--state")
            .arg(self.gateway.path("state"))
            .arg("--config")
            .arg(self.gateway.path("gateway.toml"));
    }

    /// The gate, which must let it start, and what it said.
    pub(crate) fn passed(&self) -> String {
        let gate = self.gate();
        assert!(gate.status.success(), "{gate:?}");
        String::from_utf8(gate.stdout).expect("UTF-8")
    }

    /// One start of the unit that fails.
    pub(crate) fn fails(&mut self) -> String {
        let said = self.passed();
        if let Ok(mut process) = self.gateway.command().spawn() {
            let ended = wait::find("the program ends", || {
                process.try_wait().expect("a child").ok_or("it runs")
            });
            assert!(!ended.success());
        }
        said
    }

    /// A start of the unit that works.
    pub(crate) fn start(&mut self) -> String {
        let said = self.passed();
        self.gateway.start();
        said
    }

    /// Publishes events with QoS 1, each of which is acknowledged.
    pub(crate) fn publish(&self, count: u16) {
        let mut stream = mqtt::connect(self.gateway.address, "press", true).expect("it listens");
        for number in 1..=count {
            let payload = format!("{{\"n\":{number}}}");
            mqtt::publish_acknowledged(&mut stream, "hall/n", number, payload.as_bytes());
        }
    }

    /// Events that wait for the upstream.
    pub(crate) fn waiting(&self) -> usize {
        let events = self
            .gateway
            .events(&["--topic", "hall/#", "--limit", "10000"]);
        events.len()
    }

    pub(crate) fn state(&self) -> Value {
        let text = std::fs::read(self.gateway.path("state/state.json")).expect("a state");
        serde_json::from_slice(&text).expect("JSON")
    }

    pub(crate) fn change_state(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        change(&mut state);
        let path = self.gateway.path("state/state.json");
        std::fs::write(path, state.to_string()).expect("a state");
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.gateway.path("data").join(name)
    }
}

/// A copy of a whole folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}
