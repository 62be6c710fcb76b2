//! Quarantine while the store runs: what is moved there is noted in the catalog.

use super::Catalog;
use crate::Sequence;
use crate::engine::lock::locked;
use crate::format::directory::quarantine_dir;
use crate::generation::quarantine::isolate;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// See the module.
pub(crate) struct Quarantine {
    catalog: Arc<Mutex<Catalog>>,
    dir: PathBuf,
}

impl Quarantine {
    /// For the generations of the store in `store`.
    pub(crate) fn new(catalog: Arc<Mutex<Catalog>>, store: &Path) -> Quarantine {
        Quarantine {
            catalog,
            dir: quarantine_dir(store),
        }
    }

    /// Moves a generation there that is no longer in the catalog; `last` is the last sequence that it may hold.
    pub(crate) fn isolate(&self, generation: &Path, last: Sequence, why: &str) -> io::Result<()> {
        let quarantined = isolate(generation, &self.dir, last, why)?;
        locked(&self.catalog).quarantined.push(quarantined);
        Ok(())
    }
}
