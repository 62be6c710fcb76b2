//! Appends structured CloudEvents to a file, a line each, synced before they are confirmed.
//!
//! Others have their hands on the file too: it is rotated, removed, truncated, replaced, written
//! to. So what was written is confirmed only when it is on the disk, in the file that is at the
//! path just then; else it is written once more.

mod appended;
pub mod config;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use super::open::{OpenUpstream, Opening};
use super::{Delivery, Outcome, Token, Trouble, Upstream};
use crate::event::cloudevents::json;
use crate::time::task;
use appended::{AppendedFile, sync_folder};
use config::FileUpstream;

/// Deliveries written and synced at once.
const BATCH_MAX: usize = 1024;
/// The same lines are written so often before the lane pauses: somebody is busy with the file.
const WRITES_MAX: usize = 8;

type Written = Result<(AppendedFile, Vec<Token>), Trouble>;

/// A `file` upstream.
pub struct FileOut {
    config: FileUpstream,
    open: Option<AppendedFile>,
    /// It was open once: a folder that is missing later was removed, and is made anew.
    was_open: bool,
    queued: Vec<Delivery>,
    writing: Option<JoinHandle<Written>>,
}

impl OpenUpstream for FileUpstream {
    type Upstream = FileOut;

    fn open(&self, _: Opening<'_>) -> Result<FileOut, String> {
        Ok(FileOut::new(self.clone()))
    }
}

impl FileOut {
    /// For the file that the configuration names.
    pub fn new(config: FileUpstream) -> FileOut {
        FileOut {
            config,
            open: None,
            was_open: false,
            queued: Vec::new(),
            writing: None,
        }
    }

    fn begin(&mut self) -> Option<JoinHandle<Written>> {
        if self.queued.is_empty() {
            return None;
        }
        let open = self.open.take()?;
        let batch = std::mem::take(&mut self.queued);
        let config = self.config.clone();
        Some(task::blocking("a file upstream's write", move || {
            write(open, &batch, &config)
        }))
    }
}

impl Upstream for FileOut {
    async fn connect(&mut self) -> Result<(), Trouble> {
        // A write that was under way must be over before the file is opened again.
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        self.queued.clear();
        // The lock goes with the handle.
        self.open = None;
        self.open = Some(AppendedFile::open(&self.config.path, self.was_open)?);
        self.was_open = true;
        Ok(())
    }

    fn room(&self) -> usize {
        BATCH_MAX.saturating_sub(self.queued.len())
    }

    fn offer(&mut self, batch: Vec<Delivery>) {
        self.queued.extend(batch);
    }

    async fn settled(&mut self) -> Result<Vec<(Token, Outcome)>, Trouble> {
        if self.writing.is_none() {
            self.writing = self.begin();
        }
        let Some(writing) = &mut self.writing else {
            return std::future::pending().await;
        };
        let written = writing.await;
        self.writing = None;
        match written {
            Err(error) => Err(Trouble::new(format!("writing stopped: {error}"))),
            Ok(Err(trouble)) => Err(trouble),
            Ok(Ok((open, tokens))) => {
                self.open = Some(open);
                Ok(tokens
                    .into_iter()
                    .map(|token| (token, Outcome::Confirmed))
                    .collect())
            }
        }
    }

    async fn close(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        self.open = None;
    }
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Trouble {
    Trouble::new(format!("{}: {what}: {error}", path.display()))
}

/// Writes until the lines are in the file at the path.
fn write(mut open: AppendedFile, batch: &[Delivery], config: &FileUpstream) -> Written {
    let lines: Vec<u8> = batch.iter().flat_map(json::line).collect();
    let path = &config.path;
    let mut writes = 0;
    loop {
        if !open.is_at(path) {
            drop(open);
            open = AppendedFile::open(path, true)?;
        }
        // What could not be rotated behind the lines before: a file that is full takes no more.
        if open.bytes() >= config.rotate_bytes {
            open = rotated(open, config)?;
        }
        let place = open
            .append(&lines)
            .map_err(|error| failed(path, "cannot be written", &error))?;
        if open.is_at(path) && open.holds(place, &lines) {
            break;
        }
        writes += 1;
        if writes == WRITES_MAX {
            return Err(Trouble::new(format!(
                "{}: whatever is written is gone at once; another program replaces or cuts the \
                 file all the time",
                path.display()
            )));
        }
    }
    let tokens = batch.iter().map(|delivery| delivery.token).collect();
    if open.bytes() >= config.rotate_bytes && rotate(config).is_ok() {
        // The lines are on the disk, whatever becomes of the next file: where it cannot be made, the next write says so.
        if let Ok(next) = AppendedFile::open(path, true) {
            open = next;
        }
    }
    Ok((open, tokens))
}

/// The file that takes the place of a full one.
fn rotated(full: AppendedFile, config: &FileUpstream) -> Result<AppendedFile, Trouble> {
    rotate(config)?;
    drop(full);
    AppendedFile::open(&config.path, true)
}

/// `x` becomes `x.1`, `x.1` becomes `x.2` …; what is above `keep_files` goes.
fn rotate(config: &FileUpstream) -> Result<(), Trouble> {
    let numbered = |number: usize| {
        let mut name = config.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let mut last = 0;
    while numbered(last + 1).exists() {
        last += 1;
    }
    for number in (1..=last).rev() {
        let old = numbered(number);
        let moved = match config.files_max > 0 && number >= config.files_max {
            true => std::fs::remove_file(&old),
            false => std::fs::rename(&old, numbered(number + 1)),
        };
        moved.map_err(|error| failed(&old, "cannot make room for the next file", &error))?;
    }
    let moved = std::fs::rename(&config.path, numbered(1));
    let moved = moved.and_then(|()| sync_folder(&config.path));
    moved.map_err(|error| failed(&config.path, "cannot be rotated", &error))
}
