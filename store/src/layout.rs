//! Bytes on disk: blocks of records, version 1.
//!
//! A generation's event tree maps a key to a block of at most [`BLOCK_BYTES`]. sled moves pages beyond 128 KiB into
//! files that it never syncs, and splits its leaves by count (16), so the bound on one value keeps a whole leaf well
//! below that limit.
//!
//! ```text
//! key    sequence of the first record, u64 big endian             one block of small records, or a large record's head
//!        sequence u64 BE, part number u32 BE                      one part of a large record
//!
//! value  version u8 = 1 · codec u8 (0 = stored) · kind u8 (0 packed, 1 large head, 2 part) · flags u8
//!        crc32c u32 of the key and everything else in the value
//!        packed, large head:
//!          count u16 · commit_offset u32 · time_min u64 · time_max u64
//!          classes u8 (bit c: some record is routed in class c) · for each such class a mask u64 of lanes
//!        packed:      count × record
//!        large head:  record without bytes · length varint · crc32c u32 of all bytes · parts varint
//!        part:        up to PART_BYTES of the record
//!
//! record length varint (0 in a large head) · time − time_min varint · routes u8 · routes × (class << 6 | lane) · bytes
//! ```
//!
//! Fixed integers are little endian, keys big endian so that sled's order is the log's order. The key is part of the
//! checksum: a block found under another's key is damaged. `commit_offset` is the distance to the first sequence of
//! the commit the block came with; with [`FLAG_META`] it says that the commit also wrote marks or cursors, so that
//! recovery can take back a commit of which only the records arrived. A codec other than 0 is reserved for compression:
//! readers refuse what they do not know.

use crate::wire::{Reader, put_varint, varint_len};
use crate::{LaneId, Sequence};

/// Version written into every block.
pub(crate) const VERSION: u8 = 1;
/// Upper bound of a stored value.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Record bytes in one part of a large record.
pub(crate) const PART_BYTES: usize = BLOCK_BYTES - PART_HEADER_BYTES;
/// The commit this block came with also wrote marks or cursors.
pub(crate) const FLAG_META: u8 = 1;
/// Lanes there can be: a set of them fits a `u64`.
pub(crate) const LANES_MAX: usize = 64;
/// Classes of priority, 0 to 3.
pub(crate) const CLASSES: usize = 4;
/// Routes one record may have.
pub(crate) const ROUTES_MAX: usize = u8::MAX as usize;

const CODEC_STORED: u8 = 0;
const PART_HEADER_BYTES: usize = 8;
const HEADER_BYTES_MAX: usize = 8 + 2 + 4 + 16 + 1 + CLASSES * 8;

/// What a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Packed = 0,
    LargeHead = 1,
    Part = 2,
}

/// The lanes that records are routed to, per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Masks(pub(crate) [u64; CLASSES]);

impl Masks {
    pub(crate) fn add(&mut self, route: u8) {
        let (lane, class) = route_parts(route);
        self.0[usize::from(class)] |= 1 << lane;
    }

    pub(crate) fn contains(&self, lane: LaneId, class: u8) -> bool {
        self.0
            .get(usize::from(class))
            .is_some_and(|mask| mask >> lane & 1 == 1)
    }
}

/// One byte for a route: class in the upper two bits, lane in the lower six.
pub(crate) fn route_byte(lane: LaneId, class: u8) -> u8 {
    class << 6 | (lane as u8 & 0x3f)
}

/// The lane and class of a route byte.
pub(crate) fn route_parts(route: u8) -> (LaneId, u8) {
    (LaneId::from(route & 0x3f), route >> 6)
}

/// One record as it goes into a block.
#[derive(Clone, Copy)]
pub(crate) struct RecordIn<'a> {
    pub(crate) time_ms: u64,
    pub(crate) routes: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

/// Room that the record takes in a packed block, at most: time deltas are not known yet.
fn record_room(record: &RecordIn<'_>) -> usize {
    varint_len(record.bytes.len() as u64) + 10 + 1 + record.routes.len() + record.bytes.len()
}

/// True if the record must be stored in parts.
pub(crate) fn is_large(record: &RecordIn<'_>) -> bool {
    HEADER_BYTES_MAX + record_room(record) > BLOCK_BYTES
}

/// How many of `records` (at least one, none large) fit into one block.
pub(crate) fn fitting<'a>(records: impl Iterator<Item = RecordIn<'a>>) -> usize {
    let mut room = BLOCK_BYTES - HEADER_BYTES_MAX;
    let mut count = 0;
    for record in records {
        let need = record_room(&record);
        if is_large(&record) || need > room || count == usize::from(u16::MAX) {
            break;
        }
        room -= need;
        count += 1;
    }
    count
}

