//! The one way bytes reach a generation: pack, write, wait for the disk, publish. And what happens when it fails: the
//! handle is never used again, a new generation takes its place.

use super::commit::{Commit, Committed};
use super::packing::pack;
use super::rotation::Rotation;
use crate::api::error::CommitError;
use crate::api::options::GenerationLimits;
use crate::catalog::{Catalog, CursorAdvance, small_keys};
use crate::engine::clock;
use crate::engine::failure::EngineError;
use crate::engine::free_space::FreeSpace;
use crate::engine::lock::locked;
use crate::engine::sled::{Engine, Writes};
use crate::format::compression::Compressor;
use crate::generation::Generation;
use crate::{LaneId, Sequence};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// While commits follow each other closely, cursors ride on one in this time: rewriting them with each small commit
/// would cost more than the records.
const CURSORS_EVERY: Duration = Duration::from_millis(100);

/// A generation begins with files of about half as much: cursors alone are not worth trying it with less.
const GENERATION_BYTES_MIN: u64 = 2 << 20;

/// The handle that commits go to, and what it takes to replace it.
pub(crate) struct Appender {
    catalog: Arc<Mutex<Catalog>>,
    space: Arc<FreeSpace>,
    rotation: Rotation,
    limits: GenerationLimits,
    /// `None` after a failure, until a new generation could be opened.
    engine: Option<Arc<Engine>>,
    generation: u64,
    /// When cursors were last written.
    cursors_written: Instant,
    compressor: Compressor,
}

impl Appender {
    /// Goes on in the generation `engine`; without one a new generation must be begun first.
    pub(crate) fn new(
        rotation: Rotation,
        space: Arc<FreeSpace>,
        engine: Option<Arc<Engine>>,
        limits: GenerationLimits,
        compressor: Compressor,
    ) -> Appender {
        if let Some(engine) = &engine {
            engine.take_room_ahead(limits.block_bytes, space.bytes_min());
        }
        Appender {
            catalog: rotation.catalog.clone(),
            space,
            generation: rotation.highest,
            rotation,
            limits,
            engine,
            cursors_written: clock::now(),
            compressor,
        }
    }

    /// The number of the generation that is written to.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// True if a generation is open to be written to.
    pub(crate) fn is_open(&self) -> bool {
        self.engine.is_some()
    }

    /// Makes a commit durable.
    pub(crate) fn commit(&mut self, commit: &Commit) -> Result<Committed, CommitError> {
        self.commit_with(commit, &[])
    }

    /// Makes a commit durable, and with it what is given up. The caller keeps others from confirming if there is any.
    pub(crate) fn commit_with(
        &mut self,
        commit: &Commit,
        advances: &[CursorAdvance],
    ) -> Result<Committed, CommitError> {
        let started = clock::now();
        self.make_ready()?;
        let mut writes = self
            .engine
            .as_deref()
            .map_or_else(Writes::default, Writes::to);
        let due = clock::since(self.cursors_written) >= CURSORS_EVERY || !advances.is_empty();
        let (cursors, first) = self.collect_small_keys(commit, due, &mut writes);
        for advance in advances {
            let stored = locked(&self.catalog).advanced_cursor(advance, Some(self.generation));
            if let Some(stored) = stored {
                small_keys::put_cursor(&mut writes, advance.lane, advance.class, &stored);
            }
        }
        // Marks must not be there without their records, nor the head of a large record without its parts. All other
        // records were promised to nobody yet, and the first of them may stay.
        let has_small_keys = writes.has_small_keys;
        let compressor = &mut self.compressor;
        let packed = pack(commit, first, has_small_keys, compressor, &mut writes);
        if writes.has_small_keys {
            small_keys::put_through(&mut writes, packed.summary.end - 1);
        }
        if let Err(error) = self.write(writes) {
            locked(&self.catalog).mark_dirty(&cursors);
            return Err(self.replace_failed(error));
        }
        let committed = Committed {
            first,
            last: packed.summary.end - 1,
            bytes: packed.summary.payload_bytes,
            sync_micros: clock::micros_since(started),
        };
        let mut catalog = locked(&self.catalog);
        catalog.publish(packed, commit.marks());
        for advance in advances {
            catalog.advance(advance.lane, advance.class, advance.end);
        }
        let counters = &mut catalog.counters;
        counters.commits += 1;
        counters.records += commit.len() as u64;
        counters.record_bytes += commit.bytes() as u64;
        counters.block_bytes += committed.bytes;
        counters.write_micros += committed.sync_micros;
        Ok(committed)
    }

