//! `tidegate dead-letters list|show|retry|drop`: events that were set aside.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use hyper::Method;
use tidegate_store::{DeadLetterId, Store, Writer};

use super::envelope::{write_envelope, write_json};
use crate::cli::Failure;
use crate::cli::arguments::{OutputFormat, PlaceArgument};
use crate::cli::gateway::control_client::{ControlClient, percent_encoded};
use crate::cli::gateway::event_store::{self, EventStore};
use crate::cli::gateway::{known_names, permission};
use crate::cli::terminal::table::{Table, printable};
use crate::cli::terminal::{color, figures, question};
use crate::control::history::dead_letters::{self as stored, DeadLetterView, LIMIT_MAX};
use crate::control::history::store::{StoreReport, report as stored_report};
use crate::observe::audit::who::Who;
use crate::observe::audit::{Change, What};
use crate::run::config::{Place, in_force};
use crate::time::clock;

/// Ids that are noted for the audit.
const IDS_NOTED_MAX: usize = 100;
/// Letters asked for at once where all are wanted.
const PIECE: usize = 1000;

/// What `tidegate dead-letters` takes.
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
    /// Show dead letters, oldest first
    List {
        /// Only those bound for this upstream; `dead_letter` for those that a rule or a source set aside
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
        which: Selection,
        /// Where to, instead of the upstream they were bound for
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
    },
    /// Drop dead letters for good
    Drop {
        #[command(flatten)]
        which: Selection,
        /// With --all: drop them without asking
        #[arg(long, short, requires = "all")]
        yes: bool,
    },
}

/// Selection letters.
#[derive(Debug, clap::Args)]
struct Selection {
    /// Their ids, such as 12.0
    #[arg(conflicts_with = "all")]
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
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = arguments.place.find()?;
    match &arguments.command {
        Command::List { upstream, limit } => {
            let store = EventStore::find(&place)?;
            let letters = list(&store, upstream.as_deref(), (0, 0), *limit as usize)?;
            if letters.is_empty() {
                check_upstream(upstream.as_deref(), &store, &place)?;
            }
            write_list(&letters, arguments.format)
        }
        Command::Show { id } => {
            let letter = show(&EventStore::find(&place)?, id)?;
            write_letter(&letter, arguments.format)
        }
        Command::Retry { which, to } => {
            which.check("retry")?;
            let store = EventStore::find(&place)?;
            let ids = which.ids(&store, &place)?;
            check_upstream(to.as_deref(), &store, &place)?;
            let EventStore::Served(client) = store else {
                let message = "only a running gateway can send dead letters again: start it first";
                return Err(Failure::new(message));
            };
            retry(&client, &ids, to.as_deref(), arguments.format)
        }
        Command::Drop { which, yes } => {
            which.check("drop")?;
            drop_letters(&place, which, *yes, arguments.format)
        }
    }
}

/// That there is this upstream, which a command line names.
fn check_upstream(name: Option<&str>, store: &EventStore, place: &Place) -> Result<(), Failure> {
    let Some(name) = name else {
        return Ok(());
    };
    known_names::check("upstream", name, &known_names::of_upstreams(store, place)?)
}

fn list(
    store: &EventStore,
    upstream: Option<&str>,
    from: DeadLetterId,
    limit: usize,
) -> Result<Vec<DeadLetterView>, Failure> {
    match store {
        EventStore::Served(client) => {
            let upstream = upstream.map(|name| format!("&upstream={}", percent_encoded(name)));
            client.get(&format!(
                "/dead-letters?limit={limit}&from={}{}",
                stored::id_text(from),
                upstream.unwrap_or_default()
            ))
        }
        EventStore::OnDisk(store, _) => {
            stored::list(store, upstream, from, limit).map_err(Failure::from)
        }
    }
}

fn show(store: &EventStore, id: &str) -> Result<DeadLetterView, Failure> {
    match store {
        EventStore::Served(client) => client.get(&format!("/dead-letters/{}", percent_encoded(id))),
        EventStore::OnDisk(store, _) => stored::parse_id(id)
            .and_then(|id| stored::find(store, id))
            .map_err(Failure::from),
    }
}

