//! `tidegate self`: another release of this program, before it is installed and at its first starts.

mod check;
mod formats;
mod gate;
mod store_step;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::Failure;
use crate::cli::arguments::{OutputFormat, PlaceArgument};
use crate::run::update::bounded::Identity;

/// User and group that own nothing.
const NOBODY: Identity = (65_534, 65_534);

/// What `tidegate self` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArgument,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t, global = true)]
    format: OutputFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a program or a Debian package of it would do here
    Check {
        /// The program, or the package
        file: PathBuf,
    },
    /// Show the version of this program and the formats that it reads and writes
    Formats,
    /// Guard the start of the service: put back a program that was never ready and had three starts
    ///
    /// The service's unit calls this at each start, with the program that was kept from before. Ends with 1 where nothing
    /// may be started before somebody has looked at it.
    Gate(gate::Programs),
    /// Keep the present program as the one to go back to, if it was ever ready; for the scripts of a package
    Keep(gate::Programs),
    /// What the gate does at the store, as its owner
    #[command(hide = true)]
    StoreStep(store_step::Arguments),
}

/// Carries out `tidegate self`.
///
/// # Errors
/// An objection, or what failed.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Check { file } => check::run(file, &arguments.place, arguments.format),
        Command::Formats => formats::run(arguments.format),
        Command::Gate(programs) => gate::start(programs, &arguments.place, arguments.format),
        Command::Keep(programs) => gate::keep(programs, &arguments.place, arguments.format),
        Command::StoreStep(step) => store_step::run(step, &arguments.place),
    }
}

/// As whom another program is asked: root goes on as the owner of the gateway's data, or as nobody.
fn identity(data_dir: &Path) -> Option<Identity> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    match std::fs::metadata(data_dir) {
        Ok(found) if found.uid() == 0 => None,
        Ok(found) => Some((found.uid(), found.gid())),
        Err(_) => Some(NOBODY),
    }
}
