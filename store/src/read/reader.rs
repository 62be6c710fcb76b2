//! Reading: from the tail in memory or from a generation on disk, skipping what is not wanted, and noticing what is
//! missing because every record's sequence follows the one before it.

use super::collector::Collector;
use super::wanted::Wanted;
use crate::Sequence;
use crate::api::batch::{ReadBatch, ReadLimit};
use crate::api::error::ReadError;
use crate::catalog::Catalog;
use crate::catalog::open_generations::OpenGenerations;
use crate::catalog::tail::TailBlock;
use crate::engine::clock;
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::Engine;
use crate::engine::value_log::ValueLog;
use crate::generation::beginnings::Beginnings;
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// Where the next records are.
enum Location {
    Tail(Vec<TailBlock>),
    /// Nothing wanted before this sequence.
    Skip(Sequence),
    Disk {
        id: u64,
        end: Sequence,
        engine: Option<Arc<Engine>>,
    },
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) open: Arc<OpenGenerations>,
}

impl Reader {
    /// Reads `from..to` as far as the limits go.
    pub(crate) fn read(
        &self,
        wanted: Wanted<'_>,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        let mut collector = Collector::new(
            wanted,
            from.max(1),
            to.min(locked(&self.catalog).next),
            limit,
        );
        while !collector.is_full() {
            match self.locate(&collector) {
                Location::Skip(next) => collector.batch.next = next.min(collector.to),
                Location::Tail(blocks) => {
                    let before = collector.batch.next;
                    let _ = blocks
                        .iter()
                        .try_for_each(|block| collector.take_tail(block));
                    if collector.batch.next == before {
                        collector.pass_gap(before + 1);
                    }
                }
                Location::Disk { id, end, engine } => {
                    let engine = match engine {
                        Some(engine) => engine,
                        None if self.read_beginnings(id, &mut collector)? => continue,
                        None => match self.open.open(id)? {
                            Some(engine) => engine,
                            None => continue,
                        },
                    };
                    let take = |collector: &mut Collector<'_>| collector.take_blocks(&engine);
                    self.read_generation(id, end, &mut collector, take)?;
                }
            }
        }
        if let Wanted::Lane(lane, class) = wanted {
            let found = collector
                .batch
                .records
                .iter()
                .map(|record| (record.sequence, record.time_ms));
            locked(&self.catalog).skip_unrouted(lane, class, from..collector.batch.next, found);
        }
        Ok(collector.batch)
    }

    fn locate(&self, collector: &Collector<'_>) -> Location {
        let mut catalog = locked(&self.catalog);
        let from = collector.batch.next;
        let first = catalog.first();
        let Some(at) = catalog.generation_at(from) else {
            return Location::Skip(first);
        };
        if let Some(blocks) = catalog.tail.from(from) {
            return from_tail(blocks, collector);
        }
        let behind = catalog
            .generations
            .get(at + 1)
            .map_or(catalog.next, |generation| generation.summary.first);
        let generation = &mut catalog.generations[at];
        if from >= generation.summary.end || !collector.wanted.generation(&generation.summary) {
            return Location::Skip(behind);
        }
        generation.last_used = clock::now();
        Location::Disk {
            id: generation.id,
            end: generation.summary.end,
            engine: generation.engine.clone(),
        }
    }

    /// Where only beginnings are wanted, a generation that has a file of them needs not be opened. `false`: it must be.
    fn read_beginnings(&self, id: u64, collector: &mut Collector<'_>) -> Result<bool, ReadError> {
        if !matches!(collector.wanted, Wanted::Beginnings) {
            return Ok(false);
        }
        let found = locked(&self.catalog)
            .generation_mut(id)
            .map(|found| (found.dir.clone(), found.summary.first, found.summary.end));
        let Some((dir, first, end)) = found else {
            return Ok(false);
        };
        let Some(beginnings) = Beginnings::load(&dir, first, end) else {
            return Ok(false);
        };
        let values = ValueLog::of(&dir);
        self.read_generation(id, end, collector, |collector| {
            collector.take_beginnings(&beginnings, &values)
        })?;
        Ok(true)
    }

    fn read_generation(
        &self,
        id: u64,
        end: Sequence,
        collector: &mut Collector<'_>,
        take: impl FnOnce(&mut Collector<'_>) -> Result<(), EngineError>,
    ) -> Result<(), ReadError> {
        let to = collector.to;
        collector.to = to.min(end);
        let read = take(collector);
        if read.is_ok() && !collector.is_full() {
            collector.pass_gap(collector.to);
        }
        collector.to = to;
        let missing = collector.take_missing();
        if !missing.is_empty() {
            locked(&self.catalog).note_missing(id, &missing);
        }
        read.or_else(|error| self.open.reading_failed(id, error))
    }
}

fn from_tail<'a>(
    blocks: impl Iterator<Item = &'a TailBlock>,
    collector: &Collector<'_>,
) -> Location {
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
        Location::Skip(behind)
    } else {
        Location::Tail(taken)
    }
}
