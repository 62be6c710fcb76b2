//! Writes blocks: as many records as fit into [`BLOCK_BYTES`] after compression. `block.rs` defines the bytes.

use crate::Sequence;
use crate::api::limits::CLASSES;
use crate::format::block::{
    BLOCK_BYTES, BlockHeader, BlockKind, BlockPlace, FLAG_SMALL_KEYS, PART_BYTES,
    PART_HEADER_BYTES, RAW_BYTES_MAX, VERSION, checksum, part_key,
};
use crate::format::bloom;
use crate::format::compression::{self, Codec, Compressor};
use crate::format::frame::frame;
use crate::format::large::BEGINNING_BYTES;
use crate::format::route::RouteMasks;
use crate::format::varint::{put_varint, varint_len};
use bytes::Bytes;

/// A filter, and the length of what is compressed, with their own lengths.
const FILTER_ROOM: usize = 1 + 64 + 3;
const HEADER_BYTES_MAX: usize = 8 + 2 + 4 + 16 + 1 + CLASSES * 8 + FILTER_ROOM;
/// Room for the records of a block.
const ROOM: usize = BLOCK_BYTES - HEADER_BYTES_MAX;

/// One record as it goes into a block.
#[derive(Clone, Copy)]
pub(crate) struct RecordIn<'a> {
    pub(crate) time_ms: u64,
    pub(crate) routes: &'a [u8],
    pub(crate) tags: &'a [u64],
    pub(crate) bytes: &'a [u8],
}

impl RecordIn<'_> {
    /// Room that the record takes in a block, at most: time deltas are not known yet.
    fn room(&self) -> usize {
        varint_len(self.bytes.len() as u64) + 10 + 1 + self.routes.len() + self.bytes.len()
    }

    /// True if the record does not fit into a block.
    pub(crate) fn is_large(&self) -> bool {
        self.room() > ROOM
    }
}

/// A block ready to be stored, and its records as readers want them.
pub(crate) struct Block {
    pub(crate) header: BlockHeader,
    pub(crate) value: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Records in it.
    pub(crate) count: usize,
}

