//! `tidegate demo` of a program that was built without it: how to get one.

use super::Failure;
use crate::config::kinds::build_command;

/// Whatever the demo takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _ignored: Vec<String>,
}

/// Says how to get the demo.
///
/// # Errors
/// Always: exit code 1.
pub(super) fn run() -> Result<(), Failure> {
    let command = build_command("demo");
    let words = format!("this tidegate was built without the demo; build it with `{command}`");
    Err(Failure::new(words))
}
