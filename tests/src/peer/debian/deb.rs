//! The package, made of the program that is tested.

use std::path::PathBuf;
use std::process::Command;

use crate::gateway::binary;
use crate::peer::debian::base::{self, Architecture};
use crate::tidy;

/// The package of a version, by the same `cargo deb` that a release is packed with; the program in it is that of the
/// development profile, whatever the version says.
///
/// # Panics
/// When it cannot be made.
pub fn package(architecture: Architecture, version: &str) -> PathBuf {
    let target = ["--target", architecture.target()];
    if architecture == Architecture::Amd64 {
        binary::tidegate();
    } else {
        let build = cargo()
            .args(["build", "-q", "--locked", "-p", "tidegate"])
            .args(target)
            .status();
        assert!(
            build.expect("cargo runs").success(),
            "{architecture:?}: the build fails"
        );
    }
    let name = format!("tidegate_{version}_{}.deb", architecture.debian());
    let into = base::kept().join(name);
    let packed = cargo()
        .args([
            "deb",
            "-q",
            "-p",
            "tidegate",
            "--no-build",
            "--no-strip",
            "--fast",
            "--profile",
            "dev",
        ])
        .args(
            (architecture != Architecture::Amd64)
                .then_some(target)
                .into_iter()
                .flatten(),
        )
        .args(["--deb-version", version, "-o"])
        .arg(&into)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&packed.stderr);
    assert!(packed.status.success(), "cargo deb: {said}");
    into
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(tidy::root());
    cargo
}