impl Selection {
    /// That it says which; `command` is asked to work on them.
    fn check(&self, command: &str) -> Result<(), Failure> {
        match self.all || !self.ids.is_empty() {
            true => Ok(()),
            false => Err(Failure::wrong_command_line(&format!(
                "say which dead letters: ids such as 12.0, which `tidegate dead-letters list` shows, or all of them with \
                 `tidegate dead-letters {command} --all`, or those of one upstream with `--all --upstream NAME`"
            ))),
        }
    }

    fn ids(&self, store: &EventStore, place: &Place) -> Result<Vec<String>, Failure> {
        if !self.all {
            return Ok(self.ids.clone());
        }
        let (mut ids, mut from) = (Vec::new(), (0, 0));
        loop {
            let letters = list(store, self.upstream.as_deref(), from, PIECE)?;
            let Some(last) = letters.last() else {
                if ids.is_empty() {
                    check_upstream(self.upstream.as_deref(), store, place)?;
                }
                return Ok(ids);
            };
            from = stored::after(stored::parse_id(&last.id)?);
            ids.extend(letters.into_iter().map(|letter| letter.id));
        }
    }
}

fn retry(
    client: &ControlClient,
    ids: &[String],
    to: Option<&str>,
    format: OutputFormat,
) -> Result<(), Failure> {
    let to = to
        .map(|name| format!("?to={}", percent_encoded(name)))
        .unwrap_or_default();
    each(ids, "sent again", format, |id| {
        let path = format!("/dead-letters/{}/retry{to}", percent_encoded(id));
        client
            .send::<serde_json::Value>(Method::POST, &path)
            .map(|_| ())
    })
}

fn drop_letters(
    place: &Place,
    which: &Selection,
    yes: bool,
    format: OutputFormat,
) -> Result<(), Failure> {
    let store = EventStore::find(place)?;
    if let EventStore::OnDisk(_, folder) = &store {
        event_store::check_owner(folder)?;
    }
    if which.all && which.upstream.is_none() {
        ask_to_drop(held(&store)?, "", yes)?;
        return drop_all(store, place, format);
    }
    let ids = which.ids(&store, place)?;
    if let Some(upstream) = &which.upstream {
        let bound = format!(" bound for {}", printable(upstream));
        ask_to_drop(ids.len() as u64, &bound, yes)?;
    }
    match store {
        EventStore::Served(client) => each(&ids, "dropped", format, |id| {
            let path = format!("/dead-letters/{}", percent_encoded(id));
            client
                .send::<serde_json::Value>(Method::DELETE, &path)
                .map(|_| ())
        }),
        EventStore::OnDisk(store, folder) => {
            // What was opened for looking cannot be changed.
            drop(store);
            let (_writer, store) = open(place, folder)?;
            let mut dropped = Vec::new();
            let ended = each(&ids, "dropped", format, |id| {
                let removed = stored::parse_id(id).and_then(|id| stored::remove(&store, id));
                dropped.extend(removed.is_ok().then(|| id.to_owned()));
                removed.map_err(Failure::from)
            });
            note_dropped(&store, dropped.len() as u64, dropped);
            ended
        }
    }
}

fn ask_to_drop(count: u64, of: &str, yes: bool) -> Result<(), Failure> {
    if yes || count == 0 {
        return Ok(());
    }
    let letters = figures::counted(count, "dead letter");
    question::agreed(&format!("drop {letters}{of} for good"))
}

/// How many there are.
fn held(store: &EventStore) -> Result<u64, Failure> {
    let report: StoreReport = match store {
        EventStore::Served(client) => client.get("/store/status")?,
        EventStore::OnDisk(store, folder) => stored_report(store, folder),
    };
    Ok(report.store.dead_letters)
}

/// Without opening a single one: it needs no room on the disk, and gives all of theirs back.
fn drop_all(store: EventStore, place: &Place, format: OutputFormat) -> Result<(), Failure> {
    let dropped = match store {
        EventStore::Served(client) => {
            let answer: serde_json::Value = client.send(Method::DELETE, "/dead-letters")?;
            answer["dropped"].as_u64().unwrap_or(0)
        }
        EventStore::OnDisk(store, folder) => {
            // What was opened for looking cannot be changed.
            drop(store);
            let (_writer, store) = open(place, folder)?;
            let dropped = store.remove_all_dead_letters();
            let dropped = dropped.map_err(|error| Failure::new(error.to_string()))?;
            note_dropped(&store, dropped, vec!["all".to_owned()]);
            dropped
        }
    };
    report(dropped as usize, &[], "dropped", format)
}

