//! The command line: one file per subcommand, and what they share.
//!
//! | folder | what it is |
//! |---|---|
//! | `check`, `rules` | what is wrong with the configuration and the rules |
//! | `demo` | the main job on one machine |
//! | `gateway` | how the gateway, or the store it left, is reached |
//! | `history` | events and dead letters |
//! | `setup` | what a person needs once, before anything runs |
//! | `store` | the store on disk |
//! | `terminal` | what people read: tables, figures, colours, messages |
//!
//! Exit codes: 0 done, 1 failed, 2 wrong command line (clap's own), 78 bad configuration or rules.

use clap::{CommandFactory, Parser, Subcommand};

mod arguments;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod gateway;
mod history;
mod reload;
mod rules;
mod run;
mod setup;
mod status;
mod store;
mod terminal;

use crate::time::task;
use history::{dead_letters, events};
#[cfg(not(feature = "demo"))]
use setup::without_demo;
use setup::{bench, completions, doctor, hash_password, init, itself};
pub use terminal::failure::Failure;

/// An IoT edge event gateway: an acknowledged event is never lost.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a first configuration: five questions, or flags
    Init(init::Arguments),
    /// Say what of a set-up will bite, and what to do about it
    Doctor(doctor::Arguments),
    /// Measure this machine, and what that means for its card
    Bench(bench::Arguments),
    /// Run the gateway until SIGTERM or Ctrl-C
    Run(run::Arguments),
    /// Show the main job on this machine: sensors, an outage, a kill -9, and the books
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    /// Say how to get the demo, which this program was built without
    #[cfg(not(feature = "demo"))]
    #[command(hide = true)]
    Demo(without_demo::Arguments),
    /// Check the configuration and the rules without running anything
    Check(check::Arguments),
    /// Have the running gateway read its configuration again, as SIGHUP does, and say what came of it
    Reload(reload::Arguments),
    /// Show how the running gateway is
    Status(status::Arguments),
    /// Look at accepted events and what became of them
    Events(events::Arguments),
    /// Look at events that were set aside, send them again, drop them
    DeadLetters(dead_letters::Arguments),
    /// Work with the rules
    Rules(rules::Arguments),
    /// Look at the event store on disk, back it up, restore it
    Store(store::Arguments),
    /// Look at another release of this program before it is installed, and guard its first starts
    #[command(name = "self")]
    Itself(itself::Arguments),
    /// Hash a password for `password_hash`, read from the terminal or standard input
    HashPassword,
    /// Print shell completions
    Completions(completions::Arguments),
}

/// The command line as it is declared: for what is written from it, such as manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and carries it out.
///
/// # Errors
/// What failed, with its exit code. A wrong command line ends the process with code 2 at once.
pub fn main() -> Result<(), Failure> {
    tidegate_store::limit_heaps();
    // What the store fences is no panic of a task.
    task::note_panics();
    tidegate_store::tell_no_fenced_panics();
    match Cli::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(&arguments),
        #[cfg(not(feature = "demo"))]
        Command::Demo(_) => without_demo::run(),
        Command::Check(arguments) => check::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Events(arguments) => events::run(&arguments),
        Command::DeadLetters(arguments) => dead_letters::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Itself(arguments) => itself::run(&arguments),
        Command::HashPassword => hash_password::run(),
        Command::Completions(arguments) => completions::run(&arguments, &mut Cli::command()),
    }
}
