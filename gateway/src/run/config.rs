//! `gateway.toml` with the sources and upstreams that this program has.

pub mod in_force;
pub(crate) mod preflight;

use std::path::Path;

use tidegate_rules::diagnostic::Diagnostic;

use crate::config::ReadFile;
pub use crate::config::load::place::{Place, place};
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

/// What a configuration says, whatever is wrong with the files that it names.
pub(crate) type Look = crate::config::load::Look<SourceKind, UpstreamKind>;

/// Looks at the file `path`, and gives its text.
///
/// # Errors
/// Why there is no text in it.
pub(crate) fn look_at(path: &Path) -> Result<(String, Look), Vec<Diagnostic>> {
    crate::config::load::look_at(path)
}

/// Looks at `text` as if it stood in the file `path`.
pub(crate) fn look(path: &Path, text: &str) -> Look {
    crate::config::load::look(path, text)
}

/// What the file `path`, which has mistakes, tells of its rules.
pub(crate) fn sketch(path: &Path) -> Option<Sketch> {
    Sketch::of(path)
}

/// The file that `running` was read from, as it is now, for a gateway that goes on under its id.
///
/// # Errors
/// As [`load`].
pub(super) fn load_again(running: &Config) -> Result<Config, Vec<Diagnostic>> {
    crate::config::load::load_again(&running.path, Some(&running.gateway.id))
}

/// `running` with the certificates and secrets that its files hold now, but for those that are `held`.
///
/// # Errors
/// As [`load`].
pub(super) fn read_files_again(
    running: &Config,
    held: &[ReadFile],
) -> Result<Config, Vec<Diagnostic>> {
    let Config {
        path,
        text,
        gateway,
        ..
    } = running;
    crate::config::load::read_files_again(path, text, &gateway.id, held)
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

/// One line for each mistake; warnings are none.
pub(super) fn lines(found: &[Diagnostic]) -> Vec<String> {
    let errors = found.iter().filter(|found| found.is_error());
    errors.map(Diagnostic::short).collect()
}

/// Every key under its heading, in the order of the README.
pub fn reference() -> Vec<Reference> {
    crate::config::reference::all::<SourceKind, UpstreamKind>()
}
