//! Large records: what their heads say, and where their bytes are. `block.rs` defines the heads and the parts.
//!
//! Few of them in a commit are cut into parts, values among the blocks. sled writes such a value several times, as its
//! leaves fill and split; many bytes go once instead, as frames (`frame.rs`) into the generation's value log.

use crate::api::limits::RECORD_BYTES_MAX;
use crate::format::block::{BadBlock, BlockKind, PART_BYTES};
use crate::format::compression::{Codec, decompress};
use crate::format::frame::frame_bytes;
use crate::format::varint::Reader;
use bytes::Bytes;

/// Bytes of a record that stand in its head too, where it is in the value log: who only wants to know what it is about
/// needs not read it.
pub(crate) const BEGINNING_BYTES: usize = 512;

/// Where the bytes of a large record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In so many parts behind the head.
    Parts(u32),
    /// In a frame at this offset of the value log.
    Frame(u64),
}

/// What the head of a large record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeRecord {
    /// Length and checksum of the record.
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
    /// How it is stored, and how many bytes that takes.
    pub(crate) codec: Codec,
    pub(crate) stored_bytes: u64,
    pub(crate) place: Place,
}

/// Reads the tail of a large record's head (`RecordOut::start..end`), and gives the beginning of the record as far as it
/// stands there.
pub(crate) fn read_large(
    version: u8,
    kind: BlockKind,
    tail: &[u8],
) -> Result<(LargeRecord, &[u8]), BadBlock> {
    let mut reader = Reader::new(tail);
    let mut read = || {
        let (bytes, crc) = (reader.varint()?, reader.u32()?);
        let (codec, stored_bytes) = match version {
            1 => (Codec::Stored, bytes),
            _ => (Codec::of(reader.u8()?)?, reader.varint()?),
        };
        let place = match kind {
            BlockKind::ValueHead => Place::Frame(reader.varint()?),
            _ => Place::Parts(u32::try_from(reader.varint()?).ok()?),
        };
        let sound = bytes <= RECORD_BYTES_MAX as u64
            && (codec == Codec::Lz4 || stored_bytes == bytes)
            && stored_bytes <= bytes
            && match place {
                Place::Parts(parts) => u64::from(parts) == stored_bytes.div_ceil(PART_BYTES as u64),
                Place::Frame(offset) => offset.checked_add(frame_bytes(stored_bytes)).is_some(),
            };
        let beginning = reader.take(reader.remaining())?;
        sound.then_some((
            LargeRecord {
                bytes,
                crc,
                codec,
                stored_bytes,
                place,
            },
            beginning,
        ))
    };
    read().ok_or(BadBlock::Malformed)
}

impl LargeRecord {
    /// The record, from the bytes as they are stored.
    pub(crate) fn record(&self, stored: Bytes) -> Option<Bytes> {
        if stored.len() as u64 != self.stored_bytes {
            return None;
        }
        let record = match self.codec {
            Codec::Stored => stored,
            Codec::Lz4 => decompress(&stored, usize::try_from(self.bytes).ok()?)?.into(),
        };
        (record.len() as u64 == self.bytes && crc32c::crc32c(&record) == self.crc).then_some(record)
    }

    /// Where its frame ends in the value log; `None` if it is in parts.
    pub(crate) fn frame_end(&self) -> Option<u64> {
        match self.place {
            Place::Parts(_) => None,
            Place::Frame(offset) => Some(offset + frame_bytes(self.stored_bytes)),
        }
    }
}
