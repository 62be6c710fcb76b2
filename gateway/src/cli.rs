//! The command line: one file per subcommand, and what they share.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong command line (clap's own), 78 bad configuration or rules.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod backup;
mod check;
mod completions;
mod config_file;
mod dead_letters;
#[cfg(feature = "demo")]
mod demo;
mod events;
mod failure;
mod hash_password;
mod held;
mod human;
mod rules;
mod run;
mod running;
mod status;
mod store;
mod table;
mod terminal;

pub use failure::Failure;

/// An IoT edge event gateway: an acknowledged event is never lost.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C
    Run(run::Arguments),
    /// Show the main job on this machine: sensors, an outage, a kill -9, and the books
    #[cfg(feature = "demo")]
    Demo(demo::command::Arguments),
    /// Check the configuration and the rules without running anything
    Check(check::Arguments),
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
    /// Hash a password for `password_hash`, read from the terminal or standard input
    HashPassword,
    /// Print shell completions
    Completions(completions::Arguments),
}

/// Which configuration a subcommand works with.
#[derive(Debug, Args)]
struct ConfigArgument {
    /// Configuration file [default: $TIDEGATE_CONFIG, ./gateway.toml or /etc/tidegate/gateway.toml]
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// How a subcommand that people read and programs parse writes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Parses the command line and carries it out.
///
/// # Errors
/// What failed, with its exit code. A wrong command line ends the process with code 2 at once.
pub fn main() -> Result<(), Failure> {
    tidegate_store::limit_heaps();
    match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::command::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Events(arguments) => events::run(&arguments),
        Command::DeadLetters(arguments) => dead_letters::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::HashPassword => hash_password::run(),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