/// What the header of a block says about its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Sequence of the block's first record.
    pub(crate) first: Sequence,
    /// Distance to the first sequence of its commit.
    pub(crate) commit_offset: u32,
    /// The commit also wrote marks or cursors.
    pub(crate) with_meta: bool,
}

/// Writes a block of small records.
pub(crate) fn packed_block(place: Place, records: &[RecordIn<'_>]) -> Vec<u8> {
    let bytes: usize = records.iter().map(record_room).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES_MAX + bytes);
    let time_min = put_header(&mut out, Kind::Packed, place, records);
    for record in records {
        put_varint(&mut out, record.bytes.len() as u64);
        put_routing(&mut out, record, time_min);
        out.extend_from_slice(record.bytes);
    }
    close(&place.first.to_be_bytes(), out)
}

/// Writes the head of a large record; its parts come from [`part_block`].
pub(crate) fn large_head(place: Place, record: &RecordIn<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES_MAX + 32 + record.routes.len());
    let time_min = put_header(&mut out, Kind::LargeHead, place, &[*record]);
    put_varint(&mut out, 0);
    put_routing(&mut out, record, time_min);
    put_varint(&mut out, record.bytes.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(record.bytes).to_le_bytes());
    put_varint(&mut out, record.bytes.len().div_ceil(PART_BYTES) as u64);
    close(&place.first.to_be_bytes(), out)
}

/// Writes one part of a large record.
pub(crate) fn part_block(first: Sequence, part: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PART_HEADER_BYTES + bytes.len());
    out.extend_from_slice(&[VERSION, CODEC_STORED, Kind::Part as u8, 0, 0, 0, 0, 0]);
    out.extend_from_slice(bytes);
    close(&part_key(first, part), out)
}

/// The key of a large record's part.
pub(crate) fn part_key(first: Sequence, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn put_header(out: &mut Vec<u8>, kind: Kind, place: Place, records: &[RecordIn<'_>]) -> u64 {
    let times = || records.iter().map(|record| record.time_ms);
    let (time_min, time_max) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let mut masks = Masks::default();
    for route in records.iter().flat_map(|record| record.routes) {
        masks.add(*route);
    }
    let flags = if place.with_meta { FLAG_META } else { 0 };
    out.extend_from_slice(&[VERSION, CODEC_STORED, kind as u8, flags, 0, 0, 0, 0]);
    out.extend_from_slice(&(records.len() as u16).to_le_bytes());
    out.extend_from_slice(&place.commit_offset.to_le_bytes());
    out.extend_from_slice(&time_min.to_le_bytes());
    out.extend_from_slice(&time_max.to_le_bytes());
    let classes = (0..CLASSES).filter(|class| masks.0[*class] != 0);
    out.push(classes.clone().fold(0, |bits, class| bits | 1 << class));
    for class in classes {
        out.extend_from_slice(&masks.0[class].to_le_bytes());
    }
    time_min
}

fn put_routing(out: &mut Vec<u8>, record: &RecordIn<'_>, time_min: u64) {
    put_varint(out, record.time_ms - time_min);
    out.push(record.routes.len() as u8);
    out.extend_from_slice(record.routes);
}

fn close(key: &[u8], mut out: Vec<u8>) -> Vec<u8> {
    let crc = checksum(key, &out);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// CRC-32C over the key and the value without its checksum field.
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, value.get(..4).unwrap_or_default());
    crc32c::crc32c_append(crc, value.get(8..).unwrap_or_default())
}

/// Why a stored value is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Shorter than its own header, or its fields contradict each other.
    Malformed,
    /// The checksum does not match: bytes changed, or it stands under another block's key.
    Checksum,
    /// Written by a later release.
    Version(u8),
}

/// A block's header, read without decoding its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) count: u16,
    pub(crate) time_min_ms: u64,
    pub(crate) time_max_ms: u64,
    pub(crate) masks: Masks,
    /// Where the records start in the value.
    pub(crate) body: usize,
}

impl Header {
    /// Sequence of the block's last record.
    pub(crate) fn last(&self) -> Sequence {
        self.place.first + u64::from(self.count.max(1)) - 1
    }
}

/// Checks and reads the header of a block (not a part). The checksum covers the whole value.
pub(crate) fn read_header(first: Sequence, value: &[u8]) -> Result<Header, Damage> {
    let kind = check_value(&first.to_be_bytes(), value)?;
    trusted_header(first, kind, value).ok_or(Damage::Malformed)
}

