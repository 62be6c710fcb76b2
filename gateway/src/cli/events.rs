//! `tidegate events list|show|follow`: what was accepted and what became of it.

use std::io::Write;

use clap::Subcommand;
use serde_json::Value;
use tidegate_rules::topic::TopicFilter;

use super::held::Held;
use super::running::{Running, encoded};
use super::table::{Table, printable};
use super::{ConfigArgument, Failure, Format, human, terminal};
use crate::config::unit;
use crate::control::history::event::{EventView, OutputView};
use crate::control::history::search::{self, EventFilter, LIMIT_MAX};
use crate::event::cloudevents::json;
use crate::time::clock;

/// Characters of a payload in a list.
const PREVIEW_CHARACTERS_MAX: usize = 60;

/// What `tidegate events` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgument,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the latest events, oldest first
    List {
        #[command(flatten)]
        which: Which,
        /// How long ago, such as 1h or 30m
        #[arg(long, value_name = "SPAN", value_parser = span)]
        since: Option<u64>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX as u64))]
        limit: u64,
    },
    /// Show one event: envelope, payload, and where each output went
    Show {
        /// Its id, or its number in the log
        id: String,
    },
    /// Show events as they are accepted, until Ctrl-C
    Follow {
        #[command(flatten)]
        which: Which,
    },
}

/// Which events.
#[derive(Debug, clap::Args)]
struct Which {
    /// Topics, such as `plant/+/temperature` or `plant/#`
    #[arg(long, value_name = "FILTER", value_parser = topic)]
    topic: Option<TopicFilter>,
    /// Name of a source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// CloudEvents type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

impl Which {
    fn query(&self, since_ms: Option<i64>) -> EventFilter {
        EventFilter {
            topic: self.topic.clone(),
            source: self.source.clone(),
            kind: self.kind.clone(),
            since_ms,
        }
    }
}

fn topic(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::parse(text).map_err(|wrong| wrong.to_string())
}

/// A span of time in milliseconds.
fn span(text: &str) -> Result<u64, String> {
    match unit::duration(text) {
        Ok(span) => Ok(span.as_millis() as u64),
        Err(wrong) => Err(match wrong.suggestion {
            Some(meant) => format!("write {meant}"),
            None => "write a number and ms, s, m, h or d, such as 30m".to_owned(),
        }),
    }
}

/// Carries out `tidegate events`.
///
/// # Errors
/// When nothing can be read, or the event is not held.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let held = Held::find(&config)?;
    let mut output = std::io::stdout().lock();
    match &arguments.command {
        Command::List {
            which,
            since,
            limit,
        } => {
            let since_ms = since.map(|span| clock::unix_ms() - span as i64);
            let events = list(&held, &which.query(since_ms), *limit)?;
            write_list(&mut output, &events, arguments.format)
        }
        Command::Show { id } => {
            let event = show(&held, id)?;
            match arguments.format {
                Format::Json => writeln!(output, "{:#}", serde_json::json!(event))?,
                Format::Text => write_event(&mut output, &event)?,
            }
            Ok(())
        }
        Command::Follow { which } => match &held {
            Held::Lying(..) => Err(Failure::new("no gateway runs: there is nothing to follow")),
            Held::Running(running) => follow(running, &which.query(None), arguments.format),
        },
    }
}

fn list(held: &Held, query: &EventFilter, limit: u64) -> Result<Vec<EventView>, Failure> {
    match held {
        Held::Running(running) => running.get(&format!("/events?limit={limit}{}", asked(query))),
        Held::Lying(store, _) => search::list(store, query, limit as usize).map_err(failed),
    }
}

fn show(held: &Held, id: &str) -> Result<EventView, Failure> {
    match held {
        Held::Running(running) => running.get(&format!("/events/{}", encoded(id))),
        Held::Lying(store, _) => search::find(store, id).map_err(failed),
    }
}

/// What the history says, as a failure.
pub(super) fn failed(error: crate::control::history::HistoryError) -> Failure {
    Failure::new(error.to_string())
}

/// The query as the API takes it.
fn asked(query: &EventFilter) -> String {
    let parts = [
        (
            "topic",
            query.topic.as_ref().map(|topic| topic.as_str().to_owned()),
        ),
        ("source", query.source.clone()),
        ("type", query.kind.clone()),
        ("since_ms", query.since_ms.map(|since| since.to_string())),
    ];
    let part =
        |(name, value): (&str, Option<String>)| Some(format!("&{name}={}", encoded(&value?)));
    parts.into_iter().filter_map(part).collect()
}

