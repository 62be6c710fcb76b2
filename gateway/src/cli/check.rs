//! `tidegate check`: everything that is wrong with the configuration and the rules, without
//! running anything.

pub(super) mod findings;
pub(super) mod rules_folder;

use std::io::Write;

use super::Failure;
use super::arguments::ConfigArgument;
use super::terminal::figures;
use crate::run::config::{self, Config};
use findings::{FindingsFormat, write_findings};

/// What `tidegate check` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to write what was found
    #[arg(long, value_enum, default_value_t)]
    format: FindingsFormat,
}

/// Checks the configuration and its rules.
///
/// # Errors
/// Exit code 78 when anything is wrong; it has been reported.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.config.path()?;
    let config = match config::load(&path) {
        Ok(config) => config,
        Err(found) => {
            write_findings(&found, arguments.format)?;
            return Err(Failure::said_bad_config());
        }
    };
    let Some(folder) = &config.gateway.rules else {
        write_findings(&config.warnings, arguments.format)?;
        return say_fine(&config, "no rules", arguments.format);
    };
    let findings = rules_folder::check(folder, &config)?;
    if arguments.format == FindingsFormat::Json {
        let all = [config.warnings.as_slice(), &findings.found].concat();
        write_findings(&all, arguments.format)?;
    } else {
        write_findings(&config.warnings, arguments.format)?;
        findings.write(arguments.format)?;
    }
    let rules = findings.rules.ok_or_else(Failure::said_bad_config)?;
    say_fine(&config, &figures::plural(rules, "rule"), arguments.format)
}

fn say_fine(config: &Config, rules: &str, format: FindingsFormat) -> Result<(), Failure> {
    if format == FindingsFormat::Text {
        let sources = figures::plural(config.sources.len(), "source");
        let upstreams = figures::plural(config.upstreams.len(), "upstream");
        let file = config.path.display();
        writeln!(
            std::io::stdout(),
            "{file} is fine: {sources}, {upstreams}, {rules}"
        )?;
    }
    Ok(())
}
