//! `tidegate store status`: size, generations, what waits for each upstream, and the disk's wear.

use std::io::Write;

use crate::cli::Failure;
use crate::cli::arguments::OutputFormat;
use crate::cli::gateway::event_store::EventStore;
use crate::cli::terminal::table::{LINE_WIDTH_MIN, Table, printable, wrapped};
use crate::cli::terminal::{color, figures};
use crate::control::history::store::{StoreReport, report};
use crate::observe::status::Wear;
use crate::run::config::Place;

/// Asks the running gateway, or looks at the store it left.
///
/// # Errors
/// What the gateway says.
pub(super) fn read(store: &EventStore, place: &Place) -> Result<StoreReport, Failure> {
    match store {
        EventStore::Served(client) => client.get("/store/status"),
        EventStore::OnDisk(store, folder) => {
            let mut report = report(store, folder);
            // A store that is only looked at knows no cap of its own.
            report.store.max_size_bytes = place.max_size_bytes.unwrap_or(u64::MAX);
            Ok(report)
        }
    }
}

/// Writes it.
///
/// # Errors
/// When the output is closed.
pub(super) fn write(report: &StoreReport, format: OutputFormat) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == OutputFormat::Json {
        writeln!(output, "{:#}", serde_json::json!(report))?;
        return Ok(());
    }
    let store = &report.store;
    writeln!(output, "folder       {}", store.folder)?;
    let size = figures::size(store.disk_bytes);
    // Only the configuration knows it, and that was not read.
    match store.max_size_bytes {
        u64::MAX => writeln!(output, "size         {size}")?,
        max => writeln!(output, "size         {size} of {}", figures::size(max))?,
    }
    writeln!(output, "free disk    {}", figures::size(store.free_bytes))?;
    writeln!(output, "records      {}", figures::count(store.events))?;
    writeln!(
        output,
        "dead letters {}",
        figures::count(store.dead_letters)
    )?;
    if let Some(wear) = &report.wear {
        for (place, line) in wrapped(&written(wear), LINE_WIDTH_MIN - 13)
            .iter()
            .enumerate()
        {
            let heading = if place == 0 { "written" } else { "" };
            writeln!(output, "{heading:<12} {line}")?;
        }
        writeln!(output, "lifetime     {}", lifetime(wear))?;
    }
    for trouble in store.quarantined.iter().chain(&store.damage) {
        writeln!(output, "  ! {}", printable(trouble))?;
    }
    let mut lanes = Table::new(&["UPSTREAM", ">WAITING", ">SIZE", "OLDEST RECEIVED"]);
    for lane in &report.lanes {
        let oldest = lane.oldest_received_ms.map(|ms| figures::time(ms as i64));
        lanes.row([
            lane.name.clone(),
            figures::count(lane.waiting),
            figures::size(lane.waiting_bytes),
            oldest.unwrap_or_default(),
        ]);
    }
    writeln!(output)?;
    lanes.write(&mut output, color::output_in_color())?;
    let mut table = Table::new(&["GENERATION", "STATE", ">FIRST", ">EVENTS", ">SIZE", "NOTE"]);
    for generation in &report.generations {
        let note = match (generation.damaged, generation.pending) {
            (true, _) => "damaged",
            (false, true) => "waits for an upstream",
            (false, false) => "",
        };
        table.row([
            generation.id.to_string(),
            generation.state.clone(),
            figures::count(generation.first),
            figures::count(generation.end.saturating_sub(generation.first)),
            figures::size(generation.disk_bytes),
            note.to_owned(),
        ]);
    }
    writeln!(output)?;
    table.write(&mut output, color::output_in_color())?;
    Ok(())
}

/// What was written, and for what.
fn written(wear: &Wear) -> String {
    let span = figures::span((wear.seconds * 1000.0) as u64);
    let mut text = format!("in {span}: {} accepted", figures::size(wear.accepted_bytes));
    if let Some(bytes) = wear.written_bytes {
        text += &format!(", {} by the gateway", figures::size(bytes));
    }
    if let Some(amplification) = wear.amplification {
        text += &format!(" ({amplification:.1} for each accepted byte)");
    }
    if let (Some(disk), Some(bytes)) = (&wear.disk, wear.disk_written_bytes) {
        text += &format!(
            ", {} to {} by everybody",
            figures::size(bytes),
            printable(disk)
        );
    }
    text
}

/// How long a disk bears that.
fn lifetime(wear: &Wear) -> String {
    match (wear.endurance_bytes, wear.lifetime_days) {
        (None, _) => "unknown: set [store] endurance to what the disk's maker says".to_owned(),
        (Some(_), None) => "not known yet: it takes a minute of writing".to_owned(),
        (Some(bytes), Some(days)) => {
            let time = match days / 365.0 {
                years if years >= 2.0 => format!("{years:.0} years"),
                _ => format!("{days:.0} days"),
            };
            format!(
                "a new disk of {} lasts {time} at this rate",
                figures::size(bytes)
            )
        }
    }
}
