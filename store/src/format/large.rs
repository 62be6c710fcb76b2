//! Large records: what their heads say, and where their bytes are. `block.rs` defines the heads and the parts.
//!
//! Few of them in a commit are cut into parts, values among the blocks. sled writes such a value several times, as its
//! leaves fill and split; many bytes go once instead, as frames into the generation's value log, a file beside the
//! database that is only appended to. A frame is on the disk before the commit whose head names it is written.
//!
//! ```text
//! value log  frames, each at the offset that its head gives
//! frame      version u8 = 1 · 3 bytes 0 · crc32c u32 of everything else in the frame
//!            sequence u64 · length u64 · bytes: a large record, or the records of a packed block, as they are stored
//! ```
//!
//! Integers are little endian. The sequence is part of the checksum: a frame found under another record's head is
//! damaged.

use crate::Sequence;
use crate::api::limits::RECORD_BYTES_MAX;
use crate::format::block::{BadBlock, BlockKind, PART_BYTES};
use crate::format::compression::{Codec, decompress};
use crate::format::varint::Reader;
use bytes::{BufMut, Bytes, BytesMut};

const FRAME_VERSION: u8 = 1;
/// What stands before the bytes of a frame.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// Bytes of a record that stand in its head too, where it is in the value log: who only wants to know what it is about
/// needs not read it.
pub(crate) const BEGINNING_BYTES: usize = 512;
/// Large records of one commit that come to so many bytes go to the value log. For fewer, one more wait for the disk
/// costs more than sled's rewriting.
pub(crate) const BESIDE_BYTES_MIN: usize = 16 << 10;

/// Small records of one commit that come to so many bytes go to the value log too, a block of them to a frame.
pub(crate) const PACKED_BESIDE_BYTES_MIN: usize = 24 << 10;
/// The same where the value log must be synced before the commit is written.
pub(crate) const PACKED_BESIDE_SYNCED_BYTES_MIN: usize = 64 << 10;

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

/// Bytes of a frame that holds so many.
pub(crate) fn frame_bytes(stored_bytes: u64) -> u64 {
    stored_bytes.saturating_add(FRAME_HEADER_BYTES as u64)
}

/// The frame of a record; its bytes stand behind [`FRAME_HEADER_BYTES`].
pub(crate) fn frame(sequence: Sequence, stored: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(FRAME_HEADER_BYTES + stored.len());
    out.put_slice(&[FRAME_VERSION, 0, 0, 0, 0, 0, 0, 0]);
    out.put_u64_le(sequence);
    out.put_u64_le(stored.len() as u64);
    out.put_slice(stored);
    let crc = frame_checksum(&out);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out.freeze()
}

/// The bytes in a frame; `None` if it is not the whole frame of this record.
pub(crate) fn unframed(sequence: Sequence, frame: Bytes) -> Option<Bytes> {
    let mut reader = Reader::new(&frame);
    let fixed = reader.take(4)?;
    let (crc, found, stored_bytes) = (reader.u32()?, reader.u64()?, reader.u64()?);
    let sound = fixed[0] == FRAME_VERSION
        && found == sequence
        && stored_bytes == reader.remaining() as u64
        && crc == frame_checksum(&frame);
    sound.then(|| frame.slice(FRAME_HEADER_BYTES..))
}

fn frame_checksum(frame: &[u8]) -> u32 {
    let crc = crc32c::crc32c(frame.get(..4).unwrap_or_default());
    crc32c::crc32c_append(crc, frame.get(8..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_gives_its_bytes_and_any_other_or_harmed_one_gives_none() {
        let bytes: Vec<u8> = (0..300u32).map(|n| n as u8).collect();
        let whole = frame(7, &bytes);
        assert_eq!(whole.len() as u64, frame_bytes(300));
        assert_eq!(unframed(7, whole.clone()).unwrap(), bytes);
        assert_eq!(unframed(8, whole.clone()), None, "another record's");
        for bit in 0..whole.len() * 8 {
            let mut harmed = whole.to_vec();
            harmed[bit / 8] ^= 1 << (bit % 8);
            // The three bytes behind the version are for later ones, and the checksum covers them.
            assert_eq!(unframed(7, harmed.into()), None, "bit {bit}");
        }
        for len in 0..whole.len() {
            assert_eq!(unframed(7, whole.slice(..len)), None, "cut at {len}");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert_eq!(unframed(7, longer.into()), None);
        assert_eq!(unframed(7, frame(7, &[])).unwrap().len(), 0);
    }
}
