//! The program under test: always built from the sources as they are.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::peer::cargo;

static BINARY: OnceLock<PathBuf> = OnceLock::new();
static BREACHING: OnceLock<PathBuf> = OnceLock::new();

/// The path of `tidegate`: what `TIDEGATE_BIN` names, else what cargo built for the tests of the
/// gateway's own package, else built once per test process in the profile of the test itself.
///
/// # Panics
/// When it cannot be built.
pub fn tidegate() -> PathBuf {
    for given in ["TIDEGATE_BIN", "CARGO_BIN_EXE_tidegate"] {
        if let Some(given) = std::env::var_os(given) {
            return given.into();
        }
    }
    BINARY.get_or_init(|| build("tidegate", &[])).clone()
}

/// The path of the build that breaks its promises when `TIDEGATE_NULL_CONTROL` says so: the same
/// sources with the feature `null-controls`, under another name, beside the real one.
///
/// # Panics
/// When it cannot be built.
pub fn breaching() -> PathBuf {
    let features = ["--features", "tidegate/null-controls"];
    BREACHING
        .get_or_init(|| build("tidegate-null-controls", &features))
        .clone()
}

/// What `tidegate hash-password` makes of a password.
///
/// # Panics
/// When it makes nothing.
pub fn password_hash(password: &str) -> String {
    let mut child = Command::new(tidegate())
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tidegate starts");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(password.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let hash = String::from_utf8(output.stdout).expect("UTF-8");
    hash.trim().to_owned()
}

fn build(name: &str, features: &[&str]) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // target/<profile>/deps/<test>
    let profile = test.ancestors().nth(2).expect("a test lies in deps");
    let mut cargo = cargo::command();
    // With the whole workspace named, the dependencies that the tests were built with serve here too.
    cargo.args(["build", "--quiet", "--workspace", "--bin", name]);
    cargo.args(features);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.status().expect("cargo runs");
    assert!(built.success(), "{name} does not build");
    profile.join(name)
}
