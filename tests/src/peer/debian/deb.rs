//! The package, made of the program that is tested.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peer::cargo;
use crate::peer::debian::base::{self, Architecture};

/// Where the program lies in it.
const PROGRAM: &str = "usr/bin/tidegate";

/// The package of a version, by the same `cargo deb` that a release is packed with. The program in it, whatever the
/// version says, is that of the development profile, for another machine that of a release: QEMU is slow enough.
///
/// # Panics
/// When it cannot be made.
pub fn package(architecture: Architecture, version: &str) -> PathBuf {
    let target = ["--target", architecture.target()];
    let foreign = architecture != Architecture::Amd64;
    let (built, profile) = match foreign {
        true => (of_release(architecture), "release"),
        // As for every other test, which uses what was built.
        false => (
            cargo::command()
                .args(["build", "--quiet", "--workspace", "--bin", "tidegate"])
                .status(),
            "dev",
        ),
    };
    let built = built.expect("it runs");
    assert!(built.success(), "{architecture:?}: the build fails");
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
            profile,
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

/// Builds what is released for another machine; one that is too large is told, and taken all the same.
fn of_release(architecture: Architecture) -> std::io::Result<std::process::ExitStatus> {
    let script = "\"$0\" \"$1\" || [ $? = 1 ]";
    let mut command = Command::new("sh");
    cargo::in_workspace(&mut command);
    command
        .args(["-c", script, ".ci/build", architecture.target()])
        .status()
}

/// The same package in another version, with another program in it; all else is as it was.
///
/// # Panics
/// When it cannot be made.
pub fn with_program(package: &Path, version: &str, program: &[u8]) -> PathBuf {
    let folder = tempfile::tempdir_in(base::kept()).expect("a folder");
    let (tree, fresh) = (folder.path().join("tree"), folder.path().join("fresh.deb"));
    let run = |command: &mut Command| {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(Command::new("dpkg-deb").arg("-R").arg(package).arg(&tree));
    // It keeps its rights.
    std::fs::write(tree.join(PROGRAM), program).expect("it is ours");
    let control = tree.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).expect("it is there");
    let lines = text.lines().map(|line| match line.split_once(": ") {
        Some(("Version", _)) => format!("Version: {version}\n"),
        _ => format!("{line}\n"),
    });
    let text: String = lines.collect();
    std::fs::write(&control, text).expect("it is ours");
    // dpkg counts them itself where they are missing.
    let _ = std::fs::remove_file(tree.join("DEBIAN/md5sums"));
    run(Command::new("dpkg-deb")
        .args(["-b", "-Zgzip", "-z1"])
        .args([&tree, &fresh]));
    let architecture = run(Command::new("dpkg-deb")
        .arg("-f")
        .arg(&fresh)
        .arg("Architecture"));
    let into = base::kept().join(format!("tidegate_{version}_{}.deb", architecture.trim()));
    std::fs::rename(&fresh, &into).expect("it takes its name");
    into
}