/// Packs the first of `records` (at least one, none of those taken large) into one block.
pub(crate) fn packed_block(
    place: BlockPlace,
    records: &[RecordIn<'_>],
    compressor: &mut Compressor,
) -> Block {
    let mut raw_max = compressor.raw_for(ROOM).clamp(ROOM, RAW_BYTES_MAX);
    loop {
        let taken = &records[..fitting(records, raw_max)];
        let (mut block, start) = begin(BlockKind::Packed, place, taken);
        for record in taken {
            put_varint(&mut block.body, record.bytes.len() as u64);
            put_routing(&mut block.body, record, block.header.time_min_ms);
            block.body.extend_from_slice(record.bytes);
        }
        let raw_bytes = block.body.len();
        match compressor.compress(&block.body) {
            Some(compressed) if compressed.len() <= ROOM => {
                put_varint(&mut block.value, raw_bytes as u64);
                block.header.codec = Codec::Lz4;
                block.header.raw_bytes = raw_bytes;
                block.header.body = block.value.len();
                block.value.extend_from_slice(compressed);
            }
            Some(compressed) if raw_bytes > ROOM => {
                raw_max = shrunk(raw_max, compressed.len());
                continue;
            }
            None if raw_bytes > ROOM => {
                raw_max = ROOM;
                continue;
            }
            _ => {
                block.header.body = start;
                block.value.extend_from_slice(&block.body);
            }
        }
        close(&place.first.to_be_bytes(), &mut block);
        return block;
    }
}

/// Moves the records of a packed block into a frame at this offset of the value log, and leaves their place in it.
pub(crate) fn move_beside(block: &mut Block, frame_at: u64) -> Bytes {
    let first = block.header.place.first;
    let frame = frame(first, &block.value[block.header.body..]);
    let stored_bytes = block.value.len() - block.header.body;
    block.value.truncate(block.header.body);
    put_varint(&mut block.value, frame_at);
    put_varint(&mut block.value, stored_bytes as u64);
    block.header.kind = BlockKind::ValuePacked;
    close(&first.to_be_bytes(), block);
    frame
}

/// What to take instead of `raw_max` bytes that became `compressed`, more than there is room for.
fn shrunk(raw_max: usize, compressed: usize) -> usize {
    let fits = raw_max * ROOM / compressed;
    (fits - fits / 16).clamp(ROOM, raw_max - raw_max / 16)
}

/// How many of `records` (at least one) take at most `raw_max` bytes, up to the first large one.
pub(crate) fn fitting(records: &[RecordIn<'_>], raw_max: usize) -> usize {
    let mut room = raw_max;
    let small = records
        .iter()
        .take(usize::from(u16::MAX))
        .take_while(|record| {
            let need = record.room();
            let fits = need <= room && !record.is_large();
            room = room.saturating_sub(need);
            fits
        });
    small.count().max(1)
}

/// A large record: its head, and its bytes as they are stored (`None`: as they are).
pub(crate) struct LargeBlock {
    pub(crate) head: Block,
    pub(crate) stored: Option<Vec<u8>>,
}

/// Writes the head of a large record, with its bytes in a frame at this offset of the value log, or else in parts: these
/// come from [`part_block`].
pub(crate) fn large_block(
    place: BlockPlace,
    record: &RecordIn<'_>,
    frame_at: Option<u64>,
) -> LargeBlock {
    let stored = compression::compress_large(record.bytes);
    let (codec, stored_bytes) = match &stored {
        Some(stored) => (Codec::Lz4, stored.len()),
        None => (Codec::Stored, record.bytes.len()),
    };
    let kind = match frame_at {
        Some(_) => BlockKind::ValueHead,
        None => BlockKind::LargeHead,
    };
    let (mut head, start) = begin(kind, place, &[*record]);
    put_varint(&mut head.body, 0);
    put_routing(&mut head.body, record, head.header.time_min_ms);
    put_varint(&mut head.body, record.bytes.len() as u64);
    head.body
        .extend_from_slice(&crc32c::crc32c(record.bytes).to_le_bytes());
    head.body.push(codec as u8);
    put_varint(&mut head.body, stored_bytes as u64);
    match frame_at {
        None => put_varint(&mut head.body, stored_bytes.div_ceil(PART_BYTES) as u64),
        Some(offset) => {
            put_varint(&mut head.body, offset);
            let beginning = record.bytes.len().min(BEGINNING_BYTES);
            head.body.extend_from_slice(&record.bytes[..beginning]);
        }
    }
    head.header.body = start;
    head.value.extend_from_slice(&head.body);
    close(&place.first.to_be_bytes(), &mut head);
    LargeBlock { head, stored }
}

/// Writes one part of a large record.
pub(crate) fn part_block(first: Sequence, part: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PART_HEADER_BYTES + bytes.len());
    let codec = Codec::Stored as u8;
    out.extend_from_slice(&[VERSION, codec, BlockKind::Part as u8, 0, 0, 0, 0, 0]);
    out.extend_from_slice(bytes);
    put_checksum(&part_key(first, part), &mut out);
    out
}

/// A block with its header, up to where the records start.
fn begin(kind: BlockKind, place: BlockPlace, records: &[RecordIn<'_>]) -> (Block, usize) {
    let times = || records.iter().map(|record| record.time_ms);
    let (time_min_ms, time_max_ms) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let mut masks = RouteMasks::default();
    for route in records.iter().flat_map(|record| record.routes) {
        masks.add(*route);
    }
    let filter = bloom::of_block(&different_tags(records));
    let flags = if place.with_small_keys {
        FLAG_SMALL_KEYS
    } else {
        0
    };
    let mut value = Vec::with_capacity(BLOCK_BYTES);
    value.extend_from_slice(&[VERSION, 0, kind as u8, flags, 0, 0, 0, 0]);
    value.extend_from_slice(&(records.len() as u16).to_le_bytes());
    value.extend_from_slice(&place.commit_offset.to_le_bytes());
    value.extend_from_slice(&time_min_ms.to_le_bytes());
    value.extend_from_slice(&time_max_ms.to_le_bytes());
    let classes = (0..CLASSES).filter(|class| masks.0[*class] != 0);
    value.push(classes.clone().fold(0, |bits, class| bits | 1 << class));
    for class in classes {
        value.extend_from_slice(&masks.0[class].to_le_bytes());
    }
    value.push(filter.len() as u8);
    let header = BlockHeader {
        version: VERSION,
        kind,
        place,
        count: records.len() as u16,
        time_min_ms,
        time_max_ms,
        masks,
        filter: (value.len(), filter.len()),
        codec: Codec::Stored,
        raw_bytes: 0,
        body: 0,
    };
    value.extend_from_slice(&filter);
    let start = value.len();
    let count = records.len();
    let raw = records.iter().map(RecordIn::room).sum::<usize>();
    let body = Vec::with_capacity(raw.min(RAW_BYTES_MAX));
    let block = Block {
        header,
        value,
        body,
        count,
    };
    (block, start)
}

/// The tags of the records, each once.
fn different_tags(records: &[RecordIn<'_>]) -> Vec<u64> {
    let mut tags: Vec<u64> = records
        .iter()
        .flat_map(|record| record.tags)
        .copied()
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn put_routing(out: &mut Vec<u8>, record: &RecordIn<'_>, time_min: u64) {
    put_varint(out, record.time_ms - time_min);
    out.push(record.routes.len() as u8);
    out.extend_from_slice(record.routes);
}

fn close(key: &[u8], block: &mut Block) {
    block.value[1] = block.header.codec as u8;
    block.value[2] = block.header.kind as u8;
    put_checksum(key, &mut block.value);
}

/// Puts the checksum in its place.
pub(crate) fn put_checksum(key: &[u8], value: &mut [u8]) {
    let crc = checksum(key, value);
    value[4..8].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
