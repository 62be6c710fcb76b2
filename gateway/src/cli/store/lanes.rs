//! `tidegate store lanes list|move|drop`: events behind names that no upstream has any more.

use std::io::Write;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};
use tidegate_rules::decision::Destinations;
use tidegate_store::Store;

use crate::cli::Failure;
use crate::cli::arguments::OutputFormat;
use crate::cli::gateway::control_client::{ControlClient, percent_encoded};
use crate::cli::gateway::event_store::EventStore;
use crate::cli::gateway::known_names;
use crate::cli::terminal::table::printable;
use crate::observe::status::StrandedLane;
use crate::run::config::Place;

/// What `tidegate store lanes` takes.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// Show what waits behind names that no upstream has
    List,
    /// Send what waits behind a name to an upstream instead
    Move {
        /// The name that no upstream has any more
        name: String,
        /// The upstream
        #[arg(long, value_name = "UPSTREAM")]
        to: String,
    },
    /// Give up for good what waits behind a name
    Drop {
        /// The name that no upstream has any more
        name: String,
    },
}

/// Carries it out through the running gateway; what waits is shown without one, too.
///
/// # Errors
/// When none runs, or it refuses.
pub(super) fn run(command: &Command, place: &Place, format: OutputFormat) -> Result<(), Failure> {
    let store = EventStore::find(place)?;
    if let Command::Move { to, .. } = command {
        let known = known_names::of_upstreams(&store, place)?;
        known_names::check("upstream", to, &known)?;
    }
    let answer = match (&store, command) {
        (EventStore::Served(client), _) => ask(client, command)?,
        (EventStore::OnDisk(store, _), Command::List) => stranded(store, place),
        (EventStore::OnDisk(..), _) => {
            let message = "only a running gateway can move or drop what waits: start it first";
            return Err(Failure::new(message));
        }
    };
    let mut output = std::io::stdout().lock();
    if format == OutputFormat::Json {
        writeln!(output, "{answer:#}")?;
        return Ok(());
    }
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    match command {
        Command::List => {
            let lanes = answer.get("stranded").and_then(Value::as_array);
            for lane in lanes.into_iter().flatten() {
                let name = lane.get("name").and_then(Value::as_str);
                let waiting = lane.get("waiting").and_then(Value::as_u64);
                let name = printable(name.unwrap_or_default());
                writeln!(output, "{name}  {} waiting", waiting.unwrap_or(0))?;
            }
            if lanes.is_none_or(Vec::is_empty) {
                writeln!(output, "nothing waits behind a name that no upstream has")?;
            }
        }
        Command::Move { to, .. } => {
            writeln!(output, "{} moved to {}", count("moved"), printable(to))?;
        }
        Command::Drop { .. } => writeln!(output, "{} dropped", count("dropped"))?,
    }
    Ok(())
}

/// What waits behind names that the configuration has no upstream for.
fn stranded(store: &Store, place: &Place) -> Value {
    if place.config.is_none() {
        eprintln!(
            "without a configuration it is not known which upstreams there are: all that waits is shown"
        );
    }
    let is_known = |name: &str| place.upstreams.iter().any(|known| known == name);
    let lanes = store.lanes().into_iter();
    let lanes =
        lanes.filter(|lane| lane.name != Destinations::DEAD_LETTER && !is_known(&lane.name));
    let waiting = lanes.map(|lane| StrandedLane {
        waiting: store.backlog(lane.id).events,
        name: lane.name,
    });
    let waiting: Vec<_> = waiting.filter(|lane| lane.waiting > 0).collect();
    json!({ "stranded": waiting })
}

fn ask(client: &ControlClient, command: &Command) -> Result<Value, Failure> {
    match command {
        Command::List => client.get("/store/lanes"),
        Command::Move { name, to } => {
            let (name, to) = (percent_encoded(name), percent_encoded(to));
            client.send(Method::POST, &format!("/store/lanes/{name}/move?to={to}"))
        }
        Command::Drop { name } => client.send(
            Method::DELETE,
            &format!("/store/lanes/{}", percent_encoded(name)),
        ),
    }
}
