//! The one way bytes reach a generation: pack, write, wait for the disk, publish. And what happens when it fails: the
//! handle is never used again, a new generation takes its place.

use crate::commit::{Commit, pack};
use crate::engine::{Engine, EngineError, Writes};
use crate::gap::WhenFull;
use crate::generation::{Generation, dir_name};
use crate::retention::retire_dir;
use crate::shared::{HighWater, Shared, WriteHalf, generations_dir, locked};
use crate::summary::Summary;
use crate::{CommitError, LaneId, Sequence, age, disk, meta};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While commits follow each other closely, cursors ride on one in this time: rewriting them with each small commit
/// would cost more than the records.
const CURSORS_EVERY: Duration = Duration::from_millis(100);

/// Everything below `end` that the lane still waits for in the class is given up with the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) lane: LaneId,
    pub(crate) class: u8,
    pub(crate) end: Sequence,
}

/// A commit that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Sequence of the first record; equals the next sequence if the commit had none.
    pub first: Sequence,
    /// Sequence of the last record; below `first` if the commit had none.
    pub last: Sequence,
    /// Bytes of the blocks written.
    pub bytes: u64,
    /// Microseconds from the start of the write until the disk said done.
    pub sync_micros: u64,
}

impl Shared {
    /// Makes a commit durable.
    pub(crate) fn commit(
        &self,
        half: &mut WriteHalf,
        commit: &Commit,
    ) -> Result<Committed, CommitError> {
        self.commit_with(half, commit, &[])
    }

