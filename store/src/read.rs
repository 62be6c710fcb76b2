//! Reading: from the tail in memory or from a generation on disk, skipping what is not wanted, and noticing what is
//! missing because every record's sequence follows the one before it.

use crate::collector::{Collector, Wanted};
use crate::engine::{Engine, EngineError, remove_snapshots};
use crate::shared::{Shared, locked};
use crate::status::Damage;
use crate::tail::TailBlock;
use crate::{LaneId, ReadError, Sequence};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sealed generations that stay open for readers.
const OPEN_MAX: usize = 2;
/// A sealed generation that nobody read for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// How much one call may return. At least one record comes back if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records at most.
    pub records: usize,
    /// Stop after the record that reaches this many bytes.
    pub bytes: usize,
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the log.
    pub sequence: Sequence,
    /// The time it was appended with.
    pub time_ms: u64,
    /// Its bytes: a view into the block of up to 4 KiB it was stored in, which lives as long as this does.
    pub bytes: Bytes,
}

/// What a call found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBatch {
    /// In order of sequence. May be empty although there is more: then call again from `next`.
    pub records: Vec<StoredRecord>,
    /// Where to go on; everything before it was looked at.
    pub next: Sequence,
}

/// Where the next records are.
enum Place {
    Tail(Vec<TailBlock>),
    /// Nothing wanted before this sequence.
    Skip(Sequence),
    Disk {
        id: u64,
        end: Sequence,
        engine: Option<Arc<Engine>>,
    },
}

impl Shared {
    /// Reads `from..to` as far as the limits go.
    pub(crate) fn read(
        &self,
        wanted: Wanted<'_>,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        let mut collector = Collector::new(wanted, from.max(1), to.min(self.state().next), limit);
        while !collector.is_full() {
            match self.locate(&collector) {
                Place::Skip(next) => collector.batch.next = next.min(collector.to),
                Place::Tail(blocks) => {
                    let before = collector.batch.next;
                    let _ = blocks
                        .iter()
                        .try_for_each(|block| collector.take_tail(block));
                    if collector.batch.next == before {
                        collector.pass_gap(before + 1);
                    }
                }
                Place::Disk { id, end, engine } => {
                    let engine = match engine {
                        Some(engine) => engine,
                        None => match self.open_generation(id)? {
                            Some(engine) => engine,
                            None => continue,
                        },
                    };
                    self.read_generation(id, end, &engine, &mut collector)?;
                }
            }
        }
        if let Wanted::Lane(lane, class) = wanted {
            let found = collector
                .batch
                .records
                .iter()
                .map(|record| (record.sequence, record.time_ms));
            self.state()
                .skip_unrouted(lane, class, from..collector.batch.next, found);
        }
        Ok(collector.batch)
    }

    /// Acknowledges everything below `end`: whole generations at once, the last part record by record so that the
    /// backlog stays exact.
    pub(crate) fn advance(&self, lane: LaneId, class: u8, end: Sequence) {
        let mut from = self.state().advance_generations(lane, class, end);
        while from < end.min(self.state().next) {
            let limit = ReadLimit {
                records: 4096,
                bytes: 1 << 20,
            };
            let Ok(batch) = self.read(Wanted::Lane(lane, class), from, end, limit) else {
                break;
            };
            let found: Vec<_> = batch.records.iter().map(|record| record.sequence).collect();
            self.state().confirm(lane, class, &found);
            from = batch.next.max(from + 1);
        }
        self.state().advance(lane, class, end);
    }

    fn locate(&self, collector: &Collector<'_>) -> Place {
        let mut state = self.state();
        let from = collector.batch.next;
        let first = state.first();
        let Some(at) = state.generation_at(from) else {
            return Place::Skip(first);
        };
        if let Some(blocks) = state.tail.from(from) {
            return from_tail(blocks, collector);
        }
        let behind = state
            .generations
            .get(at + 1)
            .map_or(state.next, |generation| generation.summary.first);
        let generation = &mut state.generations[at];
        if from >= generation.summary.end || !collector.wanted.generation(&generation.summary) {
            return Place::Skip(behind);
        }
        generation.last_used = Instant::now();
        Place::Disk {
            id: generation.id,
            end: generation.summary.end,
            engine: generation.engine.clone(),
        }
    }

    fn read_generation(
        &self,
        id: u64,
        end: Sequence,
        engine: &Engine,
        collector: &mut Collector<'_>,
    ) -> Result<(), ReadError> {
        let to = collector.to;
        collector.to = to.min(end);
        let read = engine.blocks(collector.batch.next, |key, value| {
            collector.take_entry(key, value)
        });
        if read.is_ok() && !collector.is_full() {
            collector.pass_gap(collector.to);
        }
        collector.to = to;
        self.note_damage(id, collector.take_missing());
        match read {
            Ok(()) => Ok(()),
            Err(error @ EngineError::Damaged(_)) if self.is_sealed(id) => {
                self.quarantine(id, &error);
                Ok(())
            }
            Err(EngineError::NoSpace(why)) => Err(ReadError::NoSpace(why)),
            Err(error) => {
                self.close_sealed(id);
                Err(ReadError::Failed(error.to_string()))
            }
        }
    }

