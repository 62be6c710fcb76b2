//! Takes blocks in order, keeps the records that are wanted, and notices what is missing because every record's sequence
//! follows the one before it.

use crate::Sequence;
use crate::api::batch::{ReadBatch, ReadLimit, StoredRecord};
use crate::catalog::tail::TailBlock;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::engine::value_log::ValueLog;
use crate::format::block::{self, BlockHeader, BlockKind};
use crate::format::large::{self, LargeRecord, Place};
use crate::generation::beginnings::Beginnings;
use crate::read::frames::{body_of, read_frame};
use crate::read::wanted::Wanted;
use bytes::Bytes;
use std::ops::ControlFlow;

/// Bytes of blocks that one call looks at before it returns with what it has.
const SCAN_BYTES_MAX: usize = 4 << 20;

/// A large record whose parts are being put together.
struct Assembly {
    sequence: Sequence,
    time_ms: u64,
    large: LargeRecord,
    parts: u32,
    stored: Vec<u8>,
    next_part: u32,
}

/// Takes blocks in order and keeps what is wanted.
pub(crate) struct Collector<'a> {
    pub(crate) wanted: Wanted<'a>,
    pub(crate) limit: ReadLimit,
    /// First sequence that is not asked for.
    pub(crate) to: Sequence,
    pub(crate) batch: ReadBatch,
    bytes: usize,
    scanned_bytes: usize,
    assembly: Option<Assembly>,
    /// Sequences that should have been there.
    missing: Vec<(Sequence, Sequence)>,
    /// The value log could not be read because the disk failed.
    failed: Result<(), EngineError>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(
        wanted: Wanted<'a>,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Collector<'a> {
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
            failed: Ok(()),
        }
    }

    /// Nothing more is to be read in this call.
    pub(crate) fn is_full(&self) -> bool {
        let found = &self.batch.records;
        let enough = found.len() >= self.limit.records.max(1)
            || (!found.is_empty() && self.bytes >= self.limit.bytes);
        enough || self.batch.next >= self.to || self.scanned_bytes >= SCAN_BYTES_MAX
    }

    /// Takes one block of the tail.
    pub(crate) fn take_tail(&mut self, block: &TailBlock) -> ControlFlow<()> {
        self.scanned_bytes += block.body.len();
        if self.is_full() || block.header.place.first >= self.to {
            return ControlFlow::Break(());
        }
        // The tail keeps no filters: what is in memory is cheap to look at.
        if !self.wanted.block(&block.header, &[]) {
            return self.pass_block(&block.header);
        }
        match &block.large {
            Some(bytes) => self.whole_large(block, bytes.clone()),
            None => {
                self.pass_gap(block.header.place.first);
                self.take_records(&block.header, &block.body)
            }
        }
    }

    fn whole_large(&mut self, block: &TailBlock, bytes: Bytes) -> ControlFlow<()> {
        let record = block::records(&block.header, &block.body).next();
        if let Some(Ok(record)) = record.filter(|record| {
            record
                .as_ref()
                .is_ok_and(|record| self.wanted.record(record))
        }) {
            self.keep(record.sequence, record.time_ms, bytes);
        }
        self.batch.next = self.batch.next.max(block.header.last() + 1);
        ControlFlow::Continue(())
    }

    fn pass_block(&mut self, header: &BlockHeader) -> ControlFlow<()> {
        self.pass_gap(header.place.first);
        self.batch.next = self.batch.next.max(self.to.min(header.last() + 1));
        ControlFlow::Continue(())
    }

    /// Takes the blocks of a generation until it is full or there are no more.
    pub(crate) fn take_blocks(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let from = self.batch.next;
        engine.blocks(from, |key, value| {
            self.take_entry(engine.values(), key, value)
        })?;
        std::mem::replace(&mut self.failed, Ok(()))
    }

    /// As [`Collector::take_blocks`], from the file that has the blocks once more; only beginnings are wanted.
    pub(crate) fn take_beginnings(
        &mut self,
        beginnings: &Beginnings,
        values: &ValueLog,
    ) -> Result<(), EngineError> {
        beginnings.blocks(self.batch.next, |key, value| {
            self.take_entry(values, key, value)
        });
        std::mem::replace(&mut self.failed, Ok(()))
    }

    /// Takes one key and value of a generation.
    fn take_entry(&mut self, values: &ValueLog, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        self.scanned_bytes += value.len();
        if let Ok(first) = <[u8; 8]>::try_from(key) {
            let first = Sequence::from_be_bytes(first);
            // An unreadable block is passed over: the next good one shows which sequences are missing.
            return match block::read_header(first, value) {
                Ok(header) if header.last() < self.batch.next => ControlFlow::Continue(()),
                Ok(header) => self.block(values, &header, value),
                Err(_) => ControlFlow::Continue(()),
            };
        }
        self.part(key, value)
    }

    fn block(&mut self, values: &ValueLog, header: &BlockHeader, value: &[u8]) -> ControlFlow<()> {
        if self.is_full() || header.place.first >= self.to {
            return ControlFlow::Break(());
        }
        if !self.wanted.block(header, header.filter(value)) {
            return self.pass_block(header);
        }
        self.pass_gap(header.place.first);
        let body = match body_of(values, header, value) {
            Ok(Some(body)) => body,
            // Its records count as missing.
            Ok(None) => return ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Err(error);
                return ControlFlow::Break(());
            }
        };
        if header.kind.is_head() {
            return self.take_large(values, header, &body);
        }
        if header.kind == BlockKind::ValuePacked {
            self.scanned_bytes += body.len();
        }
        self.take_records(header, &Bytes::from(body.into_owned()))
    }

    fn take_records(&mut self, header: &BlockHeader, body: &Bytes) -> ControlFlow<()> {
        for record in block::records(header, body) {
            // The checksum was right, so a contradiction is a writer's mistake; what follows counts as missing.
            let Ok(record) = record else { break };
            if record.sequence < self.batch.next {
                continue;
            }
            if self.is_full() {
                return ControlFlow::Break(());
            }
            if self.wanted.record(&record) {
                let bytes = body.slice(record.start..record.end);
                self.keep(record.sequence, record.time_ms, bytes);
            }
            self.batch.next = record.sequence + 1;
        }
        ControlFlow::Continue(())
    }

    fn take_large(
        &mut self,
        values: &ValueLog,
        header: &BlockHeader,
        body: &[u8],
    ) -> ControlFlow<()> {
        let head = block::records(header, body).next().and_then(Result::ok);
        let tail = head
            .as_ref()
            .and_then(|record| body.get(record.start..record.end));
        let large = tail.and_then(|tail| large::read_large(header.version, header.kind, tail).ok());
        let (Some(record), Some((large, beginning))) = (head, large) else {
            return ControlFlow::Continue(());
        };
        if !self.wanted.record(&record) {
            return self.pass_block(header);
        }
        let offset = match large.place {
            Place::Frame(offset) => offset,
            Place::Parts(parts) => {
                let room = usize::try_from(large.stored_bytes).unwrap_or(0);
                self.assembly = Some(Assembly {
                    sequence: record.sequence,
                    time_ms: record.time_ms,
                    large,
                    parts,
                    stored: Vec::with_capacity(room.min(crate::api::limits::RECORD_BYTES_MAX)),
                    next_part: 0,
                });
                return ControlFlow::Continue(());
            }
        };
        let bytes = match self.wanted {
            Wanted::Beginnings => Ok(Some(Bytes::copy_from_slice(beginning))),
            _ => read_frame(values, record.sequence, offset, &large),
        };
        match bytes {
            Ok(Some(bytes)) => self.whole_record(record.sequence, record.time_ms, bytes),
            // It counts as missing.
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Err(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Keeps a large record.
    fn whole_record(&mut self, sequence: Sequence, time_ms: u64, bytes: Bytes) -> ControlFlow<()> {
        self.keep(sequence, time_ms, bytes);
        self.batch.next = sequence + 1;
        match self.is_full() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn part(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        let Some(mut assembly) = self.assembly.take() else {
            return ControlFlow::Continue(());
        };
        if key != block::part_key(assembly.sequence, assembly.next_part) {
            return ControlFlow::Continue(());
        }
        let Ok(bytes) = block::read_part(assembly.sequence, assembly.next_part, value) else {
            return ControlFlow::Continue(());
        };
        assembly.stored.extend_from_slice(bytes);
        assembly.next_part += 1;
        if assembly.next_part < assembly.parts {
            self.assembly = Some(assembly);
            return ControlFlow::Continue(());
        }
        match assembly.large.record(assembly.stored.into()) {
            Some(bytes) => self.whole_record(assembly.sequence, assembly.time_ms, bytes),
            None => ControlFlow::Continue(()),
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
