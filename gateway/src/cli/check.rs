//! `tidegate check`: everything that is wrong with the configuration and the rules, without
//! running anything.

use std::io::Write;

use clap::ValueEnum;
use tidegate_rules::diagnostic::Diagnostic;

use super::{ConfigArgument, Failure, rules, terminal};
use crate::config::{self, Config};

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// Pictures with carets
    #[default]
    Text,
    /// One line each, for editors: `file:line:column: error: message`
    Short,
    /// One JSON document
    Json,
}

/// What `tidegate check` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to write what was found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
    let findings = rules::check_folder(folder, &config)?;
    if arguments.format == Format::Json {
        let all = [config.warnings.as_slice(), &findings.found].concat();
        write_findings(&all, arguments.format)?;
    } else {
        write_findings(&config.warnings, arguments.format)?;
        findings.write(arguments.format)?;
    }
    let rules = findings.rules.ok_or_else(Failure::said_bad_config)?;
    say_fine(&config, &counted(rules, "rule"), arguments.format)
}

fn say_fine(config: &Config, rules: &str, format: Format) -> Result<(), Failure> {
    if format == Format::Text {
        let sources = counted(config.sources.len(), "source");
        let upstreams = counted(config.upstreams.len(), "upstream");
        let file = config.path.display();
        writeln!(
            std::io::stdout(),
            "{file} is fine: {sources}, {upstreams}, {rules}"
        )?;
    }
    Ok(())
}

/// `1 rule`, `2 rules`
pub(super) fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// Writes findings: pictures to standard error, what programs read to standard output.
///
/// # Errors
/// When the output is closed.
pub(super) fn write_findings(found: &[Diagnostic], format: Format) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match format {
        Format::Text if found.is_empty() => {}
        Format::Text => eprintln!("{}", config::render(found, terminal::errors_in_color())),
        Format::Short => {
            for diagnostic in found {
                writeln!(output, "{}", diagnostic.short())?;
            }
        }
        Format::Json => {
            let errors = found.iter().filter(|d| d.is_error()).count();
            let document = serde_json::json!({
                "errors": errors,
                "warnings": found.len() - errors,
                "diagnostics": found,
            });
            writeln!(output, "{document:#}")?;
        }
    }
    Ok(())
}
