//! `tidegate rules check`: everything that is wrong with the rules, without running them.

use std::io::Write;

use clap::Subcommand;

use super::Failure;
use super::arguments::ConfigArgument;
use super::check::findings::FindingsFormat;
use super::check::{rules_folder, write_with_rules};
use super::terminal::figures;
use crate::run::config;

/// What `tidegate rules` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Check the rules against the upstreams of the configuration
    Check {
        /// How to write what was found
        #[arg(long, value_enum, default_value_t)]
        format: FindingsFormat,
    },
}

/// Carries out `tidegate rules`.
///
/// # Errors
/// Exit code 78 when anything is wrong; it has been reported.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Check { format } = arguments.command;
    let path = arguments.config.path()?;
    let config = match config::load(&path) {
        Ok(config) => config,
        Err(found) => return write_with_rules(&path, &found, format),
    };
    let Some(folder) = &config.gateway.rules else {
        return Err(Failure::new(format!(
            "{} names no rules folder: every event goes to every upstream",
            config.path.display()
        )));
    };
    let findings = rules_folder::check(folder, &config);
    findings.write(format)?;
    match findings.rules {
        None => Err(Failure::said_bad_config()),
        Some(rules) if format == FindingsFormat::Text => {
            let files = figures::plural(findings.files.len(), "file");
            let rules = figures::plural(rules, "rule");
            writeln!(
                std::io::stdout(),
                "{rules} in {files} of {} are fine{}",
                folder.display(),
                match &*findings.others {
                    [] => String::new(),
                    others => format!("; not read: {}", others.join(", ")),
                }
            )?;
            Ok(())
        }
        Some(_) => Ok(()),
    }
}
