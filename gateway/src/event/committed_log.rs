//! The log as it grows, for whoever follows it: each follower has a place of its own in the log, and a commit only wakes
//! it. What a slow one has still to read lies in the store, not in memory.

mod notes;
mod times;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_store::{ReadBatch, ReadError, ReadLimit, Sequence, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::delivery::expiry::{CLOCK_KEY, ExpiryClock};
use super::record::{self, Record};
use crate::time::clock;
use crate::time::task;
pub use notes::Note;
use notes::Notes;
pub use times::{CommitTime, CommitTimes};

/// What a follower reads at once.
const READ: ReadLimit = ReadLimit {
    records: 256,
    bytes: 64 << 10,
};

/// The log, shared by the commit thread and all that follow.
#[derive(Clone)]
pub struct CommittedLog(Arc<Shared>);

struct Shared {
    store: Store,
    /// The sequence after the last record that followers may read.
    end: watch::Sender<Sequence>,
    followers: AtomicUsize,
    notes: Mutex<Notes>,
    mark: Option<Arc<str>>,
    times: CommitTimes,
    expiry: ExpiryClock,
}

impl Shared {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommittedLog {
    /// The log of a store.
    pub fn new(store: Store) -> CommittedLog {
        CommittedLog::with(store, None)
    }

    /// The log of a store, opened by a start with this mark.
    pub fn of_start(store: Store, mark: &Arc<str>) -> CommittedLog {
        CommittedLog::with(store, Some(Arc::clone(mark)))
    }

    fn with(store: Store, mark: Option<Arc<str>>) -> CommittedLog {
        CommittedLog(Arc::new(Shared {
            mark,
            end: watch::Sender::new(store.end()),
            followers: AtomicUsize::new(0),
            notes: Mutex::default(),
            times: CommitTimes::new(store.end()),
            expiry: ExpiryClock::new(
                store.running_ms(),
                store.mark(CLOCK_KEY.as_bytes()).as_deref(),
                clock::boot(),
                clock::now(),
            ),
            store,
        }))
    }

    /// Tells that everything before `end` is durable. `notes` are about the records from `first` on, by their number.
    pub fn committed(&self, first: Sequence, end: Sequence, notes: &[(usize, Note)]) {
        if !notes.is_empty() && self.is_followed() {
            let mut all = self.0.notes();
            for (at, note) in notes {
                all.set(first.saturating_add(*at as Sequence), *note);
            }
        }
        self.0.end.send_replace(end);
    }

    /// When the commits of this run became durable.
    pub fn times(&self) -> CommitTimes {
        self.0.times.clone()
    }

    /// The clock that messages expire by.
    pub fn expiry(&self) -> &ExpiryClock {
        &self.0.expiry
    }

    /// The sequence after the last durable record, as it changes.
    pub fn durable(&self) -> watch::Receiver<Sequence> {
        self.0.end.subscribe()
    }

    /// The sequence after the last durable record.
    pub fn end(&self) -> Sequence {
        *self.0.end.borrow()
    }

    /// The mark of the start, which ends the way that events leave with.
    pub fn mark(&self) -> Option<&str> {
        self.0.mark.as_deref()
    }

    /// Whether anybody follows.
    pub fn is_followed(&self) -> bool {
        self.0.followers.load(Ordering::Acquire) > 0
    }

    /// Follows the log from its end on.
    pub fn follow(&self) -> Follower {
        self.0.followers.fetch_add(1, Ordering::AcqRel);
        let mut end = self.0.end.subscribe();
        let next = *end.borrow_and_update();
        Follower {
            log: Arc::clone(&self.0),
            end,
            next,
            reading: None,
        }
    }
}

/// A record that was committed.
#[derive(Debug, Clone)]
pub struct CommittedRecord {
    /// Its place in the log.
    pub sequence: Sequence,
    /// The event and where it goes.
    pub record: Record,
    /// What followers must know beside.
    pub note: Option<Note>,
}

/// Why a follower cannot go on where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowError {
    /// So many records are no longer kept. The next call goes on behind them.
    Missed(u64),
    /// The store cannot be read.
    Unreadable(String),
}

impl std::fmt::Display for FollowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FollowError::Missed(count) => write!(
                f,
                "it lags behind: the next {count} events for it are no longer kept; read faster or raise keep_for"
            ),
            FollowError::Unreadable(why) => write!(f, "the store cannot be read: {why}"),
        }
    }
}

impl std::error::Error for FollowError {}

/// A place in the log that moves on.
pub struct Follower {
    log: Arc<Shared>,
    end: watch::Receiver<Sequence>,
    next: Sequence,
    /// A read from the disk under way.
    reading: Option<JoinHandle<Result<ReadBatch, ReadError>>>,
}

impl Follower {
    /// The next records, as soon as there are some: in order, none left out. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`FollowError`] when some are gone or cannot be read.
    pub async fn next(&mut self) -> Result<Vec<CommittedRecord>, FollowError> {
        loop {
            let found = match &mut self.reading {
                Some(reading) => {
                    let read = reading.await;
                    self.reading = None;
                    let read = read.map_err(|error| FollowError::Unreadable(error.to_string()))?;
                    self.take(read)?
                }
                None => {
                    let end = *self.end.borrow_and_update();
                    if self.next >= end {
                        if self.end.changed().await.is_err() {
                            // Not while this follower holds the log.
                            std::future::pending::<()>().await;
                        }
                        continue;
                    }
                    if !self.log.store.is_in_memory(self.next) {
                        let (store, next) = (self.log.store.clone(), self.next);
                        let read = move || store.scan(next, end, READ);
                        self.reading = Some(task::blocking("a read of the log", read));
                        continue;
                    }
                    self.take(self.log.store.scan(self.next, end, READ))?
                }
            };
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    fn take(
        &mut self,
        read: Result<ReadBatch, ReadError>,
    ) -> Result<Vec<CommittedRecord>, FollowError> {
        let batch = read.map_err(|error| FollowError::Unreadable(error.to_string()))?;
        let whole = batch.records.iter().zip(self.next..);
        let whole = whole
            .take_while(|(record, at)| record.sequence == *at)
            .count();
        let reached = self.next + whole as Sequence;
        if whole == 0 && batch.next > self.next {
            let behind = batch.records.first().map_or(batch.next, |r| r.sequence);
            let missed = behind - self.next;
            self.next = behind;
            return Err(FollowError::Missed(missed));
        }
        self.next = reached;
        let notes = self.log.notes();
        let found = batch.records[..whole].iter().filter_map(|stored| {
            // What cannot be decoded is told by `store verify`.
            Some(CommittedRecord {
                sequence: stored.sequence,
                record: record::decode(&stored.bytes).ok()?,
                note: notes.get(stored.sequence),
            })
        });
        Ok(found.collect())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.log.followers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.log.notes().clear();
        }
    }
}

#[cfg(test)]
mod tests;
