//! `tidegate status`: the gateway at a glance.

mod delivery;
mod rules;

use std::io::Write;

use super::Failure;
use super::arguments::{OutputFormat, PlaceArgument};
use super::gateway::control_client::ControlClient;
use super::terminal::table::{Table, printable};
use super::terminal::{color, figures};
use crate::observe::status::{Status, UpstreamStatus};

/// What `tidegate status` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: PlaceArgument,
    /// Rule by rule: events seen, stopped, undefined and why, sent
    #[arg(long)]
    rules: bool,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Asks the running gateway how it is.
///
/// # Errors
/// Exit code 1 when none runs.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = arguments.place.find()?;
    let data_dir = &place.data_dir;
    let Some(client) = ControlClient::connect(data_dir)? else {
        let config = place.config.as_ref();
        let config = config.map(|path| format!(" ({})", path.display()));
        return Err(Failure::new(format!(
            "no gateway runs on {}{}; `tidegate store status` looks at its store",
            data_dir.display(),
            config.unwrap_or_default()
        )));
    };
    let mut output = std::io::stdout().lock();
    let path = if arguments.rules {
        "/status/rules"
    } else {
        "/status"
    };
    match (arguments.format, arguments.rules) {
        (OutputFormat::Json, _) => {
            let status: serde_json::Value = client.get(path)?;
            writeln!(output, "{status:#}")?;
        }
        (OutputFormat::Text, true) => rules::write(&mut output, &client.get(path)?)?,
        (OutputFormat::Text, false) => write_status(&mut output, &client.get(path)?)?,
    }
    Ok(())
}

fn write_status(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let gateway = &status.gateway;
    writeln!(
        output,
        "gateway {} runs tidegate {} for {} (process {})",
        gateway.id,
        gateway.version,
        figures::span(gateway.uptime_ms),
        gateway.pid
    )?;
    for trouble in &status.troubles {
        let trouble = printable(trouble);
        match color::output_in_color() {
            true => writeln!(output, "  \x1b[33m! {trouble}\x1b[0m")?,
            false => writeln!(output, "  ! {trouble}")?,
        }
    }
    write_rules(output, status)?;
    write_sources(output, status)?;
    write_upstreams(output, &status.upstreams)?;
    delivery::write(output, &status.upstreams)?;
    write_store(output, status)?;
    write_books(output, status)
}

fn write_rules(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let rules = &status.rules;
    match &rules.folder {
        None => writeln!(
            output,
            "\nrules    none: every event goes to every upstream"
        )?,
        Some(folder) => writeln!(
            output,
            "\nrules    {} in {folder}, generation {} ({})",
            rules.rules, rules.generation, rules.fingerprint
        )?,
    }
    if let Some(kept) = rules.last_good_ms {
        let kept = figures::time(kept);
        writeln!(
            output,
            "  the last good set, of {kept}: the folder was refused at the start"
        )?;
    }
    for name in &rules.ignored {
        writeln!(output, "  not read: {}", printable(name))?;
    }
    for error in &rules.refused {
        writeln!(output, "  refused: {}", printable(error))?;
    }
    Ok(())
}

fn write_sources(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "SOURCE",
        "TYPE",
        "STATE",
        ">EVENTS",
        ">REFUSED",
        ">CONNECTIONS",
        "LAST ERROR",
    ]);
    for source in &status.sources {
        table.row([
            source.name.clone(),
            source.kind.clone(),
            source.state.clone(),
            figures::count(source.events),
            figures::count(source.refused),
            figures::count(source.connections),
            source.last_error.clone().unwrap_or_default(),
        ]);
    }
    writeln!(output)?;
    table.write(output, color::output_in_color())
}

fn write_upstreams(output: &mut impl Write, upstreams: &[UpstreamStatus]) -> std::io::Result<()> {
    let headings = [
        "UPSTREAM",
        "TYPE",
        "STATE",
        "SINCE",
        ">WAITING",
        ">SIZE",
        ">OLDEST",
        ">IN FLIGHT",
        ">DELIVERED",
        ">DEAD",
        "LAST ERROR",
    ];
    let mut table = Table::new(&headings);
    for upstream in upstreams {
        table.row([
            upstream.name.clone(),
            upstream.kind.clone(),
            upstream.state.clone(),
            figures::span(upstream.since_ms),
            figures::count(upstream.waiting),
            figures::size(upstream.waiting_bytes),
            upstream.oldest_ms.map(figures::span).unwrap_or_default(),
            figures::count(upstream.in_flight),
            figures::count(upstream.delivered),
            figures::count(upstream.dead_lettered),
            upstream.last_error.clone().unwrap_or_default(),
        ]);
    }
    writeln!(output)?;
    table.write(output, color::output_in_color())
}

fn write_store(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let store = &status.store;
    writeln!(
        output,
        "\nstore    {} in {}, {} of {}, {} free on the disk, {}",
        figures::counted(store.events, "event"),
        figures::counted(store.generations, "generation"),
        figures::size(store.disk_bytes),
        figures::size(store.max_size_bytes),
        figures::size(store.free_bytes),
        figures::counted(store.dead_letters, "dead letter")
    )
}

fn write_books(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let books = &status.books;
    writeln!(
        output,
        "events   {} accepted, {} repetitions, {} refused, {} dropped by rule",
        figures::count(books.accepted),
        figures::count(books.duplicates),
        figures::count(books.refused),
        figures::count(books.dropped_by_rule)
    )?;
    let verdict = match books.balance() {
        true => "the books balance".to_owned(),
        false => format!("the books differ by {}", books.difference),
    };
    writeln!(
        output,
        "outputs  {} routed, {} delivered, {} dead-lettered, {} dropped as one too many, {} shed, {} expired, {} waiting: {verdict}",
        figures::count(books.routed),
        figures::count(books.delivered),
        figures::count(books.dead_lettered),
        figures::count(books.letters_dropped),
        figures::count(books.shed),
        figures::count(books.expired),
        figures::count(books.waiting)
    )
}
