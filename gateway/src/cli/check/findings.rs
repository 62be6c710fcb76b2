//! Findings: what is wrong with the configuration or the rules, as they are written.

use std::io::Write;

use clap::ValueEnum;
use tidegate_rules::diagnostic::Diagnostic;

use crate::cli::Failure;
use crate::cli::terminal::color;
use crate::config;

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(in crate::cli) enum FindingsFormat {
    /// Pictures with carets
    #[default]
    Text,
    /// One line each, for editors: `file:line:column: error: message`
    Short,
    /// One JSON document
    Json,
}

/// Writes findings: pictures to standard error, what programs read to standard output.
///
/// # Errors
/// When the output is closed.
pub(in crate::cli) fn write_findings(
    found: &[Diagnostic],
    format: FindingsFormat,
) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match format {
        FindingsFormat::Text if found.is_empty() => {}
        FindingsFormat::Text => eprintln!("{}", config::render(found, color::errors_in_color())),
        FindingsFormat::Short => {
            for diagnostic in found {
                writeln!(output, "{}", diagnostic.short())?;
            }
        }
        FindingsFormat::Json => {
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
