//! Reading: from the tail in memory or from a generation on disk, skipping what is not wanted, and noticing what is
//! missing because every record's sequence follows the one before it.

use crate::engine::{Engine, EngineError};
use crate::layout::{self, Header, Kind, Large};
use crate::shared::{Shared, locked};
use crate::status::Damage;
use crate::tail::TailBlock;
use crate::{LaneId, ReadError, Sequence};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of blocks that one call looks at before it returns with what it has.
const SCAN_BYTES_MAX: usize = 4 << 20;
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

/// Which records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    Lane(LaneId, u8),
}

impl Wanted {
    fn block(self, header: &Header) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Lane(lane, class) => header.masks.contains(lane, class),
        }
    }

    fn record(self, record: &layout::RecordOut<'_>) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Lane(lane, class) => record.is_for(lane, class),
        }
    }
}

/// A large record whose parts are being put together.
struct Assembly {
    sequence: Sequence,
    time_ms: u64,
    large: Large,
    bytes: Vec<u8>,
    next_part: u32,
}

/// Takes blocks in order and keeps what is wanted.
pub(crate) struct Collector {
    wanted: Wanted,
    limit: ReadLimit,
    /// First sequence that is not asked for.
    to: Sequence,
    pub(crate) batch: ReadBatch,
    bytes: usize,
    scanned_bytes: usize,
    assembly: Option<Assembly>,
    /// Sequences that should have been there.
    missing: Vec<(Sequence, Sequence)>,
}

impl Collector {
    pub(crate) fn new(wanted: Wanted, from: Sequence, to: Sequence, limit: ReadLimit) -> Collector {
        let batch = ReadBatch {
            records: Vec::new(),
            next: from,
        };
        Collector {
            wanted,
            limit,
            to,
            batch,
            bytes: 0,
            scanned_bytes: 0,
            assembly: None,
            missing: Vec::new(),
        }
    }

    /// Nothing more is to be read in this call.
    pub(crate) fn is_full(&self) -> bool {
        let found = &self.batch.records;
        let enough = found.len() >= self.limit.records.max(1)
            || (!found.is_empty() && self.bytes >= self.limit.bytes);
        enough || self.batch.next >= self.to || self.scanned_bytes >= SCAN_BYTES_MAX
    }

    fn take_tail(&mut self, block: &TailBlock) -> ControlFlow<()> {
        self.scanned_bytes += block.value.len();
        match &block.large {
            Some(bytes) => self.whole_large(block, bytes.clone()),
            None => self.block(&block.header, &block.value, Some(&block.value)),
        }
    }

    fn whole_large(&mut self, block: &TailBlock, bytes: Bytes) -> ControlFlow<()> {
        if self.is_full() || block.header.place.first >= self.to {
            return ControlFlow::Break(());
        }
        let record = layout::records(&block.header, &block.value).next();
        if let Some(Ok(record)) = record.filter(|_| self.wanted.block(&block.header)) {
            self.keep(record.sequence, record.time_ms, bytes);
        }
        self.batch.next = self.batch.next.max(block.header.last() + 1);
        ControlFlow::Continue(())
    }

    /// Takes one key and value of a generation.
    pub(crate) fn take_entry(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        self.scanned_bytes += value.len();
        if let Ok(first) = <[u8; 8]>::try_from(key) {
            let first = Sequence::from_be_bytes(first);
            // An unreadable block is passed over: the next good one shows which sequences are missing.
            return match layout::read_header(first, value) {
                Ok(header) if header.last() < self.batch.next => ControlFlow::Continue(()),
                Ok(header) => self.block(&header, value, None),
                Err(_) => ControlFlow::Continue(()),
            };
        }
        self.part(key, value)
    }

    fn block(&mut self, header: &Header, value: &[u8], shared: Option<&Bytes>) -> ControlFlow<()> {
        if self.is_full() || header.place.first >= self.to {
            return ControlFlow::Break(());
        }
        self.pass_gap(header.place.first);
        if !self.wanted.block(header) {
            self.batch.next = header.last() + 1;
            return ControlFlow::Continue(());
        }
        if header.kind == Kind::LargeHead {
            return self.begin_large(header, value);
        }
        self.take_records(header, value, shared)
    }

    fn take_records(
        &mut self,
        header: &Header,
        value: &[u8],
        shared: Option<&Bytes>,
    ) -> ControlFlow<()> {
        let mut own = shared.cloned();
        for record in layout::records(header, value) {
            // The checksum was right, so a contradiction is a writer's mistake; what follows counts as missing.
            let Ok(record) = record else { break };
            if record.sequence < self.batch.next {
                continue;
            }
            if self.is_full() {
                return ControlFlow::Break(());
            }
            if self.wanted.record(&record) {
                let block = own.get_or_insert_with(|| Bytes::copy_from_slice(value));
                self.keep(
                    record.sequence,
                    record.time_ms,
                    block.slice(record.start..record.end),
                );
            }
            self.batch.next = record.sequence + 1;
        }
        ControlFlow::Continue(())
    }

