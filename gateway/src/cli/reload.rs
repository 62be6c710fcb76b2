//! `tidegate reload`: has the running gateway read its configuration again, and says what came of it.

use std::io::Write;

use hyper::Method;

use super::Failure;
use super::arguments::{OutputFormat, PlaceArgument};
use super::gateway::control_client::ControlClient;
use super::terminal::table::printable;
use crate::control::ReloadReport;

/// What `tidegate reload` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: PlaceArgument,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Asks the running gateway for it.
///
/// # Errors
/// Exit code 78 when the configuration is refused, 1 when some of it is not in force yet, or when no gateway runs.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = arguments.place.find()?;
    let Some(client) = ControlClient::connect(&place.data_dir)? else {
        return Err(Failure::new(format!(
            "no gateway runs on {}; its next start reads the configuration",
            place.data_dir.display()
        )));
    };
    let report: ReloadReport = client.send(Method::POST, "/reload")?;
    let mut output = std::io::stdout().lock();
    match arguments.format {
        OutputFormat::Json => writeln!(output, "{:#}", serde_json::json!(report))?,
        OutputFormat::Text if report.refused.is_empty() => {
            writeln!(output, "{} is read again", printable(&report.config))?;
            writeln!(output, "sources    {}", printable(&report.sources.text()))?;
            writeln!(output, "upstreams  {}", printable(&report.upstreams.text()))?;
        }
        OutputFormat::Text => {}
    }
    outcome(&report)
}

/// What of it is not in force.
fn outcome(report: &ReloadReport) -> Result<(), Failure> {
    if !report.refused.is_empty() {
        let mistakes: Vec<String> = report.refused.iter().map(|line| printable(line)).collect();
        return Err(Failure::bad_config(&format!(
            "{} is refused, and everything stays as it was; `tidegate check` shows each mistake\n{}",
            printable(&report.config),
            mistakes.join("\n")
        )));
    }
    let mut behind = Vec::new();
    if !report.restart_needed.is_empty() {
        let keys = report.restart_needed.join(", ");
        behind.push(format!("restart needed: {}", printable(&keys)));
    }
    if report.is_behind {
        behind.push(
            "some of it cannot be taken yet, and is tried again: `tidegate status` says what"
                .to_owned(),
        );
    }
    match behind.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{}; everything else is in force",
            behind.join("; ")
        ))),
    }
}
