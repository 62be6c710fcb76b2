//! Appends structured CloudEvents to a file, a line each, synced before they are confirmed.

pub mod config;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use super::open::OpenUpstream;
use super::{Delivery, Outcome, Token, Trouble, Upstream};
use crate::event::cloudevents::json;
use config::FileUpstream;

/// Deliveries written and synced at once.
const BATCH_MAX: usize = 1024;

type Written = Result<(OpenFile, Vec<Token>), Trouble>;

/// A `file` upstream.
pub struct FileOut {
    config: FileUpstream,
    open: Option<OpenFile>,
    queued: Vec<Delivery>,
    writing: Option<JoinHandle<Written>>,
}

struct OpenFile {
    file: File,
    bytes: u64,
}

impl OpenUpstream for FileUpstream {
    type Upstream = FileOut;

    fn open(&self, _: &str) -> Result<FileOut, String> {
        Ok(FileOut::new(self.clone()))
    }
}

impl FileOut {
    /// For the file that the configuration names.
    pub fn new(config: FileUpstream) -> FileOut {
        FileOut {
            config,
            open: None,
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
        Some(tokio::task::spawn_blocking(move || {
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
        self.open = Some(open(&self.config.path)?);
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
    }
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Trouble {
    Trouble::new(format!("{}: {what}: {error}", path.display()))
}

/// Opens the file at its end. A last line without an end was torn by a crash; it was never
/// confirmed and comes again, so it is cut off.
fn open(path: &Path) -> Result<OpenFile, Trouble> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| failed(path, "cannot be opened", &error))?;
    let whole =
        end_of_last_line(&mut file).map_err(|error| failed(path, "cannot be read", &error))?;
    file.set_len(whole)
        .and_then(|()| file.seek(SeekFrom::Start(whole)))
        .map_err(|error| failed(path, "cannot be prepared", &error))?;
    Ok(OpenFile { file, bytes: whole })
}

fn end_of_last_line(file: &mut File) -> std::io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let from = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(from))?;
        let mut chunk = vec![0; (end - from) as usize];
        file.read_exact(&mut chunk)?;
        if let Some(at) = memchr::memrchr(b'\n', &chunk) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

fn write(mut open: OpenFile, batch: &[Delivery], config: &FileUpstream) -> Written {
    let mut lines = Vec::new();
    for delivery in batch {
        lines.extend(json::structured(delivery));
        lines.push(b'\n');
    }
    let path = &config.path;
    let written = open
        .file
        .write_all(&lines)
        .and_then(|()| open.file.sync_data());
    written.map_err(|error| failed(path, "cannot be written", &error))?;
    open.bytes += lines.len() as u64;
    if open.bytes >= config.rotate_bytes {
        rotate(config).map_err(|error| failed(path, "cannot be rotated", &error))?;
        open = self::open(path)?;
    }
    Ok((open, batch.iter().map(|delivery| delivery.token).collect()))
}

/// `x` becomes `x.1`, `x.1` becomes `x.2` …; what is above `keep_files` goes.
fn rotate(config: &FileUpstream) -> std::io::Result<()> {
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
        if config.files_max > 0 && number >= config.files_max {
            std::fs::remove_file(numbered(number))?;
        } else {
            std::fs::rename(numbered(number), numbered(number + 1))?;
        }
    }
    std::fs::rename(&config.path, numbered(1))?;
    let folder = config.path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
