//! `tidegate store verify`: every record is read and compared with its checksum.

use std::io::Write;

use crate::cli::Failure;
use crate::cli::arguments::OutputFormat;
use crate::cli::gateway::event_store::EventStore;
use crate::cli::terminal::figures;
use crate::cli::terminal::progress_bar::ProgressBar;
use crate::cli::terminal::table::printable;
use crate::control::history::store::{VerifyReport, VerifyUpdate, verify};

/// Reads everything, or has the running gateway do it.
///
/// # Errors
/// When the gateway went away meanwhile.
pub(super) fn read_all(store: &EventStore) -> Result<VerifyReport, Failure> {
    let bar = ProgressBar::new();
    let advance = |done, all| bar.advance(done, all);
    let report = match store {
        EventStore::OnDisk(store, _) => verify(store, advance),
        EventStore::Served(client) => {
            let mut report = None;
            client.follow_request(hyper::Method::POST, "/store/verify", |line| {
                match serde_json::from_slice(line) {
                    Ok(VerifyUpdate::Progress(done, all)) => advance(done, all),
                    Ok(VerifyUpdate::Result(result)) => report = Some(result),
                    Err(error) => {
                        return Err(Failure::new(format!("no answer of a gateway: {error}")));
                    }
                }
                Ok(())
            })?;
            report.ok_or_else(|| Failure::new("the gateway went away while it was verifying"))?
        }
    };
    bar.finish();
    Ok(report)
}

/// Writes what was found.
///
/// # Errors
/// When something is damaged, or the output is closed.
pub(super) fn write(report: &VerifyReport, format: OutputFormat) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match format {
        OutputFormat::Json => writeln!(output, "{:#}", serde_json::json!(report))?,
        OutputFormat::Text => {
            writeln!(
                output,
                "{} ({}) in {} and {} are as they were written",
                figures::counted(report.records, "event"),
                figures::size(report.bytes),
                figures::counted(report.generations, "generation"),
                figures::counted(report.dead_letters, "dead letter")
            )?;
            for damage in &report.damage {
                writeln!(output, "  ! {}", printable(damage))?;
            }
        }
    }
    match report.sound {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{} places are damaged",
            report.damage.len()
        ))),
    }
}
