//! `tidegate store backup|restore`: a copy of the store that is a store itself, and the way back.

use std::io::Write;
use std::path::Path;

use crate::cli::Failure;
use crate::cli::arguments::OutputFormat;
use crate::cli::gateway::control_client::{ControlClient, percent_encoded};
use crate::cli::gateway::event_store;
use crate::cli::gateway::permission;
use crate::cli::terminal::figures;
use crate::cli::terminal::progress_bar::ProgressBar;
use crate::control::history::store::{BackupUpdate, CopyReport, backup, restore};
use crate::run::config::Place;

/// Copies the store to `folder`: by the gateway if one runs.
///
/// # Errors
/// When the copy could not be made, or something could not be copied.
pub(super) fn back_up(place: &Place, folder: &Path, format: OutputFormat) -> Result<(), Failure> {
    // The gateway works in a folder of its own.
    let folder = std::path::absolute(folder)?;
    let bar = ProgressBar::new();
    let copied = match ControlClient::connect(&place.data_dir)? {
        None => {
            let store = event_store::held(&place.store_dir())?;
            backup(&store, &folder, |done, all| bar.advance(done, all)).map_err(Failure::new)?
        }
        Some(client) => by_gateway(&client, &folder, &bar)?,
    };
    bar.finish();
    write_copied("backed up", &copied, &folder, format)
}

/// Makes the gateway's store from the backup in `folder`.
///
/// # Errors
/// When a gateway runs, there is a store, or the backup cannot be read.
pub(super) fn restore_from(
    place: &Place,
    folder: &Path,
    format: OutputFormat,
) -> Result<(), Failure> {
    if let Some(client) = ControlClient::connect(&place.data_dir)? {
        return Err(Failure::new(format!(
            "a gateway runs at {}; stop it first",
            client.socket().display()
        )));
    }
    let to = place.store_dir();
    permission::become_owner(&place.data_dir)?;
    let bar = ProgressBar::new();
    let copied = restore(folder, &to, |done, all| bar.advance(done, all)).map_err(Failure::new)?;
    bar.finish();
    write_copied("restored", &copied, &to, format)
}

fn by_gateway(
    client: &ControlClient,
    folder: &Path,
    bar: &ProgressBar,
) -> Result<CopyReport, Failure> {
    let name = folder.to_str().ok_or_else(|| {
        let shown = folder.display();
        Failure::new(format!(
            "{shown} cannot be named to the gateway: it is no UTF-8"
        ))
    })?;
    let path = format!("/store/backup?to={}", percent_encoded(name));
    let mut copied = None;
    client.follow_request(hyper::Method::POST, &path, |line| {
        match serde_json::from_slice(line) {
            Ok(BackupUpdate::Progress(done, all)) => bar.advance(done, all),
            Ok(BackupUpdate::Result(result)) => copied = Some(result),
            Ok(BackupUpdate::Failed(why)) => return Err(Failure::new(why)),
            Err(error) => return Err(Failure::new(format!("no answer of a gateway: {error}"))),
        }
        Ok(())
    })?;
    copied.ok_or_else(|| Failure::new("the gateway went away during the backup"))
}

fn write_copied(
    done: &str,
    copied: &CopyReport,
    to: &Path,
    format: OutputFormat,
) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match format {
        OutputFormat::Json => writeln!(output, "{:#}", serde_json::json!(copied))?,
        OutputFormat::Text => {
            writeln!(
                output,
                "{done} {} ({}) in {} and {} to {}",
                figures::counted(copied.records, "event"),
                figures::size(copied.bytes),
                figures::counted(copied.generations, "generation"),
                figures::counted(copied.dead_letters, "dead letter"),
                to.display()
            )?;
            if copied.left_out > 0 {
                let left_out = figures::counted(copied.left_out, "generation");
                writeln!(
                    output,
                    "{left_out} left out: delivered and deleted meanwhile, or not readable (`tidegate store status` tells)"
                )?;
            }
        }
    }
    match copied.damaged_blocks {
        0 => Ok(()),
        damaged => Err(Failure::new(format!(
            "{} damaged and left out; all else is copied",
            figures::counted(damaged, "block")
        ))),
    }
}
