//! Blocks of records on disk, versions 1 to 4. `pack.rs` writes them (always the newest), this file reads them.
//!
//! A generation's tree of blocks maps a key to a block of at most [`BLOCK_BYTES`]. sled moves pages beyond 128 KiB into
//! files that it never syncs, and splits its leaves by count (16), so the bound on one value keeps a whole leaf well
//! below that limit.
//!
//! ```text
//! key    sequence of the first record, u64 big endian             one block of small records, or a large record's head
//!        sequence u64 BE, part number u32 BE                      one part of a large record
//!
//! value  version u8 = 4 · codec u8 (0 stored, 1 LZ4) · kind u8 · flags u8
//!        kind: 0 packed, 1 large head with parts behind it, 2 part, 3 large head with its bytes in the value log,
//!              4 packed, with the records in the value log
//!        crc32c u32 of the key and everything else in the value
//!        packed, large heads:
//!          count u16 · commit_offset u32 · time_min u64 · time_max u64
//!          classes u8 (bit c: some record is routed in class c) · for each such class a mask u64 of lanes
//!          filter_bytes u8 · filter over the records' tags (see bloom.rs)
//!          with LZ4: raw_bytes varint · the rest compressed
//!        packed:      count × record; with the records in the value log there are here: offset varint · bytes varint
//!        large heads: record without bytes · length varint · crc32c u32 of all bytes
//!                     codec u8 and length varint of the bytes as they are stored
//!                     1: parts varint · 3: offset in the value log varint, the first bytes of the record
//!        part:        up to PART_BYTES of that
//!
//! record length varint (0 in a large head) · time − time_min varint · routes u8 · routes × (class << 6 | lane) · bytes
//! ```
//!
//! Version 1 had no filter, no compression, and neither codec nor second length in a large head; version 2 had no value log
//! (`frame.rs`), version 3 no packed records in it.
//!
//! Fixed integers are little endian, keys big endian so that sled's order is the log's order. The key is part of the
//! checksum: a block found under another's key is damaged. `commit_offset` is the distance to the first sequence of
//! the commit the block came with; with [`FLAG_SMALL_KEYS`] it says that the commit also wrote marks or cursors, so that
//! recovery can take back a commit of which only the records arrived. What readers skip by (times, lanes, filter) is
//! never compressed.

use crate::format::compression::{Codec, decompress};
use crate::format::route::{RouteMasks, route_byte};
use crate::format::varint::Reader;
use crate::{LaneId, Sequence};
use std::borrow::Cow;

/// Version written into every block.
pub(crate) const VERSION: u8 = 4;
/// Upper bound of a stored value.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Record bytes in one part of a large record.
pub(crate) const PART_BYTES: usize = BLOCK_BYTES - PART_HEADER_BYTES;
/// The commit this block came with also wrote marks or cursors.
pub(crate) const FLAG_SMALL_KEYS: u8 = 1;

/// Upper bound of a block's records before compression.
pub(crate) const RAW_BYTES_MAX: usize = 16 << 10;
/// What stands before the bytes of a part.
pub(crate) const PART_HEADER_BYTES: usize = 8;

/// What a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Packed = 0,
    LargeHead = 1,
    Part = 2,
    /// As a large head; the bytes are in the value log.
    ValueHead = 3,
    /// As packed; the records are in a frame of the value log.
    ValuePacked = 4,
}

impl BlockKind {
    fn of(byte: u8) -> Option<BlockKind> {
        match byte {
            0 => Some(BlockKind::Packed),
            1 => Some(BlockKind::LargeHead),
            2 => Some(BlockKind::Part),
            3 => Some(BlockKind::ValueHead),
            4 => Some(BlockKind::ValuePacked),
            _ => None,
        }
    }

    /// True if a block of this kind holds one large record's head.
    pub(crate) fn is_head(self) -> bool {
        matches!(self, BlockKind::LargeHead | BlockKind::ValueHead)
    }

    /// The version that brought it.
    fn since(self) -> u8 {
        match self {
            BlockKind::Packed | BlockKind::LargeHead | BlockKind::Part => 1,
            BlockKind::ValueHead => 3,
            BlockKind::ValuePacked => 4,
        }
    }
}

/// What the header of a block says about its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    /// Sequence of the block's first record.
    pub(crate) first: Sequence,
    /// Distance to the first sequence of its commit.
    pub(crate) commit_offset: u32,
    /// The commit also wrote marks or cursors.
    pub(crate) with_small_keys: bool,
}