    fn note_damage(&self, id: u64, missing: Vec<(Sequence, Sequence)>) {
        if missing.is_empty() {
            return;
        }
        let mut state = self.state();
        let mut lost = missing;
        if let Some(generation) = state.generation_mut(id) {
            let parts = lost.iter();
            lost = parts
                .flat_map(|(first, last)| generation.missing_in(*first, *last))
                .collect();
            generation.damaged |= !lost.is_empty();
        }
        for (first, last) in lost {
            let damage = Damage {
                generation: id,
                first,
                last,
            };
            if !state.damage.contains(&damage) && state.damage.len() < 1000 {
                state.damage.push(damage);
            }
        }
    }

    fn is_sealed(&self, id: u64) -> bool {
        self.state()
            .generation_mut(id)
            .is_some_and(|generation| generation.sealed)
    }

    fn close_sealed(&self, id: u64) {
        let closed = self
            .state()
            .generation_mut(id)
            .filter(|generation| generation.sealed)
            .and_then(|g| g.engine.take());
        drop(closed);
    }

    /// Opens a generation for reading; `None` if it is gone (deleted, or just now moved to quarantine).
    pub(crate) fn open_generation(&self, id: u64) -> Result<Option<Arc<Engine>>, ReadError> {
        let _one_at_a_time = locked(&self.opening);
        let dir = {
            let mut state = self.state();
            let Some(generation) = state.generation_mut(id) else {
                return Ok(None);
            };
            if generation.engine.is_some() {
                return Ok(generation.engine.clone());
            }
            generation.dir.clone()
        };
        if matches!(dir.try_exists(), Ok(false)) {
            self.quarantine(id, &EngineError::Damaged("its directory is gone".into()));
            return Ok(None);
        }
        self.close_idle(OPEN_MAX - 1, Duration::ZERO);
        let mut opened = Engine::open(&dir, self.options.cache_bytes);
        for make_room in [Shared::release_ballast, Shared::remove_snapshots] {
            if matches!(opened, Err(EngineError::NoSpace(_))) && make_room(self) {
                opened = Engine::open(&dir, self.options.cache_bytes);
            }
        }
        match opened {
            Ok(engine) => Ok(self.keep_open(id, Arc::new(engine))),
            Err(error @ EngineError::Damaged(_)) if self.is_sealed(id) => {
                self.quarantine(id, &error);
                Ok(None)
            }
            Err(EngineError::NoSpace(why)) => Err(ReadError::NoSpace(why)),
            Err(error) => Err(ReadError::Failed(error.to_string())),
        }
    }

    /// Opening takes a file and some bytes; the closed generations can spare as much.
    fn remove_snapshots(&self) -> bool {
        self.close_idle(0, Duration::ZERO);
        let closed: Vec<_> = {
            let state = self.state();
            let closed = state
                .generations
                .iter()
                .filter(|g| g.sealed && g.engine.is_none());
            closed.map(|generation| generation.dir.clone()).collect()
        };
        let removed = closed.iter().filter(|dir| remove_snapshots(dir)).count();
        removed > 0
    }

    fn keep_open(&self, id: u64, engine: Arc<Engine>) -> Option<Arc<Engine>> {
        let mut state = self.state();
        let generation = state.generation_mut(id)?;
        generation.last_used = Instant::now();
        generation.engine = Some(engine.clone());
        Some(engine)
    }

    /// Closes sealed generations: those idle for `idle` beyond the `keep` used last.
    pub(crate) fn close_idle(&self, keep: usize, idle: Duration) {
        let closed: Vec<_> = {
            let mut state = self.state();
            let mut open: Vec<_> = state
                .generations
                .iter_mut()
                .filter(|g| g.sealed && g.engine.is_some())
                .collect();
            open.sort_by_key(|generation| std::cmp::Reverse(generation.last_used));
            let idle = open
                .into_iter()
                .skip(keep)
                .filter(|generation| generation.last_used.elapsed() >= idle);
            idle.filter_map(|generation| generation.engine.take())
                .collect()
        };
        drop(closed);
    }

    /// Called now and then by the writer.
    pub(crate) fn close_long_idle(&self) {
        self.close_idle(0, IDLE_MAX);
    }
}

fn from_tail<'a>(blocks: impl Iterator<Item = &'a TailBlock>, collector: &Collector<'_>) -> Place {
    let mut taken = Vec::new();
    let (mut bytes, mut records) = (0, 0);
    let mut behind = collector.batch.next;
    for block in blocks {
        behind = block.header.last() + 1;
        if !collector.wanted.block(&block.header, &[]) {
            if taken.is_empty() {
                continue;
            }
            break;
        }
        taken.push(block.clone());
        bytes += block.body.len() + block.large.as_ref().map_or(0, Bytes::len);
        records += usize::from(block.header.count);
        if bytes >= collector.limit.bytes || records > collector.limit.records || taken.len() >= 512
        {
            break;
        }
    }
    if taken.is_empty() {
        Place::Skip(behind)
    } else {
        Place::Tail(taken)
    }
}
