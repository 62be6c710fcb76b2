//! A root as debootstrap leaves it. It is made once and kept below the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::peer::debian::{Manager, Root};
use crate::{peer, tidy};

const MIRROR: &str = "http://deb.debian.org/debian";
const SUITE: &str = "bookworm";
/// What the package needs, and what its tests use: a broker as an upstream of one's own, its clients, logrotate.
const PACKAGES: &str =
    "systemd,systemd-sysv,udev,dbus,ca-certificates,mosquitto,mosquitto-clients,logrotate";

/// What a root is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64, as this machine.
    Amd64,
    /// 64-bit ARM, by QEMU.
    Arm64,
    /// 32-bit ARM, by QEMU.
    Armhf,
}

/// What the kernel is told of foreign programs: the first 20 bytes of an ELF file, which of their bits count.
const ARM64: &str = r":tidegate-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:OCF";
const ARMHF: &str = r":tidegate-arm:M::\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-arm-static:OCF";

impl Architecture {
    /// As Debian calls it.
    pub fn debian(self) -> &'static str {
        match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
            Architecture::Armhf => "armhf",
        }
    }

    /// As Rust calls it.
    pub fn target(self) -> &'static str {
        match self {
            Architecture::Amd64 => "x86_64-unknown-linux-gnu",
            Architecture::Arm64 => "aarch64-unknown-linux-gnu",
            Architecture::Armhf => "armv7-unknown-linux-gnueabihf",
        }
    }

    /// The file with what the kernel is told of its programs.
    ///
    /// # Panics
    /// When it cannot be written.
    pub(super) fn emulator(self) -> Option<PathBuf> {
        let line = match self {
            Architecture::Amd64 => return None,
            Architecture::Arm64 => ARM64,
            Architecture::Armhf => ARMHF,
        };
        let file = kept().join(format!("binfmt-{}", self.debian()));
        std::fs::write(&file, line).expect("it is ours");
        Some(file)
    }
}

/// Whether roots can be made here; else `test` is skipped, loudly.
pub fn possible(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        peer::skip(test, "a Debian root takes root");
        return false;
    }
    ["debootstrap", "unshare", "nsenter", "ip", "cargo-deb"]
        .iter()
        .all(|name| peer::find(name, test).is_some())
}

/// Where roots and packages are kept.
pub(super) fn kept() -> PathBuf {
    let folder = tidy::root().join("target/debian-roots");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.canonicalize().expect("it is there")
}

/// The base of an architecture, made now unless it is there.
///
/// # Panics
/// When it cannot be made.
pub fn of(architecture: Architecture) -> PathBuf {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let base = kept().join(format!("{SUITE}-{}", architecture.debian()));
    if !base.exists() {
        let making = base.with_extension("making");
        let _ = std::fs::remove_dir_all(&making);
        make(&making, architecture);
        std::fs::rename(&making, &base).expect("it is there now");
    }
    base
}

fn make(root: &Path, architecture: Architecture) {
    let foreign = architecture != Architecture::Amd64;
    let output = Command::new("debootstrap")
        .args(["--variant=minbase", "--arch", architecture.debian()])
        .args(foreign.then_some("--foreign"))
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(root)
        .arg(MIRROR)
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .output()
        .expect("debootstrap starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "debootstrap: {said}");
    if foreign {
        let held = Root::hold(root.to_owned(), architecture, Manager::Nobody, None);
        held.done("/debootstrap/debootstrap --second-stage");
    }
    std::fs::write(
        root.join("etc/hosts"),
        "127.0.0.1 localhost\n::1 localhost\n",
    )
    .expect("a file");
    // No service of the base runs by itself, and none is started while an image is built.
    let none = "#!/bin/sh\nexit 101\n";
    std::fs::write(root.join("usr/sbin/policy-rc.d"), none).expect("a file");
    let held = Root::hold(root.to_owned(), architecture, Manager::Nobody, None);
    held.done("chmod 755 /usr/sbin/policy-rc.d; rm -f /etc/systemd/system/multi-user.target.wants/mosquitto.service /var/cache/apt/archives/*.deb");
}