fn follow(running: &Running, query: &EventFilter, format: Format) -> Result<(), Failure> {
    running.follow(&format!("/events/follow?{}", asked(query)), |line| {
        let mut output = std::io::stdout().lock();
        match (format, serde_json::from_slice::<EventView>(line)) {
            (Format::Json, _) => {
                output.write_all(line)?;
                output.write_all(b"\n")?;
            }
            (Format::Text, Ok(event)) => {
                let (time, payload) = (human::time(event.received_ms), payload_line(&event));
                writeln!(output, "{time}  {}  {payload}", printable(&event.topic))?;
            }
            (Format::Text, Err(_)) => eprintln!("some events were missed: this end is too slow"),
        }
        output.flush()?;
        Ok(())
    })
}

fn write_list(
    output: &mut impl Write,
    events: &[EventView],
    format: Format,
) -> Result<(), Failure> {
    if format == Format::Json {
        writeln!(output, "{:#}", serde_json::json!(events))?;
        return Ok(());
    }
    let mut table = Table::new(&["RECEIVED", "ID", "TOPIC", ">BYTES", "FATE", "PAYLOAD"]);
    for event in events {
        table.row([
            human::time(event.received_ms),
            event.attribute("id").to_owned(),
            event.topic.clone(),
            human::count(event.size_bytes as u64),
            fate(&event.outputs),
            preview(&payload_line(event)),
        ]);
    }
    table.write(output, terminal::output_in_color())?;
    Ok(())
}

/// `delivered`, `dead letter`, `waiting: cloud, local`, `dropped by rule`.
fn fate(outputs: &[OutputView]) -> String {
    let with = |fate: &'static str| outputs.iter().filter(move |output| output.fate == fate);
    let waiting: Vec<&str> = with("waiting")
        .map(|output| output.upstream.as_str())
        .collect();
    match (outputs, waiting.is_empty()) {
        ([], _) => "dropped by rule".to_owned(),
        (_, false) => format!("waiting: {}", waiting.join(", ")),
        (_, true) if with("dead letter").next().is_some() => "dead letter".to_owned(),
        (_, true) => "delivered".to_owned(),
    }
}

/// The payload on one line.
fn payload_line(event: &EventView) -> String {
    match json::data_of_document(&event.event) {
        Some(Value::String(text)) => printable(text),
        Some(other) => printable(&other.to_string()),
        None => String::new(),
    }
}

fn preview(text: &str) -> String {
    match text.char_indices().nth(PREVIEW_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn write_event(output: &mut impl Write, event: &EventView) -> std::io::Result<()> {
    write_envelope(output, event)?;
    if event.outputs.is_empty() {
        return writeln!(output, "\nno output: dropped by rule");
    }
    for sent in &event.outputs {
        write_output(output, sent)?;
    }
    Ok(())
}

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
        human::time(event.received_ms)
    )?;
    if let Some(sequence) = event.sequence {
        writeln!(output, "{:<16} {sequence}", "number in log")?;
    }
    writeln!(
        output,
        "{:<16} {} bytes",
        "payload",
        human::count(event.size_bytes as u64)
    )?;
    write_payload(output, json::data_of_document(&event.event))
}

fn write_payload(output: &mut impl Write, payload: Option<&Value>) -> std::io::Result<()> {
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

fn write_output(output: &mut impl Write, sent: &OutputView) -> std::io::Result<()> {
    writeln!(output, "\nto {}: {}", sent.upstream, sent.fate)?;
    let parts = [
        ("priority", Some(&sent.priority)),
        ("topic", sent.topic.as_ref()),
        ("key", sent.key.as_ref()),
        ("rule", sent.rule.as_ref()),
        ("reason", sent.reason.as_ref()),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            writeln!(output, "  {name:<14} {}", printable(value))?;
        }
    }
    write_payload(output, sent.data.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fate_names_who_has_not_got_it_yet() {
        let output = |upstream: &str, fate: &str| OutputView {
            upstream: upstream.into(),
            priority: "normal".into(),
            fate: fate.into(),
            topic: None,
            key: None,
            rule: None,
            reason: None,
            data: None,
        };
        assert_eq!(fate(&[]), "dropped by rule");
        assert_eq!(fate(&[output("a", "delivered")]), "delivered");
        let dead = [output("a", "delivered"), output("b", "dead letter")];
        assert_eq!(fate(&dead), "dead letter");
        let both = [output("a", "delivered"), output("b", "waiting")];
        assert_eq!(fate(&both), "waiting: b");
    }

    #[test]
    fn a_question_keeps_its_special_characters() {
        let query = EventFilter {
            topic: TopicFilter::parse("a/+/#").ok(),
            source: Some("x&y".into()),
            ..EventFilter::default()
        };
        assert_eq!(asked(&query), "&topic=a%2F%2B%2F%23&source=x%26y");
    }
}
