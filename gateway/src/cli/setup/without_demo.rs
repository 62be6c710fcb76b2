//! `tidegate demo` of a program that was built without it: how to get one.

use crate::cli::Failure;
use crate::config::kinds::build_command;

/// Whatever the demo takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _ignored: Vec<String>,
}

/// Says how to get the demo.
///
/// # Errors
/// Always: exit code 1.
pub(in crate::cli) fn run() -> Result<(), Failure> {
    let command = build_command("demo");
    let words = format!("this tidegate was built without the demo; build it with `{command}`");
    Err(Failure::new(words))
}
