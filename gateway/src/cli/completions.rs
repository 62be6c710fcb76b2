//! `tidegate completions SHELL`: what makes the tab key work.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure};

/// What `tidegate completions` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell to write for
    shell: Shell,
}

/// Writes the completions to standard output.
///
/// # Errors
/// When the output is closed.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "tidegate",
        &mut script,
    );
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(())
}
