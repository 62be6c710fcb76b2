//! What a read takes and gives.

use crate::Sequence;
use bytes::Bytes;

/// How much one call may return. At least one record comes back if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records at most.
    pub records: usize,
    /// Stop after the record that reaches this many bytes.
    pub bytes: usize,
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the log.
    pub sequence: Sequence,
    /// The time it was appended with.
    pub time_ms: u64,
    /// Its bytes: a view into the block of up to 4 KiB it was stored in, which lives as long as this does.
    pub bytes: Bytes,
}

/// What a call found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBatch {
    /// In order of sequence. May be empty although there is more: then call again from `next`.
    pub records: Vec<StoredRecord>,
    /// Where to go on; everything before it was looked at.
    pub next: Sequence,
}
