//! One file that lines are appended to, while others may do to it what they like.

use std::fs::{File, Metadata, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{Trouble, failed};
use crate::event::cloudevents::json;

/// The longest last line that may be taken for a torn one of ours.
const TORN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Read at once.
const STEP_BYTES: u64 = 64 * 1024;

/// The file at a path, locked against another gateway.
pub(super) struct AppendedFile {
    file: File,
}

impl AppendedFile {
    /// Opens the file at its end, or makes it; `folder_too` makes a missing folder as well. What
    /// a crash left of a line of ours was never confirmed and is cut off; any other last line
    /// without an end gets one.
    pub(super) fn open(path: &Path, folder_too: bool) -> Result<AppendedFile, Trouble> {
        if let Ok(there) = std::fs::metadata(path)
            && !there.is_file()
        {
            return Err(Trouble::new(format!(
                "{}: {} stands where the file should be; move it away",
                path.display(),
                kind_of(&there)
            )));
        }
        if folder_too {
            make_folder(path).map_err(|error| failed(path, "its folder cannot be made", &error))?;
        }
        let (file, is_new) = open_or_create(path).map_err(|error| {
            let what = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "cannot be opened; let the gateway's user read and write it"
                }
                ErrorKind::NotFound => "cannot be opened; is its folder there?",
                _ => "cannot be opened",
            };
            failed(path, what, &error)
        })?;
        if is_new {
            sync_folder(path)
                .map_err(|error| failed(path, "its folder cannot be synced", &error))?;
        }
        // A file system without locks has none to offer; the file is ours all the same.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Trouble::new(format!(
                "{}: another gateway writes to this file; give one of them another `path`",
                path.display()
            )));
        }
        let mut open = AppendedFile { file };
        open.cut_torn()
            .map_err(|error| failed(path, "cannot be prepared", &error))?;
        Ok(open)
    }

    /// Whether this is the file at the path.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let place = |file: Metadata| (file.dev(), file.ino());
        match (std::fs::metadata(path), self.file.metadata()) {
            (Ok(there), Ok(here)) => place(there) == place(here),
            _ => false,
        }
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    /// Appends whole lines and syncs them; gives where they begin. What was written of them
    /// before an error is taken back.
    pub(super) fn append(&mut self, lines: &[u8]) -> std::io::Result<u64> {
        self.end_last_line()?;
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(self.take_back(written, ErrorKind::WriteZero.into())),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.take_back(written, error)),
            }
        }
        self.file.sync_data()?;
        Ok(self
            .file
            .stream_position()?
            .saturating_sub(lines.len() as u64))
    }

    /// Whether these lines stand at this place.
    pub(super) fn holds(&self, place: u64, lines: &[u8]) -> bool {
        let mut read = [0; STEP_BYTES as usize];
        let mut at = place;
        for expected in lines.chunks(read.len()) {
            let read = &mut read[..expected.len()];
            if self.file.read_exact_at(read, at).is_err() || read != expected {
                return false;
            }
            at += expected.len() as u64;
        }
        true
    }

    fn take_back(&mut self, written: usize, error: std::io::Error) -> std::io::Error {
        // Only while it is the end of the file: behind it, it is somebody else's.
        if let Ok(end) = self.file.stream_position()
            && written > 0
            && self.bytes() == end
        {
            let _ = self.file.set_len(end.saturating_sub(written as u64));
        }
        error
    }

    /// Nothing is ever appended to a line that has no end.
    fn end_last_line(&mut self) -> std::io::Result<()> {
        let mut last = [b'\n'];
        let end = self.bytes();
        if end > 0 {
            // Cut this moment by somebody: then there is no last line either.
            let _ = self.file.read_exact_at(&mut last, end - 1);
        }
        match last {
            [b'\n'] => Ok(()),
            _ => self.file.write_all(b"\n"),
        }
    }

    fn cut_torn(&mut self) -> std::io::Result<()> {
        let end = self.bytes();
        let Some(begin) = self.last_line(end)? else {
            return Ok(());
        };
        self.file.seek(SeekFrom::Start(begin))?;
        let mut line = Vec::new();
        (&self.file).take(end - begin).read_to_end(&mut line)?;
        if is_torn(&line) {
            self.file.set_len(begin)?;
        }
        Ok(())
    }

    /// Where a last line without an end begins, unless it is too long to be ours.
    fn last_line(&self, end: u64) -> std::io::Result<Option<u64>> {
        let mut from = end;
        while from > 0 && end - from < TORN_BYTES_MAX {
            let until = from;
            from = from.saturating_sub(STEP_BYTES);
            let mut chunk = vec![0; (until - from) as usize];
            self.file.read_exact_at(&mut chunk, from)?;
            if let Some(at) = memchr::memrchr(b'\n', &chunk) {
                let begin = from + at as u64 + 1;
                return Ok((begin < end).then_some(begin));
            }
        }
        Ok((from == 0 && end > 0).then_some(0))
    }
}

/// Whether this is what is left of a line that we began: a whole one lacks its end only.
fn is_torn(line: &[u8]) -> bool {
    let beginning = json::BEGINNING.as_bytes();
    let is_ours = line.starts_with(beginning) || (line.len() > 1 && beginning.starts_with(line));
    is_ours && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err()
}

fn open_or_create(path: &Path) -> std::io::Result<(File, bool)> {
    let mut options = File::options();
    options.read(true).append(true);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            options.create(true).open(path).map(|file| (file, true))
        }
        opened => opened.map(|file| (file, false)),
    }
}

fn kind_of(there: &Metadata) -> &'static str {
    match there.is_dir() {
        true => "a folder",
        false => "something that is no regular file",
    }
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Makes what is missing of the folders of a file, durably.
fn make_folder(path: &Path) -> std::io::Result<()> {
    let missing: Vec<PathBuf> = folder_of(path)
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_path_buf)
        .collect();
    for folder in missing.iter().rev() {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => sync_folder(folder)?,
        }
    }
    Ok(())
}

/// Makes durable that a file is in its folder, also where it is a link to one elsewhere.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder_of(path))?.sync_all()?;
    match std::fs::canonicalize(path) {
        Ok(real) if real != path => File::open(folder_of(&real))?.sync_all(),
        _ => Ok(()),
    }
}
