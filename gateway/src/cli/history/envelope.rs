//! An event's envelope and payload for people.

use std::io::Write;

use serde::Serialize;

use crate::cli::terminal::figures;
use crate::cli::terminal::table::printable;
use crate::control::history::event::EventView;

/// Writes envelope and payload.
///
/// # Errors
/// When the output is closed.
pub(super) fn write_envelope(output: &mut impl Write, event: &EventView) -> std::io::Result<()> {
    for (name, value) in event.event.attributes() {
        writeln!(output, "{name:<16} {}", printable(&value))?;
    }
    writeln!(output, "{:<16} {}", "topic", printable(&event.topic))?;
    writeln!(
        output,
        "{:<16} {}",
        "publisher",
        printable(&event.publisher)
    )?;
    writeln!(
        output,
        "{:<16} {}",
        "received",
        figures::time(event.received_ms)
    )?;
    if let Some(sequence) = event.sequence {
        writeln!(output, "{:<16} {sequence}", "number in log")?;
    }
    writeln!(
        output,
        "{:<16} {} bytes",
        "payload",
        figures::count(event.size_bytes as u64)
    )?;
    write_payload(output, event.event.payload().as_deref())
}

/// Writes a payload, indented; nothing where there is none.
///
/// # Errors
/// When the output is closed.
pub(super) fn write_payload(output: &mut impl Write, payload: Option<&str>) -> std::io::Result<()> {
    for line in payload.unwrap_or_default().lines() {
        let parts: Vec<String> = line.split('\t').map(printable).collect();
        writeln!(output, "  {}", parts.join("\t"))?;
    }
    Ok(())
}

/// Writes what was asked for with `--format json`. Nothing in between makes values of it: documents would not stay as they
/// are.
///
/// # Errors
/// When the output is closed.
pub(super) fn write_json(output: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *output, value)?;
    writeln!(output)
}
