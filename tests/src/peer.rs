//! Real peers: a test runs where its peer is installed, and says so loudly where it is not.

pub mod cargo;
pub mod debian;
pub mod failing_disk;
pub mod memory_group;
pub mod mosquitto;
pub mod small_disk;
pub mod webhook;

use std::io::Write;
use std::path::PathBuf;

/// The program `name`, or `None` after saying that `test` is skipped.
///
/// # Panics
/// When `TIDEGATE_REQUIRE_PEERS=1` is set and the program is missing: there a skip is a failure.
pub fn find(name: &str, test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    let found = std::env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        skip(test, &format!("{name} is not installed"));
    }
    found
}

/// Says that `test` is skipped, and why.
///
/// # Panics
/// When `TIDEGATE_REQUIRE_PEERS=1` is set: there a skip is a failure.
pub fn skip(test: &str, why: &str) {
    let required = std::env::var("TIDEGATE_REQUIRE_PEERS").as_deref() == Ok("1");
    assert!(!required, "{test}: {why}, and TIDEGATE_REQUIRE_PEERS=1");
    // Not eprintln!, which the test runner keeps to itself while a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: because {why}");
}
