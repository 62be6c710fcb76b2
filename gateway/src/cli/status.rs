//! `tidegate status`: the gateway at a glance.

use std::io::Write;

use super::running::Running;
use super::table::{Table, printable};
use super::{ConfigArgument, Failure, Format, human, terminal};
use crate::observe::status::{Status, UpstreamStatus};

/// What `tidegate status` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Asks the running gateway how it is.
///
/// # Errors
/// Exit code 1 when none runs.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let data_dir = &config.gateway.data_dir;
    let Some(running) = Running::find(data_dir)? else {
        return Err(Failure::new(format!(
            "no gateway runs on {} ({}); `tidegate store status` looks at its store",
            data_dir.display(),
            config.path.display()
        )));
    };
    let mut output = std::io::stdout().lock();
    match arguments.format {
        Format::Json => {
            let status: serde_json::Value = running.get("/status")?;
            writeln!(output, "{status:#}")?;
        }
        Format::Text => write_status(&mut output, &running.get("/status")?)?,
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
        human::span(gateway.uptime_ms),
        gateway.pid
    )?;
    for trouble in &status.troubles {
        let trouble = printable(trouble);
        match terminal::output_in_color() {
            true => writeln!(output, "  \x1b[33m! {trouble}\x1b[0m")?,
            false => writeln!(output, "  ! {trouble}")?,
        }
    }
    write_rules(output, status)?;
    write_sources(output, status)?;
    write_upstreams(output, &status.upstreams)?;
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
            human::count(source.events),
            human::count(source.refused),
            human::count(source.connections),
            source.last_error.clone().unwrap_or_default(),
        ]);
    }
    writeln!(output)?;
    table.write(output, terminal::output_in_color())
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
            human::span(upstream.since_ms),
            human::count(upstream.waiting),
            human::size(upstream.waiting_bytes),
            upstream.oldest_ms.map(human::span).unwrap_or_default(),
            human::count(upstream.in_flight),
            human::count(upstream.delivered),
            human::count(upstream.dead_lettered),
            upstream.last_error.clone().unwrap_or_default(),
        ]);
    }
    writeln!(output)?;
    table.write(output, terminal::output_in_color())
}

fn write_store(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let store = &status.store;
    writeln!(
        output,
        "\nstore    {} in {}, {} of {}, {} free on the disk, {}",
        human::counted(store.events, "event"),
        human::counted(store.generations, "generation"),
        human::size(store.disk_bytes),
        human::size(store.max_size_bytes),
        human::size(store.free_bytes),
        human::counted(store.dead_letters, "dead letter")
    )
}

fn write_books(output: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let books = &status.books;
    writeln!(
        output,
        "events   {} accepted, {} repetitions, {} refused, {} dropped by rule",
        human::count(books.accepted),
        human::count(books.duplicates),
        human::count(books.refused),
        human::count(books.dropped_by_rule)
    )?;
    let verdict = match books.balance() {
        true => "the books balance".to_owned(),
        false => format!("the books differ by {}", books.difference),
    };
    writeln!(
        output,
        "outputs  {} routed, {} delivered, {} dead-lettered, {} shed, {} expired, {} waiting: {verdict}",
        human::count(books.routed),
        human::count(books.delivered),
        human::count(books.dead_lettered),
        human::count(books.shed),
        human::count(books.expired),
        human::count(books.waiting)
    )
}
