//! Frames of a generation's value log, a file beside its database that is only appended to: each holds a large record, or
//! the records of a packed block, as they are stored. A commit counts only with all frames that its blocks name.
//!
//! ```text
//! value log  frames, each at the offset that its block gives
//! frame      version u8 = 1 · 3 bytes 0 · crc32c u32 of everything else in the frame
//!            sequence u64 · length u64 · bytes
//! ```
//!
//! Integers are little endian. The sequence is that of the block and a part of the checksum: a frame found under another
//! block is damaged.

use crate::Sequence;
use crate::format::varint::Reader;
use bytes::{BufMut, Bytes, BytesMut};

const FRAME_VERSION: u8 = 1;
/// What stands before the bytes of a frame.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;

/// Bytes of a frame that holds so many.
pub(crate) fn frame_bytes(stored_bytes: u64) -> u64 {
    stored_bytes.saturating_add(FRAME_HEADER_BYTES as u64)
}

/// A frame with these bytes, which stand behind [`FRAME_HEADER_BYTES`].
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

/// The bytes in a frame; `None` if it is not the whole frame of this sequence.
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
