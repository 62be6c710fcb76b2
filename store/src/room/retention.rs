//! What may be deleted, and how it is deleted.
//!
//! A generation goes as a whole when every lane is done with every record in it and either its newest record is older
//! than `keep_for` or the cap needs the room: the oldest first, but one that others still need does not keep those
//! behind it. The newest one stays whatever is in it, for it has the cursors, lanes and marks. If no generation is done, one of which little is still needed is rewritten (see `rewrite.rs`).

use crate::append::appender::Appender;
use crate::catalog::Catalog;
use crate::catalog::open_generations::OpenGenerations;
use crate::catalog::quarantine::Quarantine;
use crate::engine::lock::locked;
use crate::generation::leftovers::Leftovers;
use crate::generation::removal::retire_dir;
use crate::generation::{Generation, holes};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// See the module.
pub(crate) struct Retention {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) open: Arc<OpenGenerations>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) leftovers: Arc<Leftovers>,
    /// The store's directory.
    pub(crate) dir: PathBuf,
    pub(crate) keep_for_ms: u64,
}

impl Retention {
    /// Deletes the generations that are done and older than `keep_for`.
    pub(crate) fn delete_expired(&self) {
        let keep_for_ms = self.keep_for_ms;
        while let Some(generation) =
            self.take_done(|catalog, found| is_expired(catalog, found, keep_for_ms))
        {
            if !self.delete(generation) {
                break;
            }
        }
    }

    /// Deletes the oldest generation that is done. If that is the one being written, a new one is begun first.
    pub(crate) fn delete_one_done(&self, appender: &mut Appender) -> bool {
        let only_last_done = {
            let catalog = locked(&self.catalog);
            let last = catalog.generations.back();
            let before_last = catalog.generations.iter().rev().skip(1);
            let sealed_done = before_last.into_iter().any(|g| g.sealed && g.is_done());
            !sealed_done && last.is_some_and(|last| last.is_done() && !last.summary.is_empty())
        };
        if only_last_done && appender.rotate().is_err() {
            return false;
        }
        let oldest = self.take_done(|_, _| true);
        oldest.is_some_and(|generation| self.delete(generation))
    }

    /// Takes the oldest generation out of the catalog that is sealed, done, and `may_go`. If others remain before it, the
    /// gap it leaves is noted on disk first, so that no opening takes it for damage.
    fn take_done(&self, may_go: impl Fn(&Catalog, &Generation) -> bool) -> Option<Generation> {
        let (id, holes) = {
            let mut catalog = locked(&self.catalog);
            let newest = catalog.generations.back()?.id;
            let goes =
                |g: &&Generation| g.id != newest && g.sealed && g.is_done() && may_go(&catalog, g);
            let found = catalog.generations.iter().find(goes)?;
            let (id, first, end) = (found.id, found.summary.first, found.summary.end);
            let mut holes = None;
            if catalog.first() < first && first < end {
                let begin = catalog.first();
                catalog.holes.forget_below(begin);
                catalog.holes.insert(first, end - 1);
                holes = Some(catalog.holes.clone());
            }
            (id, holes)
        };
        if let Some(holes) = holes {
            holes::save(&holes, &self.dir).ok()?;
        }
        let mut catalog = locked(&self.catalog);
        let at = catalog
            .generations
            .iter()
            .position(|found| found.id == id)?;
        let taken = catalog.generations.remove(at)?;
        catalog.tail.forget_below(taken.summary.end);
        Some(taken)
    }

    /// False if that failed: then the generation is as before.
    fn delete(&self, mut generation: Generation) -> bool {
        let _nobody_opens_it = self.open.hold();
        drop(generation.engine.take());
        let gone = if !self.leftovers.are_gone() {
            Err(std::io::Error::other("another one has to go first"))
        } else if generation.damaged {
            let id = generation.id;
            let behind = locked(&self.catalog)
                .generations
                .iter()
                .find(|g| g.id > id)
                .map(|g| g.summary.first);
            let last = behind.unwrap_or(generation.summary.end).saturating_sub(1);
            let why = "some of its records could not be read";
            self.quarantine.isolate(&generation.dir, last, why)
        } else {
            retire_dir(&generation.dir)
        };
        let stays = gone.is_err() && generation.dir.exists();
        let mut catalog = locked(&self.catalog);
        if stays {
            let id = generation.id;
            let at = catalog.generations.partition_point(|other| other.id < id);
            let (first, end) = (generation.summary.first, generation.summary.end);
            if first < end {
                catalog.holes.remove(first, end - 1);
            }
            catalog.generations.insert(at, generation);
            return false;
        }
        catalog.counters.deleted += 1;
        true
    }
}

fn is_expired(catalog: &Catalog, oldest: &Generation, keep_for_ms: u64) -> bool {
    let age_ms = catalog
        .record_time_ms()
        .map(|now_ms| now_ms.saturating_sub(oldest.summary.time_max_ms));
    keep_for_ms == 0
        || oldest.summary.is_empty()
        || age_ms.is_some_and(|age_ms| age_ms >= keep_for_ms)
}