/// The key of a large record's part.
pub(crate) fn part_key(first: Sequence, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// CRC-32C over the key and the value without its checksum field.
pub(crate) fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, value.get(..4).unwrap_or_default());
    crc32c::crc32c_append(crc, value.get(8..).unwrap_or_default())
}

/// Why a stored value is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadBlock {
    /// Shorter than its own header, or its fields contradict each other.
    Malformed,
    /// The checksum does not match: bytes changed, or it stands under another block's key.
    Checksum,
    /// Written by a later release.
    Version(u8),
}

/// A block's header, read without decoding its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) version: u8,
    pub(crate) kind: BlockKind,
    pub(crate) place: BlockPlace,
    pub(crate) count: u16,
    pub(crate) time_min_ms: u64,
    pub(crate) time_max_ms: u64,
    pub(crate) masks: RouteMasks,
    /// Where the filter starts in the value, and its bytes.
    pub(crate) filter: (usize, usize),
    pub(crate) codec: Codec,
    /// Bytes of the records before compression; only with a codec.
    pub(crate) raw_bytes: usize,
    /// Where the records start in the value, compressed or not.
    pub(crate) body: usize,
}

impl BlockHeader {
    /// Sequence of the block's last record.
    pub(crate) fn last(&self) -> Sequence {
        self.place.first + u64::from(self.count.max(1)) - 1
    }

    /// The filter over the tags of the records; empty where there is none.
    pub(crate) fn filter<'a>(&self, value: &'a [u8]) -> &'a [u8] {
        let (start, bytes) = self.filter;
        value.get(start..start + bytes).unwrap_or_default()
    }

    /// The records as they were before compression, which is what [`records`] reads, of a block that holds them itself.
    pub(crate) fn body<'a>(&self, value: &'a [u8]) -> Result<Cow<'a, [u8]>, BadBlock> {
        let here = self.kind != BlockKind::ValuePacked;
        let stored = value.get(self.body..).filter(|_| here);
        self.unpacked(stored.ok_or(BadBlock::Malformed)?)
    }

    /// Where the records are in the value log, offset and bytes of the frame's contents, of a block that has them there.
    pub(crate) fn packed_frame(&self, value: &[u8]) -> Option<(u64, u64)> {
        let mut reader = Reader::new(value.get(self.body..)?);
        let (offset, bytes) = (reader.varint()?, reader.varint()?);
        let sound = self.kind == BlockKind::ValuePacked
            && bytes <= BLOCK_BYTES as u64
            && reader.remaining() == 0
            && offset.checked_add(2 * BLOCK_BYTES as u64).is_some();
        sound.then_some((offset, bytes))
    }

    /// The records as they were before compression, from the bytes as they are stored.
    pub(crate) fn unpacked<'a>(&self, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, BadBlock> {
        match self.codec {
            Codec::Stored => Ok(Cow::Borrowed(stored)),
            Codec::Lz4 => decompress(stored, self.raw_bytes)
                .map(Cow::Owned)
                .ok_or(BadBlock::Malformed),
        }
    }
}

/// The fixed first bytes of a value.
struct Fixed {
    version: u8,
    codec: Codec,
    kind: BlockKind,
    flags: u8,
}

/// A block's first sequence and header; `None` for a part.
pub(crate) fn header_of(
    key: &[u8],
    value: &[u8],
) -> Option<(Sequence, Result<BlockHeader, BadBlock>)> {
    let first = Sequence::from_be_bytes(key.try_into().ok()?);
    Some((first, read_header(first, value)))
}

/// Checks and reads the header of a block (not a part). The checksum covers the whole value.
pub(crate) fn read_header(first: Sequence, value: &[u8]) -> Result<BlockHeader, BadBlock> {
    let fixed = check_value(&first.to_be_bytes(), value)?;
    trusted_header(first, &fixed, value).ok_or(BadBlock::Malformed)
}

/// Reads what a part holds.
pub(crate) fn read_part(first: Sequence, part: u32, value: &[u8]) -> Result<&[u8], BadBlock> {
    match check_value(&part_key(first, part), value)?.kind {
        BlockKind::Part => value.get(PART_HEADER_BYTES..).ok_or(BadBlock::Malformed),
        _ => Err(BadBlock::Malformed),
    }
}

