//! A commit packed into blocks, and what of it goes into parts or into frames of the value log.

use crate::Sequence;
use crate::append::commit::Commit;
use crate::catalog::packed_commit::PackedCommit;
use crate::catalog::tail::TailBlock;
use crate::engine::sled::Writes;
use crate::format::block::{self, BlockPlace};
use crate::format::compression::Compressor;
use crate::format::frame::{FRAME_HEADER_BYTES, frame};
use crate::format::pack::{self, Block, RecordIn};
use crate::generation::summary::Summary;
use bytes::Bytes;

/// Large records of one commit that come to so many bytes go to the value log. For fewer, one more wait for the disk
/// costs more than sled's rewriting.
const BESIDE_BYTES_MIN: usize = 16 << 10;
/// Small records of one commit that come to so many bytes go there too, a block of them to a frame.
const PACKED_BESIDE_BYTES_MIN: usize = 24 << 10;
/// The same with small keys in the commit: the value log is synced before these are written, one wait for the disk more.
const PACKED_BESIDE_SYNCED_BYTES_MIN: usize = 64 << 10;

/// Packs the records of a commit whose first one gets `first` into `writes`. They are one batch there where it must be
/// whole on the disk or absent: with small keys, and with a large record in parts.
pub(crate) fn pack(
    commit: &Commit,
    first: Sequence,
    with_small_keys: bool,
    compressor: &mut Compressor,
    writes: &mut Writes,
) -> PackedCommit {
    let large_bytes = commit.large_bytes();
    let beside = large_bytes >= BESIDE_BYTES_MIN;
    let packed_beside_min = match with_small_keys {
        true => PACKED_BESIDE_SYNCED_BYTES_MIN,
        false => PACKED_BESIDE_BYTES_MIN,
    };
    let packed_beside = commit.bytes() - large_bytes >= packed_beside_min;
    let mut packing = Packing {
        writes,
        beside,
        whole: with_small_keys || (large_bytes > 0 && !beside),
        payload_bytes: 0,
        large_bytes: 0,
    };
    let mut packed = PackedCommit {
        blocks: Vec::new(),
        summary: Summary::empty(first),
        tags: commit.different_tags(),
        large_bytes: 0,
    };
    let records: Vec<RecordIn<'_>> = commit.records().collect();
    let mut index = 0;
    while let Some(rest) = records.get(index..).filter(|rest| !rest.is_empty()) {
        let place = BlockPlace {
            first: first + index as u64,
            commit_offset: index as u32,
            with_small_keys,
        };
        let (block, large) = if rest[0].is_large() {
            let (head, bytes) = packing.put_large(place, &rest[0]);
            (head, Some(bytes))
        } else {
            let mut block = pack::packed_block(place, rest, compressor);
            if packed_beside {
                packing.put_beside(&mut block);
            }
            (block, None)
        };
        packing.put(&place.first.to_be_bytes(), &block.value);
        let taken = &rest[..block.count];
        taken.iter().for_each(|record| packed.summary.add(record));
        index += block.count;
        packed.blocks.push(TailBlock {
            header: block.header,
            body: block.body.into(),
            large,
        });
    }
    packed.summary.payload_bytes = packing.payload_bytes;
    packed.large_bytes = packing.large_bytes;
    packed
}

/// Where packed records go.
struct Packing<'a> {
    writes: &'a mut Writes,
    /// Large records go to the value log.
    beside: bool,
    whole: bool,
    payload_bytes: u64,
    /// Of it, what large records take in the value log.
    large_bytes: u64,
}

impl Packing<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.payload_bytes += value.len() as u64;
        if self.whole {
            self.writes.put_entry(key, value);
        } else {
            self.writes.put_block(key, value);
        }
    }

    /// Puts the records of a block into the value log.
    fn put_beside(&mut self, block: &mut Block) {
        let frame = pack::move_beside(block, self.writes.frames_end());
        self.payload_bytes += frame.len() as u64;
        self.writes.put_frame(frame);
    }

    /// Puts the bytes of a large record in their place; gives its head, and the bytes.
    fn put_large(&mut self, place: BlockPlace, record: &RecordIn<'_>) -> (Block, Bytes) {
        let frame_at = self.beside.then(|| self.writes.frames_end());
        let large = pack::large_block(place, record, frame_at);
        let stored = large.stored.as_deref().unwrap_or(record.bytes);
        if !self.beside {
            for (part, chunk) in (0..).zip(stored.chunks(block::PART_BYTES)) {
                let value = pack::part_block(place.first, part, chunk);
                self.put(&block::part_key(place.first, part), &value);
            }
            return (large.head, Bytes::copy_from_slice(record.bytes));
        }
        let frame = frame(place.first, stored);
        self.payload_bytes += frame.len() as u64;
        self.large_bytes += frame.len() as u64;
        let bytes = match large.stored {
            None => frame.slice(FRAME_HEADER_BYTES..),
            Some(_) => Bytes::copy_from_slice(record.bytes),
        };
        self.writes.put_frame(frame);
        (large.head, bytes)
    }
}
