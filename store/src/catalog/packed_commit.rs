//! A commit as blocks, as it is written and then taken into the catalog.

use super::tail::TailBlock;
use crate::generation::summary::Summary;

/// See the module.
pub(crate) struct PackedCommit {
    pub(crate) blocks: Vec<TailBlock>,
    pub(crate) summary: Summary,
    /// The tags of the records, each once.
    pub(crate) tags: Vec<u64>,
    /// Bytes of the frames that hold a large record.
    pub(crate) large_bytes: u64,
}

/// One durable change of a mark: a value to set, or `None` to forget the key.
pub(crate) type MarkChange = (Vec<u8>, Option<Vec<u8>>);
