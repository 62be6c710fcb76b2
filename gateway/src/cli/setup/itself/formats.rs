//! `tidegate self formats`: what this program says of itself to one that is to be replaced by it.

use std::io::Write;

use crate::cli::Failure;
use crate::cli::arguments::OutputFormat;
use crate::run::update::formats::Formats;

/// Writes them.
///
/// # Errors
/// When nobody reads them.
pub(super) fn run(format: OutputFormat) -> Result<(), Failure> {
    let own = Formats::own();
    let mut output = std::io::stdout().lock();
    if format == OutputFormat::Json {
        writeln!(output, "{:#}", serde_json::json!(own))?;
        return Ok(());
    }
    writeln!(output, "tidegate {}", own.version)?;
    for (name, format) in &own.formats {
        let reads: Vec<String> = format.reads.iter().map(u32::to_string).collect();
        let reads = reads.join(", ");
        writeln!(output, "{name}: writes {}, reads {reads}", format.writes)?;
    }
    Ok(())
}