    /// Writes the cursors that changed. True if there were any.
    pub(crate) fn write_cursors(&mut self) -> Result<bool, CommitError> {
        if !self.is_open() {
            if !locked(&self.catalog).has_dirty() {
                return Ok(false);
            }
            if self.space.bytes() < GENERATION_BYTES_MIN {
                return Err(self.space.refusal());
            }
        }
        self.ensure_open()?;
        let mut writes = Writes::default();
        let (cursors, _) = self.collect_small_keys(&Commit::default(), true, &mut writes);
        if cursors.is_empty() {
            return Ok(false);
        }
        if let Err(error) = self.write(writes) {
            locked(&self.catalog).mark_dirty(&cursors);
            return Err(self.replace_failed(error));
        }
        Ok(true)
    }

    /// Writes small keys at once; used for lanes.
    pub(crate) fn write_small_keys(&mut self, writes: Writes) -> Result<(), CommitError> {
        self.ensure_open()?;
        self.write(writes)
            .map_err(|error| self.replace_failed(error))
    }

    fn write(&self, writes: Writes) -> Result<(), EngineError> {
        let engine = self
            .engine
            .as_ref()
            .ok_or_else(|| EngineError::Failed("no generation is open".into()))?;
        engine.write(writes)?;
        let bytes = engine.disk_bytes();
        if let Some(generation) = locked(&self.catalog).generation_mut(self.generation) {
            generation.disk_bytes = bytes;
        }
        Ok(())
    }

    /// Dirty cursors and the commit's marks; the sequence that the commit's first record gets.
    fn collect_small_keys(
        &mut self,
        commit: &Commit,
        with_cursors: bool,
        writes: &mut Writes,
    ) -> (Vec<(LaneId, u8)>, Sequence) {
        let mut catalog = locked(&self.catalog);
        let cursors = if with_cursors {
            catalog.take_dirty()
        } else {
            Vec::new()
        };
        if !cursors.is_empty() {
            self.cursors_written = clock::now();
        }
        for &(lane, class) in &cursors {
            if let Some(stored) = catalog.stored_cursor(lane, class, Some(self.generation)) {
                small_keys::put_cursor(writes, lane, class, &stored);
            }
        }
        for (key, value) in commit.marks() {
            small_keys::put_mark(writes, key, value.as_deref());
        }
        (cursors, catalog.next)
    }

    /// A generation is open and has room for more.
    fn make_ready(&mut self) -> Result<(), CommitError> {
        self.ensure_open()?;
        let bytes = |generation: &Generation| {
            let payload_bytes = generation.summary.payload_bytes;
            (payload_bytes, generation.large_bytes)
        };
        let (payload_bytes, large_bytes) = locked(&self.catalog)
            .generations
            .back()
            .map_or((0, 0), bytes);
        if self.limits.are_reached(payload_bytes, large_bytes) {
            self.rotate_or_refuse()
        } else {
            Ok(())
        }
    }

    fn ensure_open(&mut self) -> Result<(), CommitError> {
        if self.engine.is_some() {
            return Ok(());
        }
        self.rotate_or_refuse()
    }

    fn rotate_or_refuse(&mut self) -> Result<(), CommitError> {
        self.rotate().map_err(|error| match error {
            EngineError::NoSpace(_) => self.space.refusal(),
            other => CommitError::Failed {
                replaced: self.engine.is_some(),
                why: other.to_string(),
            },
        })
    }

    /// Begins a new generation with a copy of all small keys. On failure the writer stays where it was.
    pub(crate) fn rotate(&mut self) -> Result<(), EngineError> {
        match self.begin_generation() {
            Err(EngineError::NoSpace(_)) if self.space.release_ballast() => self.begin_generation(),
            other => other,
        }
    }

    fn begin_generation(&mut self) -> Result<(), EngineError> {
        match self.rotation.begin() {
            Ok((engine, generation)) => {
                engine.take_room_ahead(self.limits.block_bytes, self.space.bytes_min());
                drop(self.engine.replace(engine));
                self.rotation.measure(self.generation);
                self.generation = generation;
                self.cursors_written = clock::now();
                Ok(())
            }
            Err(not_begun) => {
                if not_begun.ends_last {
                    self.engine = None;
                }
                Err(not_begun.error)
            }
        }
    }

    /// After a failed write the handle is given up, and a new generation opened if that can be done.
    pub(crate) fn replace_failed(&mut self, error: EngineError) -> CommitError {
        self.engine = None;
        let failed = {
            let mut catalog = locked(&self.catalog);
            catalog.counters.failures += 1;
            catalog
                .generations
                .back_mut()
                .and_then(|generation| generation.engine.take())
        };
        drop(failed);
        // Room for the new generation; and while the ballast is gone no further commit is tried on a full disk.
        if matches!(error, EngineError::NoSpace(_)) {
            self.space.release_ballast();
        }
        let replaced = self.rotate().is_ok();
        match error {
            EngineError::NoSpace(_) => self.space.refusal(),
            other => CommitError::Failed {
                replaced,
                why: other.to_string(),
            },
        }
    }
}
