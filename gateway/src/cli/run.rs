//! `tidegate run`: the gateway itself.

use super::{ConfigArgument, Failure};

/// What `tidegate run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// The bad configuration, or what ended the gateway.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    Err(Failure::new(format!(
        "{} is fine, but this build has nothing to run yet",
        config.path.display()
    )))
}
