//! `tidegate check`: everything that is wrong with the configuration, without running anything.

use std::io::Write;

use clap::ValueEnum;
use tidegate_rules::diagnostic::Diagnostic;

use super::{ConfigArgument, Failure, terminal};
use crate::config;

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

/// Checks the configuration.
///
/// # Errors
/// Exit code 78 when anything is wrong; it has been reported.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.config.path()?;
    let (found, summary) = match config::load(&path) {
        Ok(config) => {
            let counts = (config.sources.len(), config.upstreams.len());
            let summary = format!("{} sources, {} upstreams", counts.0, counts.1);
            (config.warnings, Some(summary))
        }
        Err(found) => (found, None),
    };
    write_findings(&found, arguments.format)?;
    match summary {
        Some(summary) if arguments.format == Format::Text => {
            writeln!(std::io::stdout(), "{} is fine: {summary}", path.display())?;
            Ok(())
        }
        Some(_) => Ok(()),
        None => Err(Failure::said_bad_config()),
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
