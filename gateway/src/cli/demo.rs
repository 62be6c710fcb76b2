//! `tidegate demo`: the main job on one machine, ended by its books.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::cli::demo::{self, DemoError, Progress};
use crate::cli::running::Running;
use crate::cli::{Failure, Format};
use crate::config::unit;
use crate::observe::status::Status;

/// The shortest demo that has time for its outage and its kill.
const LENGTH_MIN: Duration = Duration::from_secs(5);

/// What `tidegate demo` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// How long, such as `30s`, at least 5s [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<Duration>,
    /// How to write the books
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
/// Exit code 1 when anything was lost, or when the demo could not be carried out.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let options = demo::Options {
        length: arguments.length,
        ask,
        progress: match arguments.format {
            Format::Text => Progress::Output,
            Format::Json => Progress::Aside,
        },
    };
    let balance = runtime
        .block_on(demo::run(options))
        .map_err(|error: DemoError| Failure::new(error.to_string()))?;
    let mut output = std::io::stdout().lock();
    match arguments.format {
        Format::Text => writeln!(output, "{}", demo::verdict(&balance))?,
        Format::Json => writeln!(output, "{:#}", serde_json::json!(balance))?,
    }
    match balance.holds() {
        true => Ok(()),
        false => Err(Failure::Said(1)),
    }
}

/// Asks the gateway of a data directory how it is.
fn ask(data_dir: &Path) -> Option<Status> {
    Running::find(data_dir).ok()??.get("/status").ok()
}
