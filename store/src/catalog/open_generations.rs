//! Which generations are open: readers open them as they need them, at most two sealed ones at a time. One that turns out
//! to be unusable leaves the log for quarantine.

use super::Catalog;
use super::quarantine::Quarantine;
use crate::api::error::ReadError;
use crate::engine::clock;
use crate::engine::database_files::remove_snapshots;
use crate::engine::failure::EngineError;
use crate::engine::free_space::FreeSpace;
use crate::engine::lock::locked;
use crate::engine::sled::Engine;
use crate::engine::sled::looking::Looking;
use crate::generation::quarantine::described;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Sealed generations that stay open for readers.
const OPEN_MAX: usize = 2;
/// A sealed generation that nobody read for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct OpenGenerations {
    catalog: Arc<Mutex<Catalog>>,
    space: Arc<FreeSpace>,
    quarantine: Arc<Quarantine>,
    cache_bytes: u64,
    /// Copies are opened, and nothing is written or moved.
    looking: Option<Arc<Looking>>,
    /// Held while one is opened, replaced or deleted.
    opening: Mutex<()>,
}

impl OpenGenerations {
    pub(crate) fn new(
        catalog: Arc<Mutex<Catalog>>,
        space: Arc<FreeSpace>,
        quarantine: Arc<Quarantine>,
        cache_bytes: u64,
        looking: Option<Arc<Looking>>,
    ) -> OpenGenerations {
        OpenGenerations {
            catalog,
            space,
            quarantine,
            cache_bytes,
            looking,
            opening: Mutex::new(()),
        }
    }

    /// Nobody opens one as long as this is held.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        locked(&self.opening)
    }

    /// Opens a generation for reading; `None` if it is gone (deleted, or just now moved to quarantine).
    pub(crate) fn open(&self, id: u64) -> Result<Option<Arc<Engine>>, ReadError> {
        let _one_at_a_time = self.hold();
        let dir = {
            let mut catalog = locked(&self.catalog);
            let Some(generation) = catalog.generation_mut(id) else {
                return Ok(None);
            };
            if generation.engine.is_some() {
                return Ok(generation.engine.clone());
            }
            generation.dir.clone()
        };
        if let Some(looking) = &self.looking
            && let Err(disturbed) = looking.check()
        {
            return Err(ReadError::Failed(disturbed.to_string()));
        }
        if matches!(dir.try_exists(), Ok(false)) {
            self.quarantine(id, &EngineError::Damaged("its directory is gone".into()));
            return Ok(None);
        }
        self.close_idle(OPEN_MAX - 1, Duration::ZERO);
        match self.open_dir(&dir) {
            Ok(engine) => Ok(self.keep_open(id, Arc::new(engine))),
            Err(error @ EngineError::Damaged(_)) if self.is_sealed(id) => {
                self.quarantine(id, &error);
                Ok(None)
            }
            Err(EngineError::NoSpace(why)) => Err(ReadError::NoSpace(why)),
            Err(error) => Err(ReadError::Failed(error.to_string())),
        }
    }

    /// On a full disk once more with the ballast's room, then with that of the snapshots, and at last a copy in memory.
    fn open_dir(&self, dir: &Path) -> Result<Engine, EngineError> {
        if let Some(looking) = &self.looking {
            return Engine::open_to_look(dir, self.cache_bytes, looking);
        }
        let mut opened = Engine::open(dir, self.cache_bytes);
        if is_no_space(&opened) && self.space.release_ballast() {
            opened = Engine::open(dir, self.cache_bytes);
        }
        if is_no_space(&opened) && self.remove_snapshots() {
            opened = Engine::open(dir, self.cache_bytes);
        }
        if is_no_space(&opened) {
            opened = Engine::open_or_copy(dir, self.cache_bytes);
        }
        opened
    }

    /// Opening takes a file and some bytes; the closed generations can spare as much.
    fn remove_snapshots(&self) -> bool {
        self.close_all();
        let closed: Vec<_> = {
            let catalog = locked(&self.catalog);
            let closed = catalog
                .generations
                .iter()
                .filter(|g| g.sealed && g.engine.is_none());
            closed.map(|generation| generation.dir.clone()).collect()
        };
        let removed = closed.iter().filter(|dir| remove_snapshots(dir)).count();
        removed > 0
    }

    fn keep_open(&self, id: u64, engine: Arc<Engine>) -> Option<Arc<Engine>> {
        let mut catalog = locked(&self.catalog);
        let generation = catalog.generation_mut(id)?;
        generation.last_used = clock::now();
        generation.engine = Some(engine.clone());
        Some(engine)
    }

    /// Reading an open generation failed. A sealed one that is damaged goes to quarantine and the readers go on behind it;
    /// otherwise the next reader opens it anew.
    pub(crate) fn reading_failed(&self, id: u64, error: EngineError) -> Result<(), ReadError> {
        match error {
            error @ EngineError::Damaged(_) if self.is_sealed(id) => {
                self.quarantine(id, &error);
                Ok(())
            }
            EngineError::NoSpace(why) => Err(ReadError::NoSpace(why)),
            error => {
                self.close_sealed(id);
                Err(ReadError::Failed(error.to_string()))
            }
        }
    }

    /// A sealed generation turned out to be unreadable: it leaves the log, the readers go on behind it.
    fn quarantine(&self, id: u64, error: &EngineError) {
        let taken = {
            let mut catalog = locked(&self.catalog);
            let at = catalog
                .generations
                .iter()
                .position(|generation| generation.id == id && generation.sealed);
            at.and_then(|at| catalog.generations.remove(at))
        };
        let Some(mut generation) = taken else { return };
        drop(generation.engine.take());
        let last = generation.summary.end.saturating_sub(1);
        if self.looking.is_some() {
            let first = generation.summary.first;
            let left = described(&generation.dir, first, last, &error.to_string());
            locked(&self.catalog).quarantined.push(left);
            return;
        }
        // Where it cannot be moved to quarantine it stays, and the next opening finds it.
        let _ = self
            .quarantine
            .isolate(&generation.dir, last, &error.to_string());
    }

    fn is_sealed(&self, id: u64) -> bool {
        locked(&self.catalog)
            .generation_mut(id)
            .is_some_and(|generation| generation.sealed)
    }

    fn close_sealed(&self, id: u64) {
        let closed = locked(&self.catalog)
            .generation_mut(id)
            .filter(|generation| generation.sealed)
            .and_then(|g| g.engine.take());
        drop(closed);
    }

    /// Closes all sealed ones.
    pub(crate) fn close_all(&self) {
        self.close_idle(0, Duration::ZERO);
    }

    /// Closes those that nobody has read for long; called now and then by the writer.
    pub(crate) fn close_long_idle(&self) {
        self.close_idle(0, IDLE_MAX);
    }

    /// Closes sealed generations: those idle for `idle` beyond the `keep` used last.
    fn close_idle(&self, keep: usize, idle: Duration) {
        let closed: Vec<_> = {
            let mut catalog = locked(&self.catalog);
            let mut open: Vec<_> = catalog
                .generations
                .iter_mut()
                .filter(|g| g.sealed && g.engine.is_some())
                .collect();
            open.sort_by_key(|generation| std::cmp::Reverse(generation.last_used));
            let idle = open
                .into_iter()
                .skip(keep)
                .filter(|generation| clock::since(generation.last_used) >= idle);
            idle.filter_map(|generation| generation.engine.take())
                .collect()
        };
        drop(closed);
    }
}

fn is_no_space<T>(result: &Result<T, EngineError>) -> bool {
    matches!(result, Err(EngineError::NoSpace(_)))
}
