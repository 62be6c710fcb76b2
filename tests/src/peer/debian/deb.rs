//! The package, made of the program that is tested.

use std::path::PathBuf;

use crate::peer::cargo;
use crate::peer::debian::base::{self, Architecture};

/// The package of a version, by the same `cargo deb` that a release is packed with; the program in it is that of the
/// development profile, whatever the version says.
///
/// # Panics
/// When it cannot be made.
pub fn package(architecture: Architecture, version: &str) -> PathBuf {
    let target = ["--target", architecture.target()];
    let foreign = architecture != Architecture::Amd64;
    // For this machine just as for every other test, which uses what was built.
    let build = cargo::command()
        .args(["build", "--quiet", "--workspace", "--bin", "tidegate"])
        .args(foreign.then_some(target).into_iter().flatten())
        .status();
    assert!(
        build.expect("cargo runs").success(),
        "{architecture:?}: the build fails"
    );
    let name = format!("tidegate_{version}_{}.deb", architecture.debian());
    let into = base::kept().join(name);
    // Others may pack the same meanwhile, or copy what was packed before.
    let folder = tempfile::tempdir_in(base::kept()).expect("a folder");
    let fresh = folder.path().join("fresh.deb");
    let packed = cargo::command()
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
        .args(foreign.then_some(target).into_iter().flatten())
        .args(["--deb-version", version, "-o"])
        .arg(&fresh)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&packed.stderr);
    assert!(packed.status.success(), "cargo deb: {said}");
    std::fs::rename(&fresh, &into).expect("it takes its name");
    into
}
