//! The house rules as functions, so that they can be tested themselves.
//!
//! | file | rules |
//! |---|---|
//! | `text` | what one file must open with, how long it and its functions may be, words it must not hold |
//! | `source` | reads one file: which modules it declares, which names it uses |
//! | `package` | the modules of a package, and which of them names which |
//! | `circle` | modules that name each other in a circle |
//! | `door` | which module may name which, held against the lists in `allowed/` |
//! | `drawing` | the drawing of the gateway's rooms in its `lib.rs` |
//! | `folder` | how many files a folder may hold |
//! | `manifest` | what a package's manifest says |
//! | `dependency` | dependencies that nothing names |
//!
//! When a module names another for the first time, or no longer, the lists and the drawing are
//! written anew with `cargo run -p tidegate-tests --example doors -- --write`; the difference is
//! what a reviewer looks at.

pub mod circle;
pub mod dependency;
pub mod door;
pub mod drawing;
pub mod folder;
pub mod manifest;
pub mod package;
pub mod source;
pub mod text;

use std::path::{Path, PathBuf};

use package::Package;

/// The folders of all packages.
pub const PACKAGES: [&str; 6] = [
    "gateway",
    "rules",
    "store",
    "firmware/link",
    "firmware/device",
    "tests",
];

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every package of the workspace, read.
///
/// # Panics
/// When one cannot be read; the house does not compile then either.
pub fn packages() -> Vec<Package> {
    let read = |folder: &&str| {
        Package::read(&root(), folder).unwrap_or_else(|error| panic!("{folder}: {error}"))
    };
    PACKAGES.iter().map(read).collect()
}
