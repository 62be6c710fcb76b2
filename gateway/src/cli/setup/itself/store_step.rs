//! `tidegate self store-step`: what the gate does at the store, in a process of the store's owner.

use clap::ValueEnum;
use rustix::process::Signal;

use crate::cli::Failure;
use crate::cli::arguments::PlaceArgument;
use crate::cli::gateway::permission;
use crate::run::config::Place;
use crate::run::update::gate::Step;
use crate::run::update::gate::state::StoreFate;
use crate::run::update::gate::store_copy::StoreCopy;

/// What it takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    step: Name,
    /// The store's format before the program that failed
    #[arg(long)]
    store_format: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    BackUp,
    Check,
    Restore,
    Forget,
}

/// The arguments behind `store-step` that ask for `step`.
pub(super) fn arguments(step: Step) -> Vec<String> {
    let (name, format) = match step {
        Step::BackUp => ("back-up", None),
        Step::Check(format) => ("check", format),
        Step::Restore(format) => ("restore", format),
        Step::Forget => ("forget", None),
    };
    let format = format.map(|format| format!("--store-format={format}"));
    [name.to_owned()].into_iter().chain(format).collect()
}

/// Does one step.
///
/// # Errors
/// What stands in its way.
pub(super) fn run(arguments: &Arguments, place: &PlaceArgument) -> Result<(), Failure> {
    let place = place.find()?;
    permission::become_owner(&place.data_dir)?;
    // Where the gate is killed, the next one must not find this one at work.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let step = match arguments.step {
        Name::BackUp => Step::BackUp,
        Name::Check => Step::Check(arguments.store_format),
        Name::Restore => Step::Restore(arguments.store_format),
        Name::Forget => Step::Forget,
    };
    match take(step, &place).map_err(Failure::new)? {
        StoreFate::Untouched => println!("untouched"),
        StoreFate::Restored => println!("restored"),
    }
    Ok(())
}

fn take(step: Step, place: &Place) -> Result<StoreFate, String> {
    let copy = StoreCopy::of(&place.data_dir);
    let untouched = |()| StoreFate::Untouched;
    match step {
        Step::BackUp => copy.back_up().map(untouched),
        Step::Check(format) => copy.check(format).map(untouched),
        Step::Restore(format) => copy.restore(format),
        Step::Forget => copy
            .forget()
            .map(untouched)
            .map_err(|error| error.to_string()),
    }
}
