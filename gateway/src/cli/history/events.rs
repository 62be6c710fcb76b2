//! `tidegate events list|show|follow`: what was accepted and what became of it.

use std::io::Write;

use clap::Subcommand;
use tidegate_rules::topic::TopicFilter;

use super::envelope::{write_envelope, write_json, write_payload};
use crate::cli::Failure;
use crate::cli::arguments::{OutputFormat, PlaceArgument};
use crate::cli::gateway::control_client::{ControlClient, percent_encoded};
use crate::cli::gateway::event_store::EventStore;
use crate::cli::gateway::known_names;
use crate::cli::terminal::table::{Table, printable};
use crate::cli::terminal::{color, figures};
use crate::config::unit;
use crate::control::history::event::{EventView, OutputView};
use crate::control::history::search::{self, EventFilter, LIMIT_MAX};
use crate::event::cloudevents::json;
use crate::run::config::Place;
use crate::time::clock;

/// Characters of a payload in a list.
const PREVIEW_CHARACTERS_MAX: usize = 60;

/// What `tidegate events` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArgument,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t, global = true)]
    format: OutputFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the latest events, oldest first
    List {
        #[command(flatten)]
        which: EventSelection,
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
        which: EventSelection,
    },
}

/// EventSelection events.
#[derive(Debug, clap::Args)]
struct EventSelection {
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

impl EventSelection {
    fn filter(&self, since_ms: Option<i64>) -> EventFilter {
        EventFilter {
            topic: self.topic.clone(),
            source: self.source.clone(),
            kind: self.kind.clone(),
            since_ms,
        }
    }

    /// That there is this source. One may be named as events have it, with the gateway's id in front; the gateway's own
    /// events have that id alone.
    fn check_source(&self, store: &EventStore, place: &Place) -> Result<(), Failure> {
        let Some(source) = &self.source else {
            return Ok(());
        };
        let name = source.rsplit('/').next().unwrap_or(source);
        // Without the configuration nobody knows which sources a gateway had that does not run.
        let is_unknown = place.config.is_none() && matches!(store, EventStore::OnDisk(..));
        if is_unknown || place.id.as_deref() == Some(name) {
            return Ok(());
        }
        known_names::check("source", name, &known_names::of_sources(store, place)?)
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
/// When nothing can be read, or the event is no longer there.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = arguments.place.find()?;
    let store = EventStore::find(&place)?;
    let mut output = std::io::stdout().lock();
    match &arguments.command {
        Command::List {
            which,
            since,
            limit,
        } => {
            let since_ms = since.map(|span| clock::unix_ms() - span as i64);
            let events = list(&store, &which.filter(since_ms), *limit)?;
            if events.is_empty() {
                which.check_source(&store, &place)?;
            }
            write_list(&mut output, &events, arguments.format)
        }
        Command::Show { id } => {
            let event = show(&store, id)?;
            match arguments.format {
                OutputFormat::Json => write_json(&mut output, &event)?,
                OutputFormat::Text => write_event(&mut output, &event)?,
            }
            Ok(())
        }
        Command::Follow { which } => match &store {
            EventStore::OnDisk(..) => {
                Err(Failure::new("no gateway runs: there is nothing to follow"))
            }
            EventStore::Served(client) => {
                which.check_source(&store, &place)?;
                follow(client, &which.filter(None), arguments.format)
            }
        },
    }
}

fn list(store: &EventStore, filter: &EventFilter, limit: u64) -> Result<Vec<EventView>, Failure> {
    match store {
        EventStore::Served(client) => {
            client.get(&format!("/events?limit={limit}{}", query_string(filter)))
        }
        EventStore::OnDisk(store, _) => {
            search::list(store, filter, limit as usize).map_err(Failure::from)
        }
    }
}

fn show(store: &EventStore, id: &str) -> Result<EventView, Failure> {
    match store {
        EventStore::Served(client) => client.get(&format!("/events/{}", percent_encoded(id))),
        EventStore::OnDisk(store, _) => search::find(store, id).map_err(Failure::from),
    }
}

/// The filter as the API takes it.
fn query_string(filter: &EventFilter) -> String {
    let parts = [
        (
            "topic",
            filter.topic.as_ref().map(|topic| topic.as_str().to_owned()),
        ),
        ("source", filter.source.clone()),
        ("type", filter.kind.clone()),
        ("since_ms", filter.since_ms.map(|since| since.to_string())),
    ];
    let part = |(name, value): (&str, Option<String>)| {
        Some(format!("&{name}={}", percent_encoded(&value?)))
    };
    parts.into_iter().filter_map(part).collect()
}

fn follow(
    client: &ControlClient,
    filter: &EventFilter,
    format: OutputFormat,
) -> Result<(), Failure> {
    client.follow(
        &format!("/events/follow?{}", query_string(filter)),
        |line| {
            let mut output = std::io::stdout().lock();
            match (format, serde_json::from_slice::<EventView>(line)) {
                (OutputFormat::Json, _) => {
                    output.write_all(line)?;
                    output.write_all(b"\n")?;
                }
                (OutputFormat::Text, Ok(event)) => {
                    let (time, payload) = (figures::time(event.received_ms), payload_line(&event));
                    writeln!(output, "{time}  {}  {payload}", printable(&event.topic))?;
                }
                (OutputFormat::Text, Err(_)) => {
                    eprintln!("some events were missed: this end is too slow")
                }
            }
            output.flush()?;
            Ok(())
        },
    )
}

fn write_list(
    output: &mut impl Write,
    events: &[EventView],
    format: OutputFormat,
) -> Result<(), Failure> {
    if format == OutputFormat::Json {
        return Ok(write_json(output, &events)?);
    }
    let mut table = Table::new(&["RECEIVED", "ID", ">BYTES", "FATE"]);
    for event in events {
        table.row([
            figures::time(event.received_ms),
            event.event.attribute("id").into_owned(),
            figures::count(event.size_bytes as u64),
            fate(&event.outputs),
        ]);
        let payload = preview(&payload_line(event));
        table.below(&format!("{} {payload}", event.topic));
    }
    table.write(output, color::output_in_color())?;
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
    let payload = event.event.payload().unwrap_or_default();
    let on_one_line = payload.lines().map(str::trim).collect::<Vec<&str>>();
    printable(&on_one_line.join(" "))
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
    let payload = json::payload_text(sent.data.as_deref(), sent.data_base64.as_deref());
    write_payload(output, payload.as_deref())
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
            data_base64: None,
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
        let filter = EventFilter {
            topic: TopicFilter::parse("a/+/#").ok(),
            source: Some("x&y".into()),
            ..EventFilter::default()
        };
        assert_eq!(query_string(&filter), "&topic=a%2F%2B%2F%23&source=x%26y");
    }
}