    fn begin_large(&mut self, header: &Header, value: &[u8]) -> ControlFlow<()> {
        let head = layout::records(header, value).next().and_then(Result::ok);
        let tail = head
            .as_ref()
            .and_then(|record| value.get(record.start..record.end));
        let large = tail.and_then(|tail| layout::read_large(tail).ok());
        if let (Some(record), Some(large)) = (head, large) {
            let bytes = Vec::with_capacity(
                usize::try_from(large.bytes)
                    .unwrap_or(0)
                    .min(crate::commit::RECORD_BYTES_MAX),
            );
            let (sequence, time_ms) = (record.sequence, record.time_ms);
            self.assembly = Some(Assembly {
                sequence,
                time_ms,
                large,
                bytes,
                next_part: 0,
            });
        }
        ControlFlow::Continue(())
    }

    fn part(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        let Some(mut assembly) = self.assembly.take() else {
            return ControlFlow::Continue(());
        };
        if key != layout::part_key(assembly.sequence, assembly.next_part) {
            return ControlFlow::Continue(());
        }
        let Ok(bytes) = layout::read_part(assembly.sequence, assembly.next_part, value) else {
            return ControlFlow::Continue(());
        };
        assembly.bytes.extend_from_slice(bytes);
        assembly.next_part += 1;
        if assembly.next_part < assembly.large.parts {
            self.assembly = Some(assembly);
            return ControlFlow::Continue(());
        }
        let whole = assembly.bytes.len() as u64 == assembly.large.bytes;
        if whole && crc32c::crc32c(&assembly.bytes) == assembly.large.crc {
            self.keep(assembly.sequence, assembly.time_ms, assembly.bytes.into());
            self.batch.next = assembly.sequence + 1;
        }
        if self.is_full() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn keep(&mut self, sequence: Sequence, time_ms: u64, bytes: Bytes) {
        if sequence >= self.batch.next && sequence < self.to {
            self.bytes += bytes.len();
            self.batch.records.push(StoredRecord {
                sequence,
                time_ms,
                bytes,
            });
        }
    }

    /// Everything up to `first` should have come before.
    pub(crate) fn pass_gap(&mut self, first: Sequence) {
        self.assembly = None;
        if first > self.batch.next {
            self.missing.push((self.batch.next, first - 1));
            self.batch.next = first;
        }
    }

    /// The sequences that were passed because nothing could be read there.
    pub(crate) fn take_missing(&mut self) -> Vec<(Sequence, Sequence)> {
        std::mem::take(&mut self.missing)
    }
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
        wanted: Wanted,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        let mut collector = Collector::new(wanted, from.max(1), to.min(self.state().next), limit);
        while !collector.is_full() {
            match self.locate(&collector) {
                Place::Skip(next) => collector.batch.next = next,
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

    fn locate(&self, collector: &Collector) -> Place {
        let mut state = self.state();
        let from = collector.batch.next;
        if let Some(blocks) = state.tail.from(from) {
            return from_tail(blocks, collector);
        }
        let Some(at) = state.generation_at(from) else {
            return Place::Skip(state.first());
        };
        let behind = state
            .generations
            .get(at + 1)
            .map_or(state.next, |generation| generation.summary.first);
        let generation = &mut state.generations[at];
        let unwanted = match collector.wanted {
            Wanted::All => false,
            Wanted::Lane(lane, class) => generation.summary.share(lane, class).records == 0,
        };
        if from >= generation.summary.end || unwanted {
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
        collector: &mut Collector,
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
        if let Some(generation) = state.generation_mut(id) {
            generation.damaged = true;
        }
        for (first, last) in missing {
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
        if !dir.exists() {
            self.quarantine(id, &EngineError::Damaged("its directory is gone".into()));
            return Ok(None);
        }
        self.close_idle(OPEN_MAX - 1, Duration::ZERO);
        let mut opened = Engine::open(&dir, self.options.cache_bytes);
        if matches!(opened, Err(EngineError::NoSpace(_))) && self.release_ballast() {
            opened = Engine::open(&dir, self.options.cache_bytes);
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

fn from_tail<'a>(blocks: impl Iterator<Item = &'a TailBlock>, collector: &Collector) -> Place {
    let mut taken = Vec::new();
    let (mut bytes, mut records) = (0, 0);
    let mut behind = collector.batch.next;
    for block in blocks {
        behind = block.header.last() + 1;
        if !collector.wanted.block(&block.header) {
            if taken.is_empty() {
                continue;
            }
            break;
        }
        taken.push(block.clone());
        bytes += block.value.len() + block.large.as_ref().map_or(0, Bytes::len);
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
