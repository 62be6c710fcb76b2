//! A backup: a copy of the store that is a store itself, made while events come and go.
//!
//! The copy is what the log was at one moment: every record below the next sequence, and the lanes, cursors and marks
//! of that moment. Blocks are read and checked one by one and written to new databases, so nothing of the original
//! changes and what is copied is never torn. What is delivered and deleted while the copy is made may be missing from
//! it; that is noted in the copy as let go on purpose. Until all of it is on the disk the `format` file says that the
//! copy is unfinished, and no release opens it.

use super::generation_copy::GenerationCopy;
use crate::Sequence;
use crate::api::error::BackupError;
use crate::catalog::open_generations::OpenGenerations;
use crate::catalog::{Catalog, small_keys};
use crate::dead_letters::DeadLetters;
use crate::engine::disk;
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::{Engine, Writes};
use crate::format::directory::{
    FORMAT, UNFINISHED, dead_letters_dir, format_file, generations_dir,
};
use crate::generation::high_water::HighWater;
use crate::generation::name::dir_name;
use crate::generation::ranges::Ranges;
use crate::generation::summary::Summary;
use crate::generation::survivors::Survivors;
use crate::generation::{Generation, holes, running_time};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a backup or a restored store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Generations copied.
    pub generations: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of blocks copied.
    pub bytes: u64,
    /// Dead letters copied.
    pub dead_letters: u64,
    /// Blocks with wrong checksums: left out, and reported as missing when the copy is opened.
    pub damaged_blocks: u64,
    /// Generations that could not be read, or were delivered and deleted meanwhile.
    pub left_out: u64,
}

/// The log at one moment.
struct PointInTime {
    generations: Vec<GenerationToCopy>,
    /// The small keys that the copy's newest generation begins with.
    keys: Writes,
    newest: u64,
    next: Sequence,
    holes: Ranges,
}

/// One generation to copy.
struct GenerationToCopy {
    id: u64,
    summary: Summary,
    survivors: Option<Arc<Survivors>>,
    newest_ms: u64,
}

/// A generation opened, with its figures and what it holds.
type Opened = (Arc<Engine>, Summary, Option<Arc<Survivors>>);

/// See the module.
pub(crate) struct Backup {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) open: Arc<OpenGenerations>,
    pub(crate) dead_letters: Arc<DeadLetters>,
    /// The store's directory.
    pub(crate) dir: PathBuf,
    pub(crate) cache_bytes: u64,
}