/// Notes for the audit what was dropped by hand: the next start of the gateway tells it.
fn note_dropped(store: &Store, count: u64, ids: Vec<String>) {
    let mut ids = ids.into_iter();
    let Some(first) = ids.next().filter(|_| count > 0) else {
        return;
    };
    let who = Who::local(permission::asker(), i32::try_from(std::process::id()).ok());
    let when = figures::time(clock::unix_ms());
    let change = Change {
        others: ids.take(IDS_NOTED_MAX).collect(),
        ..Change::new(What::DeadLetters, first, "dropped", &who)
            .of(count)
            .because(format!("by hand at {when}, while no gateway ran"))
    };
    if let Err(error) = in_force::note(store, change) {
        eprintln!("tidegate: this is not noted for the audit: {error}");
    }
}

fn open(place: &Place, folder: PathBuf) -> Result<(Writer, Store), Failure> {
    let options = tidegate_store::Options::new(folder);
    let options = tidegate_store::Options {
        max_size_bytes: place.max_size_bytes.unwrap_or(options.max_size_bytes),
        ..options
    };
    let opened = tidegate_store::open(options);
    opened.map_err(|error| Failure::new(error.to_string()))
}

/// Does `act` for every letter; goes on after a failure and fails at the end.
fn each(
    ids: &[String],
    done: &str,
    format: OutputFormat,
    mut act: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for id in ids {
        if let Err(failure) = act(id) {
            eprintln!("{id}: {failure}");
            failed.push(id.clone());
        }
    }
    report(ids.len() - failed.len(), &failed, done, format)?;
    match failed.len() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} of {} failed", ids.len()))),
    }
}

fn report(
    count: usize,
    failed: &[String],
    done: &str,
    format: OutputFormat,
) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match format {
        OutputFormat::Json => {
            let document = serde_json::json!({ "done": count, "failed": failed });
            writeln!(output, "{document:#}")?;
        }
        OutputFormat::Text => {
            let letters = figures::plural(count, "dead letter");
            writeln!(output, "{letters} {done}")?;
        }
    }
    Ok(())
}

fn write_list(letters: &[DeadLetterView], format: OutputFormat) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == OutputFormat::Json {
        write_json(&mut output, &letters)?;
        return Ok(());
    }
    let mut table = Table::new(&["SET ASIDE", "ID", "UPSTREAM", ">ATTEMPTS", "TOPIC"]);
    for letter in letters {
        let event = letter.event.as_ref();
        table.row([
            figures::time(letter.time_ms),
            letter.id.clone(),
            letter.upstream.clone(),
            letter.attempts.to_string(),
            event.map(|event| event.topic.clone()).unwrap_or_default(),
        ]);
        table.below(&letter.reason);
    }
    table.write(&mut output, color::output_in_color())?;
    Ok(())
}

/// The rules of a letter. Those that are not named, and sends of one rule, are in the count of outputs.
fn rules(letter: &DeadLetterView) -> String {
    match (letter.rules.is_empty(), letter.outputs) {
        (true, 0 | 1) => "none".to_owned(),
        (true, outputs) => format!("none; {}", figures::plural(outputs, "output")),
        (false, 0 | 1) => letter.rules.join(", "),
        (false, outputs) => format!(
            "{}; {} in all",
            letter.rules.join(", "),
            figures::plural(outputs, "output")
        ),
    }
}

fn write_letter(letter: &DeadLetterView, format: OutputFormat) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == OutputFormat::Json {
        write_json(&mut output, letter)?;
        return Ok(());
    }
    let attempts = letter.attempts.to_string();
    let time = figures::time(letter.time_ms);
    let parts = [
        ("dead letter", letter.id.as_str()),
        ("bound for", &letter.upstream),
        ("reason", &letter.reason),
        ("attempts", &attempts),
        ("set aside", &time),
        ("of", &letter.of),
        ("rules", &rules(letter)),
    ];
    let others = letter.other_reasons.iter();
    let others = others.map(|reason| ("other reason", reason.as_str()));
    for (name, value) in parts.into_iter().chain(others) {
        writeln!(output, "{name:<16} {}", printable(value))?;
    }
    match &letter.event {
        None => writeln!(output, "\nits record cannot be read; the bytes are kept")?,
        Some(event) => {
            writeln!(output)?;
            write_envelope(&mut output, event)?;
        }
    }
    Ok(())
}
