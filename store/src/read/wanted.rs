//! Which records a reader wants, and what can be passed without them.

use crate::LaneId;
use crate::api::search::Search;
use crate::format::block::{BlockHeader, RecordOut};
use crate::format::bloom::may_have;
use crate::generation::summary::Summary;

/// Which records are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    All,
    /// All of them; of one in the value log what stands in its head.
    Beginnings,
    Lane(LaneId, u8),
    Search(&'a Search<'a>),
}

impl Wanted<'_> {
    /// False if nothing in the block is wanted; `filter` is over its tags.
    pub(crate) fn block(self, header: &BlockHeader, filter: &[u8]) -> bool {
        match self {
            Wanted::All | Wanted::Beginnings => true,
            Wanted::Lane(lane, class) => header.masks.contains(lane, class),
            Wanted::Search(search) => {
                search.times(header.time_min_ms, header.time_max_ms)
                    && search.tags.iter().all(|tag| may_have(filter, *tag))
            }
        }
    }

    /// False if nothing in the generation is wanted.
    pub(crate) fn generation(self, summary: &Summary) -> bool {
        match self {
            Wanted::All | Wanted::Beginnings => true,
            Wanted::Lane(lane, class) => summary.share(lane, class).records > 0,
            Wanted::Search(search) => {
                search.times(summary.time_min_ms, summary.time_max_ms)
                    && search.tags.iter().all(|tag| summary.may_have(*tag))
            }
        }
    }

    pub(super) fn record(self, record: &RecordOut<'_>) -> bool {
        match self {
            Wanted::All | Wanted::Beginnings => true,
            Wanted::Lane(lane, class) => record.is_for(lane, class),
            Wanted::Search(search) => search.times(record.time_ms, record.time_ms),
        }
    }
}