    /// Makes a commit durable, and with it what is given up. The caller holds `confirming` if there are claims.
    pub(crate) fn commit_with(
        &self,
        half: &mut WriteHalf,
        commit: &Commit,
        claims: &[Claim],
    ) -> Result<Committed, CommitError> {
        let started = Instant::now();
        self.make_ready(half)?;
        let mut writes = Writes::default();
        let due = half.cursors_written.elapsed() >= CURSORS_EVERY || !claims.is_empty();
        let (cursors, first) = self.collect_meta(half, commit, due, &mut writes);
        for claim in claims {
            let stored = self.state().claimed_cursor(claim, Some(half.generation));
            if let Some(stored) = stored {
                meta::put_cursor(&mut writes, claim.lane, claim.class, &stored);
            }
        }
        // Marks must not be there without their records, nor the head of a large record without its parts. All other
        // records were promised to nobody yet, and the first of them may stay.
        let has_meta = writes.has_meta;
        let whole = has_meta || commit.has_large();
        let compressor = &mut half.compressor;
        let packed = pack(commit, first, has_meta, compressor, |key, value| {
            if whole {
                writes.put_event(key, value);
            } else {
                writes.put_block(key, value);
            }
        });
        if writes.has_meta {
            meta::put_through(&mut writes, packed.summary.end - 1);
        }
        if let Err(error) = self.write(half, writes) {
            self.state().mark_dirty(&cursors);
            return Err(self.replace_failed(half, error));
        }
        let committed = Committed {
            first,
            last: packed.summary.end - 1,
            bytes: packed.summary.payload_bytes,
            sync_micros: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        let mut state = self.state();
        state.publish(packed, commit.marks());
        for claim in claims {
            state.advance(claim.lane, claim.class, claim.end);
        }
        let counters = &mut state.counters;
        counters.commits += 1;
        counters.records += commit.len() as u64;
        counters.record_bytes += commit.bytes() as u64;
        counters.block_bytes += committed.bytes;
        counters.write_micros += committed.sync_micros;
        Ok(committed)
    }

    /// Writes the cursors that changed. True if there were any.
    pub(crate) fn write_cursors(&self, half: &mut WriteHalf) -> Result<bool, CommitError> {
        self.ensure_engine(half)?;
        let mut writes = Writes::default();
        let (cursors, _) = self.collect_meta(half, &Commit::default(), true, &mut writes);
        if cursors.is_empty() {
            return Ok(false);
        }
        if let Err(error) = self.write(half, writes) {
            self.state().mark_dirty(&cursors);
            return Err(self.replace_failed(half, error));
        }
        Ok(true)
    }

    /// Writes small keys at once; used for lanes.
    pub(crate) fn write_meta(
        &self,
        half: &mut WriteHalf,
        writes: Writes,
    ) -> Result<(), CommitError> {
        self.ensure_engine(half)?;
        self.write(half, writes)
            .map_err(|error| self.replace_failed(half, error))
    }

    fn write(&self, half: &WriteHalf, writes: Writes) -> Result<(), EngineError> {
        let engine = half
            .engine
            .as_ref()
            .ok_or_else(|| EngineError::Failed("no generation is open".into()))?;
        engine.write(writes)?;
        let bytes = disk::allocated_bytes(&engine.dir().join("db"));
        if let Some(generation) = self.state().generation_mut(half.generation) {
            generation.disk_bytes = bytes;
        }
        Ok(())
    }

    /// Dirty cursors and the commit's marks; the sequence that the commit's first record gets.
    fn collect_meta(
        &self,
        half: &mut WriteHalf,
        commit: &Commit,
        with_cursors: bool,
        writes: &mut Writes,
    ) -> (Vec<(LaneId, u8)>, Sequence) {
        let mut state = self.state();
        let cursors = if with_cursors {
            state.take_dirty()
        } else {
            Vec::new()
        };
        if !cursors.is_empty() {
            half.cursors_written = Instant::now();
        }
        for &(lane, class) in &cursors {
            if let Some(stored) = state.stored_cursor(lane, class, Some(half.generation)) {
                meta::put_cursor(writes, lane, class, &stored);
            }
        }
        for (key, value) in commit.marks() {
            meta::put_mark(writes, key, value.as_deref());
        }
        (cursors, state.next)
    }

    /// A generation is open and has room for more.
    fn make_ready(&self, half: &mut WriteHalf) -> Result<(), CommitError> {
        self.ensure_engine(half)?;
        let full = {
            let state = self.state();
            let payload = state
                .generations
                .back()
                .map_or(0, |generation| generation.summary.payload_bytes);
            payload >= self.generation_bytes()
        };
        if full {
            self.rotate(half)
                .map_err(|error| self.refused(half, &error))
        } else {
            Ok(())
        }
    }

    /// A generation's payload: the configured one, but at least eight must fit under the cap so that space comes back.
    pub(crate) fn generation_bytes(&self) -> u64 {
        // Shedding needs room to rewrite a generation in, and gives up one at a time.
        let share = match self.options.when_full {
            WhenFull::Refuse => 8,
            WhenFull::Shed => 16,
        };
        self.options
            .generation_bytes
            .min(self.options.max_size_bytes / share)
            .max(1)
    }

    fn ensure_engine(&self, half: &mut WriteHalf) -> Result<(), CommitError> {
        if half.engine.is_some() {
            return Ok(());
        }
        self.rotate(half)
            .map_err(|error| self.refused(half, &error))
    }

    /// Begins a new generation with a copy of all small keys. On failure the writer stays where it was.
    pub(crate) fn rotate(&self, half: &mut WriteHalf) -> Result<(), EngineError> {
        match self.begin_generation(half) {
            Err(EngineError::NoSpace(_)) if self.release_ballast() => self.begin_generation(half),
            other => other,
        }
    }

    fn begin_generation(&self, half: &mut WriteHalf) -> Result<(), EngineError> {
        let (next, writes, cursors) = {
            let mut state = self.state();
            let cursors = state.take_dirty();
            let newest = state.generations.back().map_or(0, |last| last.id);
            half.highest = half.highest.max(newest) + 1;
            (state.next, meta::all(&state), cursors)
        };
        let id = half.highest;
        let dir = generations_dir(&self.options.dir).join(dir_name(id, next));
        let begun = self.write_new_generation(&dir, id, next, writes);
        let engine = match begun {
            Ok(engine) => Arc::new(engine),
            Err(error) => {
                self.state().mark_dirty(&cursors);
                self.take_back(half, &dir);
                return Err(error);
            }
        };
        let mut generation = Generation::new(id, &dir, Summary::empty(next), false);
        generation.engine = Some(engine.clone());
        self.seal_last();
        self.state().generations.push_back(generation);
        // Readers that keep up have the tail; an open generation costs as much memory as it is large.
        self.close_idle(0, Duration::ZERO);
        half.go_on(engine, id);
        Ok(())
    }

    /// Removes what is there of a generation that could not be begun. It may be complete, and would then be taken for
    /// the newest by the next opening: if it may still be there, nothing more is written to the one before.
    fn take_back(&self, half: &mut WriteHalf, dir: &Path) {
        if !dir.exists() || retire_dir(dir).is_ok() {
            return;
        }
        locked(&self.remains).push(dir.to_path_buf());
        half.engine = None;
        let last = self
            .state()
            .generations
            .back_mut()
            .and_then(|last| last.engine.take());
        drop(last);
    }

    fn write_new_generation(
        &self,
        dir: &Path,
        id: u64,
        next: Sequence,
        writes: Writes,
    ) -> Result<Engine, EngineError> {
        let engine = Engine::open(dir, self.options.cache_bytes)?;
        engine.write(writes)?;
        // The generation counts from here on, so the mark outside sled must not fail it: an older one hides nothing.
        let mark = HighWater {
            generation: id,
            next,
        };
        let _ = mark.save(&self.options.dir);
        Ok(engine)
    }

    /// The last generation takes no more records. Its summary file spares the next opening a scan, no more: a failure to
    /// write it does no harm.
    fn seal_last(&self) {
        let sealed = {
            let mut state = self.state();
            state.generations.back_mut().map(|generation| {
                generation.sealed = true;
                generation.last_used = Instant::now();
                (
                    generation.id,
                    generation.dir.clone(),
                    generation.summary.clone(),
                )
            })
        };
        let Some((id, dir, summary)) = sealed else {
            return;
        };
        let _ = summary.save(&dir);
        // Without its reading of the clock what is in it counts as new after the next opening.
        let _ = age::save(&dir, self.state().clock.now_ms());
        let bytes = disk::allocated_bytes(&dir);
        if let Some(generation) = self.state().generation_mut(id) {
            generation.disk_bytes = bytes;
        }
    }

    /// After a failed write the handle is given up, and a new generation opened if that can be done.
    pub(crate) fn replace_failed(&self, half: &mut WriteHalf, error: EngineError) -> CommitError {
        half.engine = None;
        let failed = {
            let mut state = self.state();
            state.counters.failures += 1;
            state
                .generations
                .back_mut()
                .and_then(|generation| generation.engine.take())
        };
        drop(failed);
        // Room for the new generation; and while the ballast is gone no further commit is tried on a full disk.
        if matches!(error, EngineError::NoSpace(_)) {
            self.release_ballast();
        }
        let replaced = self.rotate(half).is_ok();
        match error {
            EngineError::NoSpace(_) => self.no_space(),
            other => CommitError::Failed {
                replaced,
                why: other.to_string(),
            },
        }
    }

    fn refused(&self, half: &WriteHalf, error: &EngineError) -> CommitError {
        match error {
            EngineError::NoSpace(_) => self.no_space(),
            other => CommitError::Failed {
                replaced: half.engine.is_some(),
                why: other.to_string(),
            },
        }
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
