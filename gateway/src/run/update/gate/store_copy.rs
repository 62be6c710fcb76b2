//! The store before a new program first opens it, and the way back to it. All of this is done as the owner of the data, who
//! may do with it whatever he likes: root never follows him there.
//!
//! ```text
//! <data_dir>/before-upgrade/about.json   what the backup is of
//!                           store/       the backup, a store itself
//!            before-upgrade.partial/     one that is being made
//!            store.refused/              what the failed program left, while it is put back
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::StoreFate;
use crate::config::store_dir;
use crate::run::update::durable;
use crate::run::update::mark::ReadyMark;

/// What a backup is of.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    /// The ready mark at that time: while it is the same, nothing was acknowledged since.
    mark: String,
    /// Format of the store.
    store_format: Option<u32>,
    /// Blocks that could not be read.
    damaged_blocks: u64,
}

/// The store of one gateway, and what lies beside it.
pub struct StoreCopy {
    data_dir: PathBuf,
}

impl StoreCopy {
    /// That in `data_dir`.
    pub fn of(data_dir: &Path) -> StoreCopy {
        StoreCopy {
            data_dir: data_dir.to_owned(),
        }
    }

    fn store(&self) -> PathBuf {
        store_dir(&self.data_dir)
    }

    fn backup(&self) -> PathBuf {
        self.data_dir.join("before-upgrade")
    }

    fn partial(&self) -> PathBuf {
        self.data_dir.join("before-upgrade.partial")
    }

    fn refused(&self) -> PathBuf {
        self.data_dir.join("store.refused")
    }

    fn about(&self) -> Option<About> {
        let bytes = durable::read(&self.backup().join("about.json")).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    fn is_of_now(&self, about: &About) -> bool {
        ReadyMark::fingerprint(&self.data_dir).is_ok_and(|now| now == about.mark)
    }

    /// Makes the backup, unless one of just this moment is there.
    ///
    /// # Errors
    /// In words, what stands in the way.
    pub fn back_up(&self) -> Result<(), String> {
        if self.about().is_some_and(|about| self.is_of_now(&about)) {
            return Ok(());
        }
        let failed = |error: io::Error| format!("{}: {error}", self.partial().display());
        self.forget().map_err(failed)?;
        if !self.store().exists() {
            return Ok(());
        }
        let store_format = tidegate_store::format_of(&self.store());
        let store = tidegate_store::inspect(self.store()).map_err(|error| error.to_string())?;
        let to = self.partial().join("store");
        let made = store.backup(&to, |_, _| {});
        let report = made.map_err(|error| {
            // What half of it takes is room that the gateway lacks.
            let _ = remove(&self.partial());
            error.to_string()
        })?;
        drop(store);
        self.copy_documents(&to).map_err(failed)?;
        let mark = ReadyMark::fingerprint(&self.data_dir).map_err(failed)?;
        let about = About {
            mark,
            store_format,
            damaged_blocks: report.damaged_blocks,
        };
        let text = serde_json::to_vec(&about).map_err(|error| error.to_string())?;
        durable::write(&self.partial().join("about.json"), &text).map_err(failed)?;
        self.rename(&self.partial(), &self.backup()).map_err(failed)
    }

    /// The small documents beside the log are no part of a backup, and of this one they are.
    fn copy_documents(&self, to: &Path) -> io::Result<()> {
        let (from, to) = (self.store().join("documents"), to.join("documents"));
        let entries = match fs::read_dir(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        fs::create_dir_all(&to)?;
        for entry in entries {
            let entry = entry?;
            let copy = to.join(entry.file_name());
            fs::copy(entry.path(), &copy)?;
            File::open(&copy)?.sync_all()?;
        }
        File::open(&to)?.sync_all()
    }

    /// Whether the store can be as it was before a program that failed, whose first start found it with `format`.
    ///
    /// # Errors
    /// In words, why not.
    pub fn check(&self, format: Option<u32>) -> Result<(), String> {
        let backup = self.backup().join("store");
        if self.is_begun() {
            return match backup.exists() && self.store().exists() {
                true => Err(format!(
                    "{} and {} are both there, and only one of them can be the store: move the one away that is not to be it",
                    self.store().display(),
                    self.refused().display()
                )),
                false => Ok(()),
            };
        }
        if tidegate_store::format_of(&self.store()) == format || self.is_moved() {
            return Ok(());
        }
        match self.about() {
            Some(about) if backup.exists() && self.is_of_now(&about) => Ok(()),
            Some(_) if backup.exists() => Err(format!(
                "a gateway was ready since the backup in {} was made, and may have acknowledged events that are not in it",
                self.backup().display()
            )),
            _ => Err(format!(
                "the store in {} has another format now, and there is no backup of it from before",
                self.store().display()
            )),
        }
    }

    /// The store as it was then. Doing it again does what was not done; the backup's folder tells until [`Self::forget`].
    ///
    /// # Errors
    /// In words, why the store cannot be as it was.
    pub fn restore(&self, format: Option<u32>) -> Result<StoreFate, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.data_dir.display());
        self.check(format)?;
        let backup = self.backup().join("store");
        if !self.is_begun() {
            if self.is_moved() {
                return Ok(StoreFate::Restored);
            }
            if tidegate_store::format_of(&self.store()) == format {
                return Ok(StoreFate::Untouched);
            }
            self.rename(&self.store(), &self.refused())
                .map_err(failed)?;
        }
        if backup.exists() {
            self.rename(&backup, &self.store()).map_err(failed)?;
        }
        // What was in quarantine is no part of a backup.
        let quarantine = self.refused().join("quarantine");
        if quarantine.exists() && !self.store().join("quarantine").exists() {
            self.rename(&quarantine, &self.store().join("quarantine"))
                .map_err(failed)?;
        }
        match self.about().is_none_or(|about| about.damaged_blocks == 0) {
            true => remove(&self.refused()).map_err(failed)?,
            false => {
                let kept = self.data_dir.join("store.damaged");
                remove(&kept).map_err(failed)?;
                self.rename(&self.refused(), &kept).map_err(failed)?;
            }
        }
        Ok(StoreFate::Restored)
    }

    /// The format of the store when the backup was made, unless a gateway was ready since.
    pub fn format_before(&self) -> Option<Option<u32>> {
        let about = self.about()?;
        self.is_of_now(&about).then_some(about.store_format)
    }

    /// Whether there is a backup, or a part of one.
    pub fn is_there(&self) -> bool {
        self.backup().exists() || self.partial().exists()
    }

    fn is_begun(&self) -> bool {
        self.refused().exists()
    }

    /// Whether the backup has become the store.
    fn is_moved(&self) -> bool {
        self.about().is_some() && !self.backup().join("store").exists()
    }

    /// Removes the backup, which nobody needs any more.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        remove(&self.partial())?;
        remove(&self.backup())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        durable::sync_folder_of(from)?;
        durable::sync_folder_of(to)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
