//! What a lane needs from the log: the store in the gateway, a list in memory in the tests.

use std::time::Instant;

use tidegate_store::{
    Cursor, DeadLetterError, LaneId, ReadBatch, ReadError, ReadLimit, Sequence, Store, StoredRecord,
};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::event::committed_log::{CommitTime, CommitTimes};
use crate::event::dead_letter::letters::{Kept, Letter, Letters};

/// Exactly one record.
const ONE: ReadLimit = ReadLimit {
    records: 1,
    bytes: 1,
};

/// Outputs of one event that take more make several letters.
const LETTER_BYTES_MAX: usize = 256 << 10;

/// One lane's view of the log. Classes are priorities as numbers, 3 the most urgent.
pub(crate) trait LaneLog {
    /// The sequence after the last durable record.
    fn end(&self) -> Sequence;
    /// How far the lane is in a class.
    fn cursor(&self, class: u8) -> Cursor;
    /// Records routed to the lane in a class, from `from` on.
    fn read(&self, class: u8, from: Sequence, limit: ReadLimit) -> Result<ReadBatch, ReadError>;
    /// Whether a record is done with, or was shed.
    fn is_done(&self, class: u8, sequence: Sequence) -> bool;

    /// When a record became durable; `None` where that was before this run.
    fn commit_time(&self, sequence: Sequence, now: Instant) -> Option<CommitTime>;

    /// Reads one record; `None` when it was shed or is no longer there, which the store reports.
    fn record(&self, class: u8, sequence: Sequence) -> Result<Option<StoredRecord>, ReadError> {
        // What was shed is not sent any more, though it may still be there.
        if self.is_done(class, sequence) {
            return Ok(None);
        }
        let batch = self.read(class, sequence, ONE)?;
        Ok(batch
            .records
            .into_iter()
            .find(|record| record.sequence == sequence))
    }
}

/// What is changed in the store for a lane.
pub(crate) trait LaneStore: LaneLog {
    /// These records are done with. Gives how many were not, so far: what was shed meanwhile has its fate.
    fn confirm(&self, class: u8, sequences: &[Sequence]) -> u64;
    /// Bytes that the outputs of one letter may take; it must fit among others.
    fn letter_bytes_max(&self) -> usize;
    /// Keeps a dead letter: durable when it returns, or dropped because there are too many.
    fn keep(&self, letter: Letter<'_>) -> Result<Kept, DeadLetterError>;
}

/// A lane of the store. Waiting for the disk is announced to the runtime, so that other tasks
/// move to another thread; what the store has in memory is read in place.
pub(crate) struct StoreLog {
    pub(crate) store: Store,
    pub(crate) lane: LaneId,
    pub(crate) letters: Letters,
    pub(crate) times: CommitTimes,
}

impl LaneLog for StoreLog {
    fn end(&self) -> Sequence {
        self.store.end()
    }

    fn cursor(&self, class: u8) -> Cursor {
        self.store.cursor(self.lane, class)
    }

    fn read(&self, class: u8, from: Sequence, limit: ReadLimit) -> Result<ReadBatch, ReadError> {
        let read = || self.store.read(self.lane, class, from, limit);
        if self.store.is_in_memory(from) {
            read()
        } else {
            waiting_for_the_disk(read)
        }
    }

    fn is_done(&self, class: u8, sequence: Sequence) -> bool {
        self.store.is_done(self.lane, class, sequence)
    }

    fn commit_time(&self, sequence: Sequence, now: Instant) -> Option<CommitTime> {
        self.times.of(sequence, now)
    }
}

impl LaneStore for StoreLog {
    fn confirm(&self, class: u8, sequences: &[Sequence]) -> u64 {
        self.store.confirm(self.lane, class, sequences)
    }

    fn letter_bytes_max(&self) -> usize {
        let share = self.letters.bounds().max_size_bytes / 16;
        LETTER_BYTES_MAX.min(usize::try_from(share).unwrap_or(usize::MAX))
    }

    fn keep(&self, letter: Letter<'_>) -> Result<Kept, DeadLetterError> {
        let kept = waiting_for_the_disk(|| self.letters.keep(&[letter]))?;
        Ok(kept.first().copied().unwrap_or(Kept::Held))
    }
}

/// Runs what may wait for the disk. A runtime with one thread has no other to move tasks to.
pub(crate) fn waiting_for_the_disk<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
