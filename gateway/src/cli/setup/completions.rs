//! `tidegate completions SHELL`: what makes the tab key work.

use clap::Command;
use clap_complete::Shell;

use crate::cli::Failure;

/// What `tidegate completions` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The shell to write for
    shell: Shell,
}

/// Writes the completions of `tidegate` to standard output.
///
/// # Errors
/// When the output is closed.
pub(in crate::cli) fn run(arguments: &Arguments, tidegate: &mut Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, tidegate, "tidegate", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(())
}
