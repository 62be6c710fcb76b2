//! `tidegate demo`: the main job on one machine, with an outage and a kill, ended by its books.
//!
//! ```text
//! 20 MQTT sensors ─┐                        ┌─ the line, cut ─┐
//!  2 serial nodes ─┴─▶ gateway (a process, ─┴─────────────────┴─▶ gateway (a process) ─▶ file
//!                      killed once)                                                       │
//!            acknowledged ──────────────────▶ ledger ◀────────────────────── delivered ──┘
//! ```
//!
//! Sensors and nodes keep what is not acknowledged; the gateways are this same program. What
//! was acknowledged is written down here, what arrived is read from the upstream's file, and
//! the two must agree.

mod ack_latency;
mod delivered_file;
mod folder;
mod gateway_process;
mod ledger;
mod mqtt_sensors;
mod relay;
mod scenario;
mod serial_nodes;
mod settling;
mod view;

use std::io::Write;
use std::time::Duration;

use super::Failure;
use super::arguments::OutputFormat;
use crate::config::unit;
use ledger::Balance;
use scenario::{DemoError, Options};
use view::ProgressOutput;

/// The shortest demo that has time for its outage and its kill.
const LENGTH_MIN: Duration = Duration::from_secs(5);

/// What `tidegate demo` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How long, such as `30s`, at least 5s [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<Duration>,
    /// How to write the books
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

fn length(text: &str) -> Result<Duration, String> {
    match unit::duration(text) {
        Err(_) => Err("write a number and s, m or h, such as 30s".into()),
        Ok(length) if length < LENGTH_MIN => Err("an outage and a kill take at least 5s".into()),
        Ok(length) => Ok(length),
    }
}

/// Runs the demo and prints its books.
///
/// # Errors
/// Exit code 1 when anything was lost or invented, or when the demo could not be carried out.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let options = Options {
        length: arguments.length,
        progress: match arguments.format {
            OutputFormat::Text => ProgressOutput::Stdout,
            OutputFormat::Json => ProgressOutput::Stderr,
        },
    };
    let balance = runtime
        .block_on(scenario::run(options))
        .map_err(|error: DemoError| Failure::new(error.to_string()))?;
    let mut output = std::io::stdout().lock();
    match arguments.format {
        OutputFormat::Text => writeln!(output, "{}", verdict(&balance))?,
        OutputFormat::Json => writeln!(output, "{:#}", serde_json::json!(balance))?,
    }
    match balance.holds() {
        true => Ok(()),
        false => Err(Failure::Said(1)),
    }
}

/// The books and the verdict, as the demo prints them last.
fn verdict(balance: &Balance) -> String {
    let Balance {
        accepted,
        derived,
        delivered,
        duplicates,
        dead_letters,
        lost,
        invented,
        held,
    } = balance;
    let word = if balance.holds() {
        "every acknowledged event arrived"
    } else {
        "ACKNOWLEDGED EVENTS ARE MISSING OR WERE INVENTED"
    };
    let kept = match held {
        0 => String::new(),
        _ => format!("not acknowledged, and kept by their devices: {held} readings\n"),
    };
    format!(
        "accepted {accepted}   alarms derived {derived}   delivered {delivered}\nduplicates {duplicates}   dead letters {dead_letters}   invented {invented}\n{kept}lost = {lost}: {word}"
    )
}
