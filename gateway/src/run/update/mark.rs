//! What a running gateway leaves beside its store: the mark that its program was ready, and the last words of one that was
//! not.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file_identity::FileIdentity;
use super::{digest, durable};

/// Characters of last words.
const WHY_CHARACTERS_MAX: usize = 500;

/// Which program was ready last. A gateway acknowledges nothing in a run that has not left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyMark {
    /// SHA-256 of its file.
    pub program: String,
    /// The file that was hashed for that, where it can be told from every other without reading it.
    #[serde(default)]
    pub file: Option<FileIdentity>,
    /// Its release.
    pub version: String,
    /// How often any program was ready over this data: the mark is another after each.
    pub count: u64,
    /// What was put back, by its name, and of which the event log was told.
    #[serde(default)]
    pub told: Option<String>,
}

impl ReadyMark {
    /// Where it lies.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("ready.json")
    }

    /// The mark in `data_dir`, if there is one that can be read.
    pub fn read(data_dir: &Path) -> Option<ReadyMark> {
        let bytes = durable::read(&ReadyMark::path(data_dir)).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// What tells one state of the mark from every other; rubbish has one of its own too.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn fingerprint(data_dir: &Path) -> io::Result<String> {
        let bytes = durable::read(&ReadyMark::path(data_dir))?;
        Ok(bytes.map_or_else(|| "none".to_owned(), |bytes| digest::of_bytes(&bytes)))
    }

    /// Says that `program`, which is `file`, is ready, and that the event log is told of `told`, which was put back; it is on the
    /// disk when this returns. Gives whether that was known before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(
        data_dir: &Path,
        program: &str,
        file: Option<FileIdentity>,
        told: Option<&str>,
    ) -> io::Result<bool> {
        let last = ReadyMark::read(data_dir);
        let was_told = last.as_ref().and_then(|mark| mark.told.as_deref()) == told;
        let before = last.as_ref().map_or(0, |mark| mark.count);
        let mark = ReadyMark {
            program: program.to_owned(),
            file,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            count: before.saturating_add(1),
            told: told.map(str::to_owned),
        };
        durable::write(&ReadyMark::path(data_dir), &serde_json::to_vec(&mark)?)?;
        Ok(was_told)
    }
}

/// How a run ended that was not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords {
    /// SHA-256 of its program.
    pub program: String,
    /// Which attempt of its trial it was.
    pub attempt: u32,
    /// Somebody told it to end while it waited for something that no other program would have either.
    pub told_to_end: bool,
    /// Why it ended.
    pub why: String,
}

impl LastWords {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("ended.json")
    }

    /// Those of the last run that was not ready, if they can be read.
    pub fn read(data_dir: &Path) -> Option<LastWords> {
        let bytes = durable::read(&LastWords::path(data_dir)).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Leaves them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn leave(mut self, data_dir: &Path) -> io::Result<()> {
        self.why = self.why.chars().take(WHY_CHARACTERS_MAX).collect();
        durable::write(&LastWords::path(data_dir), &serde_json::to_vec(&self)?)
    }
}
