//! A commit packed into blocks.

use crate::Sequence;
use crate::append::commit::Commit;
use crate::catalog::packed_commit::PackedCommit;
use crate::catalog::tail::TailBlock;
use crate::format::block::{self, BlockPlace};
use crate::format::compression::Compressor;
use crate::format::pack::{self, RecordIn};
use crate::generation::summary::Summary;
use bytes::Bytes;

/// Packs the records of a commit whose first one gets `first`, and gives each key and value to `put`.
pub(crate) fn pack(
    commit: &Commit,
    first: Sequence,
    with_small_keys: bool,
    compressor: &mut Compressor,
    mut put: impl FnMut(&[u8], &[u8]),
) -> PackedCommit {
    let mut packed = PackedCommit {
        blocks: Vec::new(),
        summary: Summary::empty(first),
        tags: commit.different_tags(),
    };
    let records: Vec<RecordIn<'_>> = commit.records().collect();
    let mut index = 0;
    while let Some(rest) = records.get(index..).filter(|rest| !rest.is_empty()) {
        let sequence = first + index as u64;
        let place = BlockPlace {
            first: sequence,
            commit_offset: index as u32,
            with_small_keys,
        };
        let (block, large) = if rest[0].is_large() {
            let large = pack::large_block(place, &rest[0]);
            let stored = large.stored.as_deref().unwrap_or(rest[0].bytes);
            packed.summary.payload_bytes += put_parts(sequence, stored, &mut put);
            (large.head, Some(Bytes::copy_from_slice(rest[0].bytes)))
        } else {
            (pack::packed_block(place, rest, compressor), None)
        };
        put(&sequence.to_be_bytes(), &block.value);
        packed.summary.payload_bytes += block.value.len() as u64;
        let taken = &rest[..block.count];
        taken.iter().for_each(|record| packed.summary.add(record));
        index += block.count;
        packed.blocks.push(TailBlock {
            header: block.header,
            body: block.body.into(),
            large,
        });
    }
    packed
}

fn put_parts(first: Sequence, bytes: &[u8], put: &mut impl FnMut(&[u8], &[u8])) -> u64 {
    let mut written = 0;
    for (part, chunk) in (0..).zip(bytes.chunks(block::PART_BYTES)) {
        let value = pack::part_block(first, part, chunk);
        put(&block::part_key(first, part), &value);
        written += value.len() as u64;
    }
    written
}
