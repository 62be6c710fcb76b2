//! Takes blocks in order, keeps the records that are wanted, and notices what is missing because every record's sequence
//! follows the one before it.

use crate::layout::{self, Header, Kind, Large};
use crate::read::{ReadBatch, ReadLimit, StoredRecord};
use crate::tail::TailBlock;
use crate::{LaneId, Sequence};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Bytes of blocks that one call looks at before it returns with what it has.
const SCAN_BYTES_MAX: usize = 4 << 20;

/// Which records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    Lane(LaneId, u8),
}

impl Wanted {
    pub(crate) fn block(self, header: &Header) -> bool {
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
    pub(crate) wanted: Wanted,
    pub(crate) limit: ReadLimit,
    /// First sequence that is not asked for.
    pub(crate) to: Sequence,
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

    /// Takes one block of the tail.
    pub(crate) fn take_tail(&mut self, block: &TailBlock) -> ControlFlow<()> {
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
            self.batch.next = self.to.min(header.last() + 1);
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
