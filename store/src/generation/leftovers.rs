//! Directories of generations that could be neither begun nor removed.

use super::removal::retire_dir;
use crate::engine::lock::locked;
use std::path::PathBuf;
use std::sync::Mutex;

/// See the module.
#[derive(Default)]
pub(crate) struct Leftovers {
    dirs: Mutex<Vec<PathBuf>>,
}

impl Leftovers {
    pub(crate) fn add(&self, dir: PathBuf) {
        locked(&self.dirs).push(dir);
    }

    /// Tries to remove them; true if none is left. With the generations before it gone, one would look like a gap in the
    /// log.
    pub(crate) fn are_gone(&self) -> bool {
        let mut dirs = locked(&self.dirs);
        dirs.retain(|dir| dir.exists() && retire_dir(dir).is_err() && dir.exists());
        dirs.is_empty()
    }
}
