//! `tidegate store backup|restore`: a copy of the store that is a store itself, and the way back.

use std::io::Write;
use std::path::Path;

use super::held::Held;
use super::running::{Running, encoded};
use super::store::Bar;
use super::{Failure, Format, human};
use crate::config::Config;
use crate::control::history::store::{BackupUpdate, CopyReport, backup, restore};

/// Copies the store to `folder`: by the gateway if one runs.
///
/// # Errors
/// When the copy could not be made, or something could not be copied.
pub(super) fn back_up(config: &Config, folder: &Path, format: Format) -> Result<(), Failure> {
    // The gateway works in a folder of its own.
    let folder = std::path::absolute(folder)?;
    let bar = Bar::new();
    let copied = match Held::find(config)? {
        Held::Lying(store, _) => {
            backup(&store, &folder, |done, all| bar.advance(done, all)).map_err(Failure::new)?
        }
        Held::Running(running) => asked(&running, &folder, &bar)?,
    };
    bar.finish();
    write_copied("backed up", &copied, &folder, format)
}

/// Makes the gateway's store from the backup in `folder`.
///
/// # Errors
/// When a gateway runs, there is a store, or the backup cannot be read.
pub(super) fn bring_back(config: &Config, folder: &Path, format: Format) -> Result<(), Failure> {
    if let Some(running) = Running::find(&config.gateway.data_dir)? {
        return Err(Failure::new(format!(
            "a gateway runs at {}; stop it first",
            running.socket().display()
        )));
    }
    let to = config.gateway.store_dir();
    let bar = Bar::new();
    let copied = restore(folder, &to, |done, all| bar.advance(done, all)).map_err(Failure::new)?;
    bar.finish();
    write_copied("restored", &copied, &to, format)
}

fn asked(running: &Running, folder: &Path, bar: &Bar) -> Result<CopyReport, Failure> {
    let name = folder.to_str().ok_or_else(|| {
        let shown = folder.display();
        Failure::new(format!(
            "{shown} cannot be named to the gateway: it is no UTF-8"
        ))
    })?;
    let path = format!("/store/backup?to={}", encoded(name));
    let mut copied = None;
    running.follow_sent(hyper::Method::POST, &path, |line| {
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

fn write_copied(done: &str, copied: &CopyReport, to: &Path, format: Format) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(output, "{:#}", serde_json::json!(copied))?,
        Format::Text => {
            writeln!(
                output,
                "{done} {} ({}) in {} and {} to {}",
                human::counted(copied.records, "event"),
                human::size(copied.bytes),
                human::counted(copied.generations, "generation"),
                human::counted(copied.dead_letters, "dead letter"),
                to.display()
            )?;
            if copied.left_out > 0 {
                let left_out = human::counted(copied.left_out, "generation");
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
            human::counted(damaged, "block")
        ))),
    }
}
