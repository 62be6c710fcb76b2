//! `tidegate check`: everything that is wrong with the configuration and the rules, without
//! running anything.

pub(super) mod findings;
pub(super) mod rules_folder;

use std::io::Write;
use std::path::Path;

use tidegate_rules::diagnostic::Diagnostic;

use super::Failure;
use super::arguments::ConfigArgument;
use super::terminal::figures;
use crate::run::config::{self, Config, preflight};
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
        Err(found) => return write_with_rules(&path, &found, arguments.format),
    };
    let objections = preflight::objections(&config);
    if !objections.is_empty() {
        return write_with_rules(&path, &objections, arguments.format);
    }
    let warnings = [config.warnings.clone(), preflight::warnings(&config)].concat();
    let Some(folder) = &config.gateway.rules else {
        write_findings(&warnings, arguments.format)?;
        return say_fine(&config, "no rules", arguments.format);
    };
    let findings = rules_folder::check(folder, &config);
    if arguments.format == FindingsFormat::Json {
        let all = [warnings.as_slice(), &findings.found].concat();
        write_findings(&all, arguments.format)?;
    } else {
        write_findings(&warnings, arguments.format)?;
        findings.write(arguments.format)?;
    }
    let rules = findings.rules.ok_or_else(Failure::said_bad_config)?;
    say_fine(&config, &figures::plural(rules, "rule"), arguments.format)
}

/// Writes what is wrong with a configuration, and with its rules as far as it tells of them.
///
/// # Errors
/// Exit code 78: all of it has been reported.
pub(super) fn write_with_rules(
    path: &Path,
    found: &[Diagnostic],
    format: FindingsFormat,
) -> Result<(), Failure> {
    let rules = rules_folder::check_beside(path);
    let of_rules = rules.as_ref().map_or(&[][..], |rules| &rules.found);
    match (format, &rules) {
        (FindingsFormat::Json, _) => write_findings(&[found, of_rules].concat(), format)?,
        (_, rules) => {
            write_findings(found, format)?;
            if let Some(rules) = rules {
                rules.write(format)?;
            }
        }
    }
    Err(Failure::said_bad_config())
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