/// Reads the record bytes of a part.
pub(crate) fn read_part(first: Sequence, part: u32, value: &[u8]) -> Result<&[u8], Damage> {
    match check_value(&part_key(first, part), value)? {
        Kind::Part => value.get(PART_HEADER_BYTES..).ok_or(Damage::Malformed),
        _ => Err(Damage::Malformed),
    }
}

fn check_value(key: &[u8], value: &[u8]) -> Result<Kind, Damage> {
    let mut reader = Reader::new(value);
    let fixed = reader.take(4).ok_or(Damage::Malformed)?;
    let crc = reader.u32().ok_or(Damage::Malformed)?;
    if crc != checksum(key, value) {
        return Err(Damage::Checksum);
    }
    match *fixed {
        [VERSION, CODEC_STORED, 0, _] => Ok(Kind::Packed),
        [VERSION, CODEC_STORED, 1, _] => Ok(Kind::LargeHead),
        [VERSION, CODEC_STORED, 2, _] => Ok(Kind::Part),
        [version, ..] if version > VERSION => Err(Damage::Version(version)),
        _ => Err(Damage::Malformed),
    }
}

fn trusted_header(first: Sequence, kind: Kind, value: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(value);
    let flags = *reader.take(8)?.get(3)?;
    let count = reader.u16()?;
    let place = Place {
        first,
        commit_offset: reader.u32()?,
        with_meta: flags & FLAG_META != 0,
    };
    let (time_min_ms, time_max_ms) = (reader.u64()?, reader.u64()?);
    let classes = reader.u8()?;
    let mut masks = Masks::default();
    for (class, mask) in masks.0.iter_mut().enumerate() {
        if classes >> class & 1 == 1 {
            *mask = reader.u64()?;
        }
    }
    let body = value.len() - reader.remaining();
    (kind != Kind::Part && count > 0).then_some(Header {
        kind,
        place,
        count,
        time_min_ms,
        time_max_ms,
        masks,
        body,
    })
}

/// One record as it stands in a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordOut<'a> {
    pub(crate) sequence: Sequence,
    pub(crate) time_ms: u64,
    pub(crate) routes: &'a [u8],
    /// Where the record's bytes lie in the value; for a large record the rest of the head.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl RecordOut<'_> {
    /// True if the record is routed to this lane in this class.
    pub(crate) fn is_for(&self, lane: LaneId, class: u8) -> bool {
        self.routes.contains(&route_byte(lane, class))
    }
}

/// Walks the records of a block; ends with an error where the block contradicts its own header.
pub(crate) fn records<'a>(header: &Header, value: &'a [u8]) -> Records<'a> {
    Records {
        reader: Reader::new(value.get(header.body..).unwrap_or_default()),
        value_len: value.len(),
        sequence: header.place.first,
        left: header.count,
        time_min_ms: header.time_min_ms,
        kind: header.kind,
    }
}

/// See [`records`].
pub(crate) struct Records<'a> {
    reader: Reader<'a>,
    value_len: usize,
    sequence: Sequence,
    left: u16,
    time_min_ms: u64,
    kind: Kind,
}

impl<'a> Records<'a> {
    fn read(&mut self) -> Option<RecordOut<'a>> {
        let count = usize::try_from(self.reader.varint()?).ok()?;
        let time_ms = self.time_min_ms.checked_add(self.reader.varint()?)?;
        let routes = usize::from(self.reader.u8()?);
        let routes = self.reader.take(routes)?;
        let start = self.value_len - self.reader.remaining();
        let count = if self.kind == Kind::LargeHead {
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
    type Item = Result<RecordOut<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let Some(record) = self.read() else {
            self.left = 0;
            return Some(Err(Damage::Malformed));
        };
        self.left -= 1;
        self.sequence += 1;
        Some(Ok(record))
    }
}

/// What the head of a large record says about its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Large {
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
    pub(crate) parts: u32,
}

/// Reads the tail of a large record's head (`RecordOut::start..end`).
pub(crate) fn read_large(tail: &[u8]) -> Result<Large, Damage> {
    let mut reader = Reader::new(tail);
    let mut read = || {
        let bytes = reader.varint()?;
        let crc = reader.u32()?;
        let parts = u32::try_from(reader.varint()?).ok()?;
        (u64::from(parts) == bytes.div_ceil(PART_BYTES as u64)).then_some(Large {
            bytes,
            crc,
            parts,
        })
    };
    read().ok_or(Damage::Malformed)
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
