//! The two handles of an open store: the one [`Writer`], and any number of [`Store`]s for readers and cursors.

use crate::backup::BackupReport;
use crate::collector::{Search, Wanted};
use crate::commit::Commit;
use crate::cursor::{Backlog, Cursor, LaneInfo, Position};
use crate::dead_letter::{DeadLetter, DeadLetterId};
use crate::engine::{Writes, has_blobs};
use crate::error::{BackupError, CommitError, DeadLetterError, LaneError, ReadError};
use crate::gap::{self, GapTotal};
use crate::read::{ReadBatch, ReadLimit};
use crate::shared::{HighWater, Shared, WriteHalf, locked};
use crate::shed::{Shed, Teller};
use crate::state::Lane;
use crate::status::{GenerationInfo, GenerationState, OpenReport, Stats, VerifyReport};
use crate::write::Committed;
use crate::{LaneId, Sequence, disk, layout, meta, shim};
use std::path::Path;
use std::sync::{Arc, MutexGuard};

/// The one handle that appends. It belongs to one thread, and blocks it while the disk works.
pub struct Writer {
    pub(crate) shared: Arc<Shared>,
}

impl Writer {
    /// The sequence that the next record will get.
    pub fn next_sequence(&self) -> Sequence {
        self.shared.state().next
    }

    /// Makes records and marks durable, all or nothing. When it returns `Ok` they survive a power cut; on any error none
    /// of them may be acknowledged.
    pub fn commit(&mut self, commit: &Commit) -> Result<Committed, CommitError> {
        commit.check()?;
        let mut half = locked(&self.shared.write);
        if commit.is_empty() && commit.marks().is_empty() {
            let next = self.shared.state().next;
            return Ok(Committed {
                first: next,
                last: next - 1,
                bytes: 0,
                sync_micros: 0,
            });
        }
        self.shared.make_room(&mut half, commit.bytes() as u64)?;
        self.shared.commit(&mut half, commit)
    }

    /// With `when_full` set to [`WhenFull::Shed`], makes room for a commit of `bytes` after one was refused for lack of
    /// it: gives up the least urgent class first and of that the oldest generation, whatever lane it is for, until there
    /// is room or nothing left. Each step is durable with its account, and all or nothing.
    pub fn shed(&mut self, bytes: u64, mut teller: Teller<'_>) -> Shed {
        let mut half = locked(&self.shared.write);
        self.shared.shed(&mut half, bytes, &mut teller)
    }

    /// Gives up what nobody took for `expire_after_ms`, a generation at a time. Call it about once a second.
    pub fn expire(&mut self, mut teller: Teller<'_>) -> Shed {
        let mut half = locked(&self.shared.write);
        self.shared.expire(&mut half, &mut teller)
    }

    /// Writes the cursors that moved since the last commit, deletes what has expired, closes what is not read. Call it
    /// when there was nothing to commit for about a second. `Ok(true)` if something was written.
    pub fn persist_cursors_if_dirty(&mut self) -> Result<bool, CommitError> {
        let mut half = locked(&self.shared.write);
        self.shared.delete_expired();
        self.shared.close_long_idle();
        self.shared.write_cursors(&mut half)
    }
}

impl Drop for Writer {
    /// An orderly end: the cursors as they are, and how far the log went, so that damage done meanwhile is noticed.
    fn drop(&mut self) {
        let mut half = locked(&self.shared.write);
        let _ = self.shared.write_cursors(&mut half);
        let next = self.shared.state().next;
        let _ = HighWater {
            generation: half.generation,
            next,
        }
        .save(&self.shared.options.dir);
    }
}

/// A handle for readers: lanes, cursors, dead letters, figures. Clone it freely.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

impl Store {
    /// The number of the lane of this name; created durably if it is new. A new lane starts at the end of the log.
    pub fn lane(&self, name: &str) -> Result<LaneId, LaneError> {
        if name.is_empty() || name.len() > 255 {
            return Err(LaneError::BadName);
        }
        let mut half = self.writable()?;
        if let Some(lane) = self.shared.state().lane_named(name) {
            return Ok(lane);
        }
        let (lane, next) = {
            let state = self.shared.state();
            (state.free_lane().ok_or(LaneError::TooMany)?, state.next)
        };
        // Known before it is written: should that fail and a new generation begin, the lane is copied along or undone.
        let positions = [(); layout::CLASSES].map(|()| Position::below(next));
        self.shared.state().lanes.insert(
            lane,
            Lane {
                name: name.to_owned(),
                positions,
            },
        );
        let mut writes = Writes::default();
        meta::put_lane(&mut writes, lane, name);
        for class in 0..layout::CLASSES as u8 {
            if let Some(stored) =
                self.shared
                    .state()
                    .stored_cursor(lane, class, Some(half.generation))
            {
                meta::put_cursor(&mut writes, lane, class, &stored);
            }
        }
        self.shared.write_meta(&mut half, writes).map_err(|error| {
            self.shared.state().lanes.remove(&lane);
            LaneError::Failed(error.to_string())
        })?;
        Ok(lane)
    }

