//! Cargo, for what a test has built.

use std::process::Command;

use crate::tidy;

/// Cargo in the workspace.
pub fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    in_workspace(&mut cargo);
    cargo
}

/// Runs in the workspace, as if somebody ran it by hand.
pub fn in_workspace(command: &mut Command) {
    command.current_dir(tidy::root());
    for name in of_this_package() {
        command.env_remove(name);
    }
}

/// The variables in which cargo tells a test about its package. Build scripts that watch them
/// would run again, and with them half of the dependencies be built again, at every change
/// between `cargo build` by hand and here.
fn of_this_package() -> impl Iterator<Item = String> {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}
