//! An event's envelope and payload for people.

use std::io::Write;

use serde_json::Value;

use crate::cli::terminal::figures;
use crate::cli::terminal::table::printable;
use crate::control::history::event::EventView;
use crate::event::cloudevents::json;

/// Writes envelope and payload.
///
/// # Errors
/// When the output is closed.
pub(super) fn write_envelope(output: &mut impl Write, event: &EventView) -> std::io::Result<()> {
    let members = event.event.as_object().into_iter().flatten();
    let attributes = members.filter(|(name, _)| {
        !name.starts_with("data") || *name == "dataschema" || *name == "datacontenttype"
    });
    for (name, value) in attributes {
        writeln!(
            output,
            "{name:<16} {}",
            printable(value.as_str().unwrap_or_default())
        )?;
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
    write_payload(output, json::data_of_document(&event.event))
}

/// Writes a payload, indented; nothing where there is none.
///
/// # Errors
/// When the output is closed.
pub(super) fn write_payload(
    output: &mut impl Write,
    payload: Option<&Value>,
) -> std::io::Result<()> {
    let text = match payload {
        None => return Ok(()),
        Some(Value::String(text)) => text.clone(),
        Some(other) => format!("{other:#}"),
    };
    for line in text.lines() {
        writeln!(output, "  {}", printable(line))?;
    }
    Ok(())
}
