//! The two programs: the one that is installed, and the one before it that is kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::run::update::{digest, durable};

/// Where they lie.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The one that the service runs.
    pub present: PathBuf,
    /// The one that was kept.
    pub previous: PathBuf,
}

impl Programs {
    /// Where the one that was put back is kept, to look at.
    pub fn refused(&self) -> PathBuf {
        self.previous.with_file_name("refused")
    }

    /// Puts the previous one in the place of the present one. Whatever it is cut off by, there is the one or the other,
    /// and doing it again does the rest.
    ///
    /// # Errors
    /// When it cannot be done.
    pub(super) fn put_back(&self, expected: &str) -> io::Result<()> {
        if digest::of_file(&self.previous)? != expected {
            let why = "the previous program is not the one that was kept";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let is_done = digest::of_file(&self.present).is_ok_and(|found| found == expected);
        if !is_done {
            // Only for whoever wants to know why it failed.
            let _ = place(&self.present, &self.refused());
            place(&self.previous, &self.present)?;
        }
        remove(&durable::beside(&self.present, ".gate"))
    }

    /// Keeps the present one as the previous one.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(super) fn keep(&self) -> io::Result<()> {
        if let Some(folder) = self.previous.parent() {
            fs::create_dir_all(folder)?;
        }
        place(&self.present, &self.previous)
    }
}

/// Makes `to` the same file as `from`: one more name for it, on another disk a copy.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    let fresh = durable::beside(to, ".gate");
    remove(&fresh)?;
    if fs::hard_link(from, &fresh).is_err() {
        fs::copy(from, &fresh)?;
    }
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, to)?;
    // Two names of one file are not renamed onto each other.
    remove(&fresh)?;
    durable::sync_folder_of(to)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
