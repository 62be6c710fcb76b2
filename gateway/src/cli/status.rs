//! `tidegate status`: the gateway at a glance.

mod delivery;
mod lines;
mod rules;

use std::io::Write;

use super::Failure;
use super::arguments::{OutputFormat, PlaceArgument};
use super::gateway::control_client::ControlClient;
use super::terminal::table::{LINE_WIDTH_MIN, Table, printable, wrapped};
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
    lines::write(output, &status.sources)?;
    write_upstreams(output, &status.upstreams)?;
    write_outputs(output, status)?;
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
    let headings = [
        "SOURCE",
        "TYPE",
        "STATE",
        ">EVENTS",
        ">REFUSED",
        ">CONNECTIONS",
    ];
    let mut table = Table::new(&headings);
    for source in &status.sources {
        table.row([
            source.name.clone(),
            source.kind.clone(),
            source.state.clone(),
            figures::count(source.events),
            figures::count(source.refused),
            figures::count(source.connections),
        ]);
        below(&mut table, source.last_error.as_deref());
    }
    writeln!(output)?;
    table.write(output, color::output_in_color())?;
    for source in &status.sources {
        for note in &source.notes {
            writeln!(output, "  {}: {}", source.name, printable(note))?;
        }
    }
    Ok(())
}

/// The last error of a source or an upstream.
fn below(table: &mut Table, last_error: Option<&str>) {
    if let Some(error) = last_error {
        table.below(&format!("last error: {error}"));
    }
}

fn write_upstreams(output: &mut impl Write, upstreams: &[UpstreamStatus]) -> std::io::Result<()> {
    let headings = [
        "UPSTREAM", "TYPE", "STATE", "SINCE", ">WAITING", ">SIZE", ">OLDEST",
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
        ]);
        below(&mut table, upstream.last_error.as_deref());
    }
    writeln!(output)?;
    table.write(output, color::output_in_color())
}

/// What came for each upstream and what became of it; last what rules and sources set aside themselves, so that the
/// columns add up to the books.
fn write_outputs(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let (upstreams, books) = (&status.upstreams, &status.books);
    if upstreams.is_empty() {
        return Ok(());
    }
    let headings = [
        "OUTPUTS TO",
        ">AT START",
        ">ROUTED",
        ">DELIVERED",
        ">DEAD",
        ">GIVEN UP",
        ">IN FLIGHT",
    ];
    let mut table = Table::new(&headings);
    for upstream in upstreams {
        let given_up = upstream.shed + upstream.expired + upstream.letters_dropped;
        table.row([
            upstream.name.clone(),
            figures::count(upstream.waiting_at_start),
            figures::count(upstream.routed),
            figures::count(upstream.delivered),
            figures::count(upstream.dead_lettered),
            figures::count(given_up),
            figures::count(upstream.in_flight),
        ]);
    }
    let rest = |all: u64, of: fn(&UpstreamStatus) -> u64| {
        all.saturating_sub(upstreams.iter().map(of).sum::<u64>())
    };
    let given_up = books.shed + books.expired + books.letters_dropped;
    let aside = [
        rest(books.waiting_at_start, |one| one.waiting_at_start),
        rest(books.routed, |one| one.routed),
        rest(books.delivered, |one| one.delivered),
        rest(books.dead_lettered, |one| one.dead_lettered),
        rest(given_up, |one| one.shed + one.expired + one.letters_dropped),
    ];
    if aside.iter().any(|count| *count > 0) {
        let figures = aside.map(figures::count).into_iter();
        table.row(
            ["set aside".to_owned()]
                .into_iter()
                .chain(figures)
                .chain([String::new()]),
        );
    }
    writeln!(output)?;
    table.write(output, color::output_in_color())
}

/// Records held are more than the events that came in: those of before are among them, and the gateway's own.
fn write_store(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let store = &status.store;
    writeln!(
        output,
        "\nstore    {} held in {}, {}\n         {} of {}, {} free on the disk",
        figures::counted(store.events, "record"),
        figures::counted(store.generations, "generation"),
        figures::counted(store.dead_letters, "dead letter"),
        figures::size(store.disk_bytes),
        figures::size(store.max_size_bytes),
        figures::size(store.free_bytes),
    )
}

/// `text` behind its heading, on as many lines as it needs.
fn write_wrapped(output: &mut impl Write, heading: &str, text: &str) -> std::io::Result<()> {
    for (place, line) in wrapped(text, LINE_WIDTH_MIN - 9).iter().enumerate() {
        let heading = if place == 0 { heading } else { "" };
        writeln!(output, "{heading:<7}  {line}")?;
    }
    Ok(())
}

fn write_books(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let books = &status.books;
    let events = format!(
        "{} accepted, {} repetitions, {} not stored, {} dropped by rule",
        figures::count(books.accepted),
        figures::count(books.duplicates),
        figures::count(books.refused),
        figures::count(books.dropped_by_rule)
    );
    write_wrapped(output, "events", &events)?;
    let fates = [
        (books.delivered, "delivered"),
        (books.dead_lettered, "dead-lettered"),
        (books.letters_dropped, "dropped as one too many"),
        (books.shed, "shed"),
        (books.expired, "expired"),
        (books.waiting, "waiting"),
    ];
    // What there was none of is left out, but for what everybody looks for.
    let shown = |(place, (count, _)): &(usize, (u64, &str))| *count > 0 || [0, 5].contains(place);
    let fates = fates.into_iter().enumerate().filter(shown);
    let fates = fates.map(|(_, (count, fate))| format!("{} {fate}", figures::count(count)));
    let fates: Vec<String> = fates.collect();
    let outputs = format!(
        "{} waiting at the start + {} routed = {}",
        figures::count(books.waiting_at_start),
        figures::count(books.routed),
        fates.join(" + ")
    );
    write_wrapped(output, "outputs", &outputs)?;
    match books.balance() {
        true => writeln!(output, "         the books balance"),
        false => writeln!(output, "         the books differ by {}", books.difference),
    }
}
