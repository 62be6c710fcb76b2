//! `tidegate dead-letters list|show|retry|drop`: events that were set aside.

use std::io::Write;

use clap::Subcommand;
use hyper::Method;

use super::held::Held;
use super::running::{Running, encoded};
use super::table::{Table, printable};
use super::{ConfigArgument, Failure, Format, events, human, terminal};
use crate::config::Config;
use crate::control::history::dead_letters::{self as letters, DeadLetterView, LIMIT_MAX};

/// What `tidegate dead-letters` takes.
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
    /// Show dead letters, oldest first
    List {
        /// Only those bound for this upstream; `dead_letter` for those that a rule set aside
        #[arg(long, value_name = "NAME")]
        upstream: Option<String>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX as u64))]
        limit: u64,
    },
    /// Show one dead letter: why it was set aside, and the event
    Show {
        /// Its id, such as 12.0
        id: String,
    },
    /// Send dead letters again, through the running gateway
    Retry {
        #[command(flatten)]
        which: Which,
        /// Where to, instead of the upstream they were bound for
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
    },
    /// Drop dead letters for good
    Drop {
        #[command(flatten)]
        which: Which,
    },
}

/// Which letters.
#[derive(Debug, clap::Args)]
struct Which {
    /// Their ids, such as 12.0
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// With --all: only those bound for this upstream
    #[arg(long, value_name = "NAME", requires = "all")]
    upstream: Option<String>,
}

/// Carries out `tidegate dead-letters`.
///
/// # Errors
/// When the letters cannot be read, or one could not be sent or dropped.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    match &arguments.command {
        Command::List { upstream, limit } => {
            let held = Held::find(&config)?;
            let letters = list(&held, upstream.as_deref(), *limit as usize)?;
            write_list(&letters, arguments.format)
        }
        Command::Show { id } => {
            let letter = show(&Held::find(&config)?, id)?;
            write_letter(&letter, arguments.format)
        }
        Command::Retry { which, to } => {
            let held = Held::find(&config)?;
            let ids = which.ids(&held)?;
            let Held::Running(running) = held else {
                let message = "only a running gateway can send dead letters again: start it first";
                return Err(Failure::new(message));
            };
            retry(&running, &ids, to.as_deref(), arguments.format)
        }
        Command::Drop { which } => drop_letters(&config, which, arguments.format),
    }
}

fn list(held: &Held, upstream: Option<&str>, limit: usize) -> Result<Vec<DeadLetterView>, Failure> {
    match held {
        Held::Running(running) => {
            let upstream = upstream.map(|name| format!("&upstream={}", encoded(name)));
            running.get(&format!(
                "/dead-letters?limit={limit}{}",
                upstream.unwrap_or_default()
            ))
        }
        Held::Lying(store, _) => letters::list(store, upstream, limit).map_err(events::failed),
    }
}

fn show(held: &Held, id: &str) -> Result<DeadLetterView, Failure> {
    match held {
        Held::Running(running) => running.get(&format!("/dead-letters/{}", encoded(id))),
        Held::Lying(store, _) => letters::parse_id(id)
            .and_then(|id| letters::find(store, id))
            .map_err(events::failed),
    }
}

impl Which {
    fn ids(&self, held: &Held) -> Result<Vec<String>, Failure> {
        if !self.all {
            return Ok(self.ids.clone());
        }
        let letters = list(held, self.upstream.as_deref(), LIMIT_MAX)?;
        Ok(letters.into_iter().map(|letter| letter.id).collect())
    }
}

fn retry(
    running: &Running,
    ids: &[String],
    to: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let to = to
        .map(|name| format!("?to={}", encoded(name)))
        .unwrap_or_default();
    each(ids, "sent again", format, |id| {
        let path = format!("/dead-letters/{}/retry{to}", encoded(id));
        running
            .send::<serde_json::Value>(Method::POST, &path)
            .map(|_| ())
    })
}

fn drop_letters(config: &Config, which: &Which, format: Format) -> Result<(), Failure> {
    let held = Held::find(config)?;
    let ids = which.ids(&held)?;
    match held {
        Held::Running(running) => each(&ids, "dropped", format, |id| {
            let path = format!("/dead-letters/{}", encoded(id));
            running
                .send::<serde_json::Value>(Method::DELETE, &path)
                .map(|_| ())
        }),
        Held::Lying(store, folder) => {
            // What was opened for looking cannot be changed.
            drop(store);
            let options = tidegate_store::Options {
                max_size_bytes: config.store.max_size_bytes,
                ..tidegate_store::Options::new(folder)
            };
            let opened = tidegate_store::open(options);
            let (_writer, store) = opened.map_err(|error| Failure::new(error.to_string()))?;
            each(&ids, "dropped", format, |id| {
                letters::parse_id(id)
                    .and_then(|id| letters::remove(&store, id))
                    .map_err(events::failed)
            })
        }
    }
}

/// Does `act` for every letter; goes on after a failure and fails at the end.
fn each(
    ids: &[String],
    done: &str,
    format: Format,
    mut act: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for id in ids {
        if let Err(failure) = act(id) {
            eprintln!("{id}: {failure}");
            failed.push(id.clone());
        }
    }
    let count = ids.len() - failed.len();
    let mut output = std::io::stdout().lock();
    match format {
        Format::Json => {
            let document = serde_json::json!({ "done": count, "failed": failed });
            writeln!(output, "{document:#}")?;
        }
        Format::Text => {
            let letters = super::check::counted(count, "dead letter");
            writeln!(output, "{letters} {done}")?;
        }
    }
    match failed.len() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} of {} failed", ids.len()))),
    }
}

fn write_list(letters: &[DeadLetterView], format: Format) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == Format::Json {
        writeln!(output, "{:#}", serde_json::json!(letters))?;
        return Ok(());
    }
    let mut table = Table::new(&[
        "SET ASIDE",
        "ID",
        "UPSTREAM",
        ">ATTEMPTS",
        "TOPIC",
        "REASON",
    ]);
    for letter in letters {
        table.row([
            human::time(letter.time_ms),
            letter.id.clone(),
            letter.upstream.clone(),
            letter.attempts.to_string(),
            letter
                .event
                .as_ref()
                .map(|event| event.topic.clone())
                .unwrap_or_default(),
            letter.reason.clone(),
        ]);
    }
    table.write(&mut output, terminal::output_in_color())?;
    Ok(())
}

fn write_letter(letter: &DeadLetterView, format: Format) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == Format::Json {
        writeln!(output, "{:#}", serde_json::json!(letter))?;
        return Ok(());
    }
    let attempts = letter.attempts.to_string();
    let time = human::time(letter.time_ms);
    let parts = [
        ("dead letter", letter.id.as_str()),
        ("bound for", &letter.upstream),
        ("reason", &letter.reason),
        ("attempts", &attempts),
        ("set aside", &time),
        ("rule", letter.rule.as_deref().unwrap_or("none")),
    ];
    for (name, value) in parts {
        writeln!(output, "{name:<16} {}", printable(value))?;
    }
    match &letter.event {
        None => writeln!(output, "\nits record cannot be read; the bytes are kept")?,
        Some(event) => {
            writeln!(output)?;
            events::write_envelope(&mut output, event)?;
        }
    }
    Ok(())
}
