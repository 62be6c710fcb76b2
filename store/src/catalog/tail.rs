//! The most recent blocks, kept in memory as they were before compression: a forwarder that keeps up neither touches the
//! disk nor decompresses.

use crate::Sequence;
use crate::format::block::BlockHeader;
use bytes::Bytes;
use std::collections::VecDeque;

/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 192;

/// A block, and for a large record its joined bytes.
#[derive(Clone)]
pub(crate) struct TailBlock {
    pub(crate) header: BlockHeader,
    pub(crate) body: Bytes,
    pub(crate) large: Option<Bytes>,
}

impl TailBlock {
    fn cost(&self) -> usize {
        ENTRY_BYTES + self.body.len() + self.large.as_ref().map_or(0, Bytes::len)
    }
}

/// A contiguous run of blocks up to the end of the log, bounded in bytes.
pub(crate) struct Tail {
    blocks: VecDeque<TailBlock>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Tail {
        Tail {
            blocks: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Appends the newest block, and lets go of the oldest ones beyond the bound.
    pub(crate) fn push(&mut self, block: TailBlock) {
        if self
            .blocks
            .back()
            .is_some_and(|last| last.header.last() + 1 != block.header.place.first)
        {
            self.clear();
        }
        self.bytes += block.cost();
        self.blocks.push_back(block);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.blocks.pop_front() else {
                break;
            };
            self.bytes -= oldest.cost();
        }
    }

    /// Lets go of the blocks below `end`: they are not to be read any more.
    pub(crate) fn forget_below(&mut self, end: Sequence) {
        while self.blocks.front().is_some_and(|b| b.header.last() < end) {
            self.bytes -= self.blocks.pop_front().map_or(0, |block| block.cost());
        }
    }

    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.bytes = 0;
    }

    /// The blocks from the one holding `from`; `None` if that one is no longer (or never was) here.
    pub(crate) fn from(&self, from: Sequence) -> Option<impl Iterator<Item = &TailBlock>> {
        let first = self.blocks.front()?.header.place.first;
        let at = self
            .blocks
            .partition_point(|block| block.header.last() < from);
        (from >= first && at < self.blocks.len()).then(|| self.blocks.range(at..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::BlockPlace;
    use crate::format::compression::Compressor;
    use crate::format::pack::{RecordIn, packed_block};

    fn block(first: Sequence) -> TailBlock {
        let records = [RecordIn {
            time_ms: 1,
            routes: &[],
            tags: &[],
            bytes: &[7; 500],
        }; 2];
        let block = packed_block(
            BlockPlace {
                first,
                commit_offset: 0,
                with_small_keys: false,
            },
            &records,
            &mut Compressor::new(true),
        );
        TailBlock {
            header: block.header,
            body: block.body.into(),
            large: None,
        }
    }

    #[test]
    fn the_tail_holds_the_newest_blocks_within_its_bound() {
        let mut tail = Tail::new(4000);
        (0..10).for_each(|n| tail.push(block(1 + 2 * n)));
        assert!(tail.bytes <= 4000);
        assert!(tail.from(1).is_none());
        let firsts: Vec<_> = tail
            .from(18)
            .unwrap()
            .map(|b| b.header.place.first)
            .collect();
        assert_eq!(firsts, [17, 19]);
        assert!(tail.from(21).is_none());
    }

    #[test]
    fn a_gap_empties_the_tail_rather_than_hide_records() {
        let mut tail = Tail::new(100_000);
        tail.push(block(1));
        tail.push(block(5));
        assert!(tail.from(1).is_none());
        assert!(tail.from(5).is_some());
    }
}
