//! `gateway.toml` with the sources and upstreams that this program has.

pub(crate) mod preflight;

use std::path::Path;

use tidegate_rules::diagnostic::Diagnostic;

use crate::config::load::sketch::Sketch;

pub use crate::config::{Reference, render};
pub use crate::source::SourceKind;
pub use crate::upstream::UpstreamKind;

/// One `gateway.toml`.
pub type Config = crate::config::Config<SourceKind, UpstreamKind>;

/// Reads and checks the configuration in the file `path`.
///
/// # Errors
/// Everything that is wrong with it, at least one error, in the order of the file.
pub fn load(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    crate::config::load::load(path)
}

/// The same where the rules folder need not be there, for a gateway that may know its last good rules and for
/// whoever asks one that runs.
///
/// # Errors
/// As [`load`].
pub fn load_to_run(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    crate::config::load::load_to_run(path)
}

/// What the file `path`, which has mistakes, tells of its rules.
pub(crate) fn sketch(path: &Path) -> Option<Sketch> {
    Sketch::of(path)
}

/// Reads and checks `text` as if it stood in the file `path`; `variables` looks up `${NAME}`.
///
/// # Errors
/// As [`load`].
pub fn parse(
    path: &Path,
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Diagnostic>> {
    crate::config::load::parse(path, text, variables)
}

/// Every key under its heading, in the order of the README.
pub fn reference() -> Vec<Reference> {
    crate::config::reference::all::<SourceKind, UpstreamKind>()
}