    /// All lanes.
    pub fn lanes(&self) -> Vec<LaneInfo> {
        let state = self.shared.state();
        state
            .lanes
            .iter()
            .map(|(id, lane)| LaneInfo {
                id: *id,
                name: lane.name.clone(),
            })
            .collect()
    }

    /// Forgets a lane and what it had still to deliver: a lane nobody reads would keep every generation. `Ok(false)` if
    /// there is none of this name. Its number may be given to another lane.
    pub fn drop_lane(&self, name: &str) -> Result<bool, LaneError> {
        let mut half = self.writable()?;
        let Some(lane) = self.shared.state().lane_named(name) else {
            return Ok(false);
        };
        let mut writes = Writes::default();
        meta::remove_lane(&mut writes, lane);
        self.shared
            .write_meta(&mut half, writes)
            .map_err(|error| LaneError::Failed(error.to_string()))?;
        let mut state = self.shared.state();
        state.lanes.remove(&lane);
        for generation in &mut state.generations {
            (0..layout::CLASSES as u8).for_each(|class| generation.set_pending(lane, class, 0));
        }
        Ok(true)
    }

    fn writable(&self) -> Result<MutexGuard<'_, WriteHalf>, LaneError> {
        if self.shared.read_only {
            Err(LaneError::ReadOnly)
        } else {
            Ok(locked(&self.shared.write))
        }
    }

    /// The value of a mark.
    pub fn mark(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shared.state().marks.get(key).cloned()
    }

    /// All marks whose key begins so, in order of key.
    pub fn marks_with_prefix(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.shared.state();
        let found = state
            .marks
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix));
        found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Reads what is routed to a lane in a class, from `from` on. Records the lane has acknowledged already come again
    /// if `from` lies before them. An empty batch with `next` below [`Store::end`] means: call again from `next`.
    pub fn read(
        &self,
        lane: LaneId,
        class: u8,
        from: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        if self.shared.state().position(lane, class).is_none() {
            return Err(ReadError::UnknownLane);
        }
        self.shared
            .read(Wanted::Lane(lane, class), from, Sequence::MAX, limit)
    }

    /// Reads all records in `from..to`, wherever they are routed.
    pub fn scan(
        &self,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        self.shared.read(Wanted::All, from, to, limit)
    }

    /// Reads what is looked for in `from..to`, wherever it is routed. Generations and blocks that cannot hold it are
    /// passed without being opened or decompressed.
    pub fn search(
        &self,
        search: &Search<'_>,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        self.shared.read(Wanted::Found(search), from, to, limit)
    }

    /// The sequence after the last durable record.
    pub fn end(&self) -> Sequence {
        self.shared.state().next
    }

    /// True if reading from `from` needs no disk: it lies in the tail, or at the end of the log.
    pub fn is_in_memory(&self, from: Sequence) -> bool {
        let state = self.shared.state();
        from >= state.next || state.tail.from(from).is_some()
    }

    /// The first sequence still held; equals [`Store::end`] when nothing is.
    pub fn first(&self) -> Sequence {
        self.shared.state().first()
    }

    /// The upstream acknowledged these records. At once in memory; on disk with the next commit or idle call, so that a
    /// crash repeats some and skips none. Gives how many were not acknowledged or given up before.
    pub fn confirm(&self, lane: LaneId, class: u8, sequences: &[Sequence]) -> u64 {
        let _in_turn = locked(&self.shared.confirming);
        self.shared.state().confirm(lane, class, sequences)
    }

    /// True if the record was confirmed, passed over, or given up.
    pub fn is_done(&self, lane: LaneId, class: u8, sequence: Sequence) -> bool {
        let state = self.shared.state();
        let position = state.position(lane, class);
        position.is_none_or(|position| position.done.contains(sequence))
    }

    /// Everything up to and including `through` counts as acknowledged, whatever is routed there. [`Store::read`] does
    /// this by itself for records that are not routed to the lane.
    pub fn advance(&self, lane: LaneId, class: u8, through: Sequence) {
        let _in_turn = locked(&self.shared.confirming);
        self.shared.advance(lane, class, through.saturating_add(1));
    }

    /// How far the lane is; low 0 for an unknown lane or class.
    pub fn cursor(&self, lane: LaneId, class: u8) -> Cursor {
        let none = || Cursor {
            low: 0,
            above: Vec::new(),
        };
        self.shared
            .state()
            .position(lane, class)
            .map_or_else(none, Position::cursor)
    }

    /// What the lane has still to deliver; all classes together.
    pub fn backlog(&self, lane: LaneId) -> Backlog {
        self.shared.state().backlog(lane)
    }

    /// Keeps a dead letter; durable when it returns. The same key again replaces it.
    pub fn put_dead_letter(&self, id: DeadLetterId, bytes: &[u8]) -> Result<(), DeadLetterError> {
        self.shared.dead.put(id, bytes)
    }

    /// Dead letters from `from` on, in order; at most `limit`, and about 4 MiB.
    pub fn dead_letters(
        &self,
        from: DeadLetterId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        self.shared.dead.list(from, limit)
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: DeadLetterId) -> Result<Option<Vec<u8>>, DeadLetterError> {
        self.shared.dead.get(id)
    }

    /// Removes a dead letter; durable when it returns. `Ok(false)` if there was none.
    pub fn remove_dead_letter(&self, id: DeadLetterId) -> Result<bool, DeadLetterError> {
        self.shared.dead.remove(id)
    }

    /// Number of dead letters held.
    pub fn dead_letter_count(&self) -> u64 {
        self.shared.dead.count()
    }

    /// What each lane lost since the store was created, by class and reason.
    pub fn gap_totals(&self) -> Vec<GapTotal> {
        gap::totals(self.shared.state().marks.iter())
    }

    /// What opening found and did.
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// Figures for metrics and `store status`.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let mut stats = Stats {
            max_size_bytes: shared.options.max_size_bytes,
            free_bytes: disk::free_bytes(&shared.options.dir).unwrap_or(0),
            free_bytes_min: shared.options.free_bytes_min,
            ballast: shared.ballast.is_present(),
            dead_letters: shared.dead.count(),
            barriers: shim::calls(),
            device_bytes: disk::device_bytes_written()
                .zip(shared.device_bytes_at_open)
                .map(|(now, then)| now - then),
            ..Stats::default()
        };
        let dirs: Vec<_> = {
            let state = shared.state();
            stats.generations = state.generations.iter().map(generation_info).collect();
            (stats.first, stats.end) = (state.first(), state.next);
            stats.disk_bytes = state.disk_bytes() + shared.dead.disk_bytes();
            stats.quarantined.clone_from(&state.quarantined);
            stats.damage.clone_from(&state.damage);
            stats.counters = state.counters;
            state
                .generations
                .iter()
                .map(|generation| generation.dir.clone())
                .collect()
        };
        stats.events = stats
            .generations
            .iter()
            .map(|generation| generation.records)
            .sum();
        stats.blobs = dirs.iter().any(|dir| has_blobs(dir)) || shared.dead.has_blobs();
        stats
    }

    /// Copies the store, as it is at this moment, to `to`, which must be absent or empty; the copy opens as a store by
    /// itself. Events come and go meanwhile. `progress` is told bytes done and bytes in all.
    pub fn backup(
        &self,
        to: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport, BackupError> {
        self.shared.backup(to, progress)
    }

    /// Reads every block and dead letter and checks its checksums; `progress` is told bytes done and bytes in all.
    pub fn verify(&self, progress: impl FnMut(u64, u64)) -> VerifyReport {
        self.shared.verify(progress)
    }
}

fn generation_info(generation: &crate::generation::Generation) -> GenerationInfo {
    GenerationInfo {
        id: generation.id,
        first: generation.summary.first,
        end: generation.summary.end,
        records: generation.records(),
        payload_bytes: generation.summary.payload_bytes,
        disk_bytes: generation.disk_bytes,
        state: match (generation.sealed, &generation.engine) {
            (false, _) => GenerationState::Writing,
            (true, Some(_)) => GenerationState::Open,
            (true, None) => GenerationState::Closed,
        },
        pending: !generation.is_done(),
        damaged: generation.damaged,
    }
}