fn check_value(key: &[u8], value: &[u8]) -> Result<Fixed, BadBlock> {
    let mut reader = Reader::new(value);
    let fixed = reader.take(4).ok_or(BadBlock::Malformed)?;
    let crc = reader.u32().ok_or(BadBlock::Malformed)?;
    if crc != checksum(key, value) {
        return Err(BadBlock::Checksum);
    }
    let &[version, codec, kind, flags] = fixed else {
        return Err(BadBlock::Malformed);
    };
    if version > VERSION {
        return Err(BadBlock::Version(version));
    }
    let codec = Codec::of(codec).filter(|codec| version > 1 || *codec == Codec::Stored);
    let kind = BlockKind::of(kind).filter(|kind| version >= kind.since());
    let (codec, kind) = codec.zip(kind).ok_or(BadBlock::Malformed)?;
    Ok(Fixed {
        version,
        codec,
        kind,
        flags,
    })
}

fn trusted_header(first: Sequence, fixed: &Fixed, value: &[u8]) -> Option<BlockHeader> {
    let mut reader = Reader::new(value);
    reader.take(8)?;
    let count = reader.u16()?;
    let place = BlockPlace {
        first,
        commit_offset: reader.u32()?,
        with_small_keys: fixed.flags & FLAG_SMALL_KEYS != 0,
    };
    let (time_min_ms, time_max_ms) = (reader.u64()?, reader.u64()?);
    let classes = reader.u8()?;
    let mut masks = RouteMasks::default();
    for (class, mask) in masks.0.iter_mut().enumerate() {
        if classes >> class & 1 == 1 {
            *mask = reader.u64()?;
        }
    }
    let mut filter = (0, 0);
    if fixed.version > 1 {
        let bytes = usize::from(reader.u8()?);
        filter = (value.len() - reader.remaining(), bytes);
        reader.take(bytes)?;
    }
    let raw_bytes = match fixed.codec {
        Codec::Stored => 0,
        Codec::Lz4 => usize::try_from(reader.varint()?).ok()?,
    };
    let body = value.len() - reader.remaining();
    let sound = fixed.kind != BlockKind::Part && count > 0 && raw_bytes <= RAW_BYTES_MAX;
    sound.then_some(BlockHeader {
        version: fixed.version,
        kind: fixed.kind,
        place,
        count,
        time_min_ms,
        time_max_ms,
        masks,
        filter,
        codec: fixed.codec,
        raw_bytes,
        body,
    })
}

/// One record as it stands in a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordOut<'a> {
    pub(crate) sequence: Sequence,
    pub(crate) time_ms: u64,
    pub(crate) routes: &'a [u8],
    /// Where the record's bytes lie in the body; for a large record the rest of the head.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl RecordOut<'_> {
    /// True if the record is routed to this lane in this class.
    pub(crate) fn is_for(&self, lane: LaneId, class: u8) -> bool {
        self.routes.contains(&route_byte(lane, class))
    }
}

/// Walks the records in the body of a block; ends with an error where it contradicts the header.
pub(crate) fn records<'a>(header: &BlockHeader, body: &'a [u8]) -> Records<'a> {
    Records {
        reader: Reader::new(body),
        body_len: body.len(),
        sequence: header.place.first,
        left: header.count,
        time_min_ms: header.time_min_ms,
        kind: header.kind,
    }
}

/// See [`records`].
pub(crate) struct Records<'a> {
    reader: Reader<'a>,
    body_len: usize,
    sequence: Sequence,
    left: u16,
    time_min_ms: u64,
    kind: BlockKind,
}

impl<'a> Records<'a> {
    fn read(&mut self) -> Option<RecordOut<'a>> {
        let count = usize::try_from(self.reader.varint()?).ok()?;
        let time_ms = self.time_min_ms.checked_add(self.reader.varint()?)?;
        let routes = usize::from(self.reader.u8()?);
        let routes = self.reader.take(routes)?;
        let start = self.body_len - self.reader.remaining();
        let count = if self.kind.is_head() {
            self.reader.remaining()
        } else {
            count
        };
        self.reader.take(count)?;
        Some(RecordOut {
            sequence: self.sequence,
            time_ms,
            routes,
            start,
            end: start + count,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordOut<'a>, BadBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let Some(record) = self.read() else {
            self.left = 0;
            return Some(Err(BadBlock::Malformed));
        };
        self.left -= 1;
        self.sequence += 1;
        Some(Ok(record))
    }
}
