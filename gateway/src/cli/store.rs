//! `tidegate store`: the event store on disk.

mod backup;
mod lanes;
mod status;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use super::Failure;
use super::arguments::{OutputFormat, PlaceArgument};
use super::gateway::event_store::EventStore;

/// What `tidegate store` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArgument,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t, global = true)]
    format: OutputFormat,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Show size, generations and what waits for each upstream
    Status,
    /// Read every record and check that it is as it was written
    Verify,
    /// Copy the store to a folder that is empty or not there yet, while the gateway runs or not
    Backup {
        /// Where to; a running gateway must be allowed to write there
        folder: PathBuf,
    },
    /// Look after events behind names that no upstream has any more
    Lanes {
        #[command(subcommand)]
        command: lanes::Command,
    },
    /// Make the store from a backup; there must be none, and no gateway running
    Restore {
        /// The backup
        folder: PathBuf,
    },
}

/// Carries out `tidegate store`.
///
/// # Errors
/// When the store cannot be read or copied, or `verify` found damage.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = arguments.place.find()?;
    match &arguments.command {
        Command::Backup { folder } => backup::back_up(&place, folder, arguments.format),
        Command::Restore { folder } => backup::restore_from(&place, folder, arguments.format),
        Command::Lanes { command } => lanes::run(command, &place, arguments.format),
        Command::Status => {
            let report = status::read(&EventStore::find(&place)?, &place)?;
            status::write(&report, arguments.format)
        }
        Command::Verify => {
            let report = verify::read_all(&EventStore::find(&place)?)?;
            verify::write(&report, arguments.format)
        }
    }
}
