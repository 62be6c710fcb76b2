//! How a generation begins: with a copy of all small keys, and the last one takes no more records from then on.

use crate::Sequence;
use crate::catalog::open_generations::OpenGenerations;
use crate::catalog::{Catalog, small_keys};
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::{Engine, Writes};
use crate::engine::{clock, disk};
use crate::format::directory::generations_dir;
use crate::generation::beginnings::Beginnings;
use crate::generation::high_water::HighWater;
use crate::generation::leftovers::Leftovers;
use crate::generation::name::dir_name;
use crate::generation::removal::retire_dir;
use crate::generation::summary::Summary;
use crate::generation::{Generation, running_time};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Begins generations.
pub(crate) struct Rotation {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) open: Arc<OpenGenerations>,
    pub(crate) leftovers: Arc<Leftovers>,
    /// The store's directory.
    pub(crate) dir: PathBuf,
    pub(crate) cache_bytes: u64,
    /// The highest number that was given to a generation, begun or not; none is given twice.
    pub(crate) highest: u64,
}

/// Why there is no new generation.
pub(crate) struct NotBegun {
    pub(crate) error: EngineError,
    /// Nothing more may be written to the one before either.
    pub(crate) ends_last: bool,
}

impl Rotation {
    /// Begins a new generation; gives its database and number. On failure the last one is as it was, if it may be.
    pub(crate) fn begin(&mut self) -> Result<(Arc<Engine>, u64), NotBegun> {
        let (next, writes, cursors) = {
            let mut catalog = locked(&self.catalog);
            let cursors = catalog.take_dirty();
            let newest = catalog.generations.back().map_or(0, |last| last.id);
            self.highest = self.highest.max(newest) + 1;
            (catalog.next, small_keys::all(&catalog), cursors)
        };
        let id = self.highest;
        let dir = generations_dir(&self.dir).join(dir_name(id, next));
        let engine = match self.write_new(&dir, id, next, writes) {
            Ok(engine) => Arc::new(engine),
            Err(error) => {
                locked(&self.catalog).mark_dirty(&cursors);
                let ends_last = self.take_back(&dir);
                return Err(NotBegun { error, ends_last });
            }
        };
        let mut generation = Generation::new(id, &dir, Summary::empty(next), false);
        generation.engine = Some(engine.clone());
        self.seal_last();
        locked(&self.catalog).generations.push_back(generation);
        // Readers that keep up have the tail; an open generation costs as much memory as it is large.
        self.open.close_all();
        Ok((engine, id))
    }

    fn write_new(
        &self,
        dir: &Path,
        id: u64,
        next: Sequence,
        writes: Writes,
    ) -> Result<Engine, EngineError> {
        let engine = Engine::open(dir, self.cache_bytes)?;
        engine.write(writes)?;
        // The generation counts from here on, so the mark outside sled must not fail it: an older one hides nothing.
        let high_water = HighWater {
            generation: id,
            next,
        };
        let _ = high_water.save(&self.dir);
        Ok(engine)
    }

    /// Removes what is there of a generation that could not be begun. It may be complete, and would then be taken for
    /// the newest by the next opening: if it may still be there, nothing more is written to the one before (`true`).
    fn take_back(&self, dir: &Path) -> bool {
        if !dir.exists() || retire_dir(dir).is_ok() {
            return false;
        }
        self.leftovers.add(dir.to_path_buf());
        let last = locked(&self.catalog)
            .generations
            .back_mut()
            .and_then(|last| last.engine.take());
        drop(last);
        true
    }

    /// The last generation takes no more records. Its summary file and its beginnings spare the next opening a scan, no
    /// more: a failure to write them does no harm.
    fn seal_last(&self) {
        let sealed = {
            let mut catalog = locked(&self.catalog);
            catalog.generations.back_mut().map(|generation| {
                generation.sealed = true;
                generation.last_used = clock::now();
                (
                    generation.id,
                    generation.dir.clone(),
                    generation.summary.clone(),
                    generation.engine.clone(),
                )
            })
        };
        let Some((id, dir, summary, engine)) = sealed else {
            return;
        };
        if let Some(engine) = engine {
            Beginnings::save(&engine, &summary);
        }
        let _ = summary.save(&dir);
        // Without its reading of the clock what is in it counts as new after the next opening.
        let now_ms = locked(&self.catalog).running_time.now_ms();
        let _ = running_time::save(&dir, now_ms);
        self.measure(id);
    }

    /// Looks what a generation takes on the disk: less once it is closed, for its room ahead is given back then.
    pub(super) fn measure(&self, id: u64) {
        let dir = locked(&self.catalog)
            .generation_mut(id)
            .map(|generation| generation.dir.clone());
        let bytes = dir.map_or(0, |dir| disk::allocated_bytes(&dir));
        if let Some(generation) = locked(&self.catalog).generation_mut(id) {
            generation.disk_bytes = bytes;
        }
    }
}