impl Backup {
    /// See [`crate::Store::backup`].
    pub(crate) fn run(
        &self,
        to: &Path,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport, BackupError> {
        let io = |error: std::io::Error| BackupError::io(to, &error);
        self.begin(to)?;
        // No dead letter comes or goes between the copy of them and the moment that the log is copied of: one that
        // was retried is in the log by then, and one that came later is still to be delivered in the copy.
        let dir = dead_letters_dir(to);
        let (dead_letters, mut moment) = self
            .dead_letters
            .copy_to(&dir, || self.moment())
            .map_err(|error| BackupError::Read(error.to_string()))?;
        let mut report = BackupReport {
            dead_letters,
            ..BackupReport::default()
        };
        let total: u64 = moment
            .generations
            .iter()
            .map(|original| original.summary.payload_bytes)
            .sum();
        let mut before = 0;
        for original in std::mem::take(&mut moment.generations) {
            let bytes = original.summary.payload_bytes;
            let copied = self.copy_generation(&original, to, &mut report, |done| {
                progress(before + done.min(bytes), total);
            })?;
            if !copied && !original.summary.is_empty() {
                report.left_out += 1;
                let (first, last) = (original.summary.first, original.summary.end - 1);
                moment.holes.insert(first, last);
            }
            before += bytes;
        }
        self.finish(to, moment).map_err(io)?;
        Ok(report)
    }

    fn begin(&self, to: &Path) -> Result<(), BackupError> {
        let io = |error: std::io::Error| BackupError::io(to, &error);
        let own = std::fs::canonicalize(&self.dir).map_err(io)?;
        let to = &std::path::absolute(to).map_err(io)?;
        let above = to.ancestors().find_map(|dir| dir.canonicalize().ok());
        if above.is_some_and(|above| above.starts_with(own)) {
            return Err(BackupError::Inside(to.to_path_buf()));
        }
        disk::create_dir(to).map_err(io)?;
        if std::fs::read_dir(to).map_err(io)?.next().is_some() {
            return Err(BackupError::NotEmpty(to.to_path_buf()));
        }
        disk::write_atomically(&format_file(to), UNFINISHED.as_bytes()).map_err(io)?;
        disk::create_dir(&generations_dir(to)).map_err(io)
    }

    fn moment(&self) -> PointInTime {
        let catalog = locked(&self.catalog);
        let now_ms = catalog.running_time.now_ms();
        let original = |generation: &Generation| GenerationToCopy {
            id: generation.id,
            summary: generation.summary.clone(),
            survivors: generation.survivors.clone(),
            newest_ms: generation.newest_ms.min(now_ms),
        };
        let generations: Vec<_> = catalog.generations.iter().map(original).collect();
        PointInTime {
            newest: generations.last().map_or(0, |last| last.id) + 1,
            generations,
            keys: small_keys::all(&catalog),
            next: catalog.next,
            holes: catalog.holes.clone(),
        }
    }

    /// Copies one generation; `false` if it is not there any more.
    fn copy_generation(
        &self,
        original: &GenerationToCopy,
        to: &Path,
        report: &mut BackupReport,
        progress: impl FnMut(u64),
    ) -> Result<bool, BackupError> {
        if original.summary.is_empty() {
            return Ok(false);
        }
        let Some((engine, summary, survivors)) = self.open_as_it_is(original)? else {
            return Ok(false);
        };
        let name = engine.dir().file_name().unwrap_or_default();
        let dir = generations_dir(to).join(name);
        let io = |error: std::io::Error| BackupError::io(&dir, &error);
        let mut copy =
            GenerationCopy::begin(&engine, &dir, self.cache_bytes, original.summary.end)?;
        copy.run(progress)?;
        report.generations += 1;
        report.bytes += copy.bytes;
        report.damaged_blocks += copy.damaged;
        report.records += match &survivors {
            Some(survivors) => survivors.ranges.count(),
            None => summary.end - summary.first,
        };
        copy.keep_beginnings(&summary);
        drop(copy);
        summary.save(&dir).map_err(io)?;
        running_time::save(&dir, original.newest_ms).map_err(io)?;
        if let Some(survivors) = survivors {
            survivors.save(&dir).map_err(io)?;
        }
        Ok(true)
    }

    /// The generation opened, with what belongs to the directory it was opened in: it may be rewritten at any time.
    fn open_as_it_is(&self, original: &GenerationToCopy) -> Result<Option<Opened>, BackupError> {
        loop {
            let opened = self.open.open(original.id);
            let opened = opened.map_err(|error| BackupError::Read(error.to_string()))?;
            let Some(engine) = opened else {
                return Ok(None);
            };
            let mut catalog = locked(&self.catalog);
            let Some(now) = catalog.generation_mut(original.id) else {
                return Ok(None);
            };
            if now.dir != engine.dir() {
                continue;
            }
            let (summary, survivors) = match &now.survivors {
                Some(survivors) => (now.summary.clone(), Some(survivors.clone())),
                None => (original.summary.clone(), original.survivors.clone()),
            };
            return Ok(Some((engine, summary, survivors)));
        }
    }

    /// The generation that the copy goes on in, the mark outside sled, and last of all the word that it is complete.
    fn finish(&self, to: &Path, moment: PointInTime) -> std::io::Result<()> {
        let dir: PathBuf = generations_dir(to).join(dir_name(moment.newest, moment.next));
        let failed = |error: EngineError| std::io::Error::other(error.to_string());
        let engine = Engine::open(&dir, self.cache_bytes).map_err(failed)?;
        engine.write(moment.keys).map_err(failed)?;
        drop(engine);
        disk::sync_dir(&generations_dir(to))?;
        holes::save(&moment.holes, to)?;
        let high_water = HighWater {
            generation: moment.newest,
            next: moment.next,
        };
        high_water.save(to)?;
        disk::sync_dir(to)?;
        disk::write_atomically(&format_file(to), FORMAT.as_bytes())
    }
}
