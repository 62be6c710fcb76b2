//! Compression of blocks: LZ4 (block format, https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md), tried only
//! where it pays. Readings of sensors repeat their keys and shrink to a third; what is compressed or random already
//! must not cost a try each time.

/// How the bytes of a block or of a large record are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As they are.
    Stored = 0,
    /// LZ4.
    Lz4 = 1,
}

impl Codec {
    pub(crate) fn of(byte: u8) -> Option<Codec> {
        match byte {
            0 => Some(Codec::Stored),
            1 => Some(Codec::Lz4),
            _ => None,
        }
    }
}

/// Blocks that are not tried after one that did not shrink.
const SKIP_BLOCKS: u32 = 32;
/// What compression must save to be worth undoing it at each reading: an eighth.
const GAIN_MIN: usize = 8;
/// How much of a large record is compressed to see whether it shrinks.
const PROBE_BYTES: usize = 16 << 10;
/// No LZ4 block grows by more than this factor.
const GROWTH_MAX: u64 = 255;

/// Compresses, and remembers how well that went.
#[derive(Debug)]
pub(crate) struct Compressor {
    off: bool,
    /// Blocks still to be stored as they are.
    skip: u32,
    /// Compressed bytes for 1024 raw ones, of late.
    per_kib: usize,
    out: Vec<u8>,
}

impl Compressor {
    /// `off` stores everything as it is.
    pub(crate) fn new(off: bool) -> Compressor {
        Compressor {
            off,
            skip: 0,
            per_kib: 1024,
            out: Vec::new(),
        }
    }

    /// Raw bytes that are likely to fit into `room` compressed ones.
    pub(crate) fn raw_for(&self, room: usize) -> usize {
        match self.off || self.skip > 0 {
            true => room,
            false => room * 1024 / self.per_kib,
        }
    }

    /// The compressed bytes, if that is worth while.
    pub(crate) fn compress(&mut self, raw: &[u8]) -> Option<&[u8]> {
        if self.off || raw.len() < 64 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let bound = lz4_flex::block::get_maximum_output_size(raw.len());
        if self.out.len() < bound {
            self.out.resize(bound, 0);
        }
        let count = lz4_flex::block::compress_into(raw, &mut self.out).ok()?;
        let per_kib = (count * 1024 / raw.len()).clamp(64, 1024);
        // A little on the safe side: a block that comes out too large is packed twice.
        self.per_kib = (self.per_kib + per_kib * 3).div_ceil(4) + 4;
        if count > raw.len() - raw.len() / GAIN_MIN {
            self.skip = SKIP_BLOCKS;
            self.per_kib = 1024;
            return None;
        }
        self.out.get(..count)
    }
}

/// A large record compressed, if that is worth while: its beginning tells.
pub(crate) fn compress_large(raw: &[u8]) -> Option<Vec<u8>> {
    let pays = |raw: &[u8]| {
        let out = lz4_flex::block::compress(raw);
        (out.len() < raw.len() - raw.len() / GAIN_MIN).then_some(out)
    };
    pays(raw.get(..PROBE_BYTES).unwrap_or(raw))?;
    pays(raw)
}

/// The raw bytes; `None` unless there are exactly `raw_bytes` of them, which the caller has bounded.
pub(crate) fn decompress(stored: &[u8], raw_bytes: usize) -> Option<Vec<u8>> {
    if raw_bytes as u64 > stored.len() as u64 * GROWTH_MAX {
        return None;
    }
    let raw = lz4_flex::block::decompress(stored, raw_bytes).ok()?;
    (raw.len() == raw_bytes).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(words in prop::collection::vec(0usize..5, 200..2000)) {
            let words: Vec<_> = words.iter().map(|word| ["celsius", "21.5", ",", "{", "floor"][*word]).collect();
            let raw = words.concat().into_bytes();
            let mut compressor = Compressor::new(false);
            let stored = compressor.compress(&raw).unwrap().to_vec();
            prop_assert!(stored.len() < raw.len());
            prop_assert_eq!(decompress(&stored, raw.len()), Some(raw));
        }

        #[test]
        fn noise_gives_the_promised_length_or_nothing(noise in prop::collection::vec(any::<u8>(), 0..300), raw_bytes in 0usize..40_000) {
            prop_assert!(decompress(&noise, raw_bytes).is_none_or(|raw| raw.len() == raw_bytes));
        }
    }

    #[test]
    fn what_does_not_shrink_is_not_tried_each_time() {
        let mut random = fastrand(1);
        let noise: Vec<u8> = (0..4000).map(|_| random() as u8).collect();
        let text = b"the same again, ".repeat(100);
        let mut compressor = Compressor::new(false);
        assert!(compressor.compress(&noise).is_none());
        for _ in 0..SKIP_BLOCKS {
            assert!(compressor.compress(&text).is_none(), "tried too soon");
        }
        assert!(compressor.compress(&text).is_some());
    }

    #[test]
    fn a_length_that_no_block_can_have_is_refused_before_room_is_made() {
        assert_eq!(decompress(&[0; 4], usize::MAX), None);
    }

    fn fastrand(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 11
        }
    }
}
