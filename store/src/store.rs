//! The two handles of an open store: the one [`Writer`], and any number of [`Store`]s for readers and cursors.

mod dir_lock;
pub(crate) mod documents;
mod format_version;
pub(crate) mod group;
pub(crate) mod open;
mod stats;
pub(crate) mod writer;

use crate::api::batch::{ReadBatch, ReadLimit};
use crate::api::dead_letter::{DeadLetter, DeadLetterId};
use crate::api::error::{BackupError, DeadLetterError, LaneError, ReadError};
use crate::api::gap::{self, GapTotal};
use crate::api::lane::{Backlog, Cursor, LaneInfo};
use crate::api::search::Search;
use crate::api::status::{OpenReport, Stats, VerifyReport};
use crate::append::lanes::Lanes;
use crate::catalog::Catalog;
use crate::catalog::lane::Position;
use crate::dead_letters::DeadLetters;
use crate::engine::lock::locked;
use crate::read::acknowledging::Acknowledging;
use crate::read::backup::{Backup, BackupReport};
use crate::read::reader::Reader;
use crate::read::verify::Verification;
use crate::read::wanted::Wanted;
use crate::{LaneId, Sequence};
use dir_lock::DirLock;
use documents::Documents;
use stats::Statistics;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A handle for readers: lanes, cursors, dead letters, figures. Clone it freely.
#[derive(Clone)]
pub struct Store {
    catalog: Arc<Mutex<Catalog>>,
    lanes: Arc<Lanes>,
    reader: Reader,
    acknowledging: Arc<Acknowledging>,
    dead_letters: Arc<DeadLetters>,
    backup: Arc<Backup>,
    verification: Arc<Verification>,
    statistics: Arc<Statistics>,
    report: Arc<OpenReport>,
    documents: Arc<Documents>,
    /// Last field: the directory is free for others when everything else is closed.
    _lock: Option<Arc<DirLock>>,
}

impl Store {
    /// The number of the lane of this name; created durably if it is new. A new lane starts at the end of the log.
    pub fn lane(&self, name: &str) -> Result<LaneId, LaneError> {
        self.lanes.make(name)
    }

    /// All lanes.
    pub fn lanes(&self) -> Vec<LaneInfo> {
        let catalog = locked(&self.catalog);
        catalog
            .lanes
            .iter()
            .map(|(id, lane)| LaneInfo {
                id: *id,
                name: lane.name.clone(),
            })
            .collect()
    }

    /// Forgets a lane and what it had still to deliver: a lane nobody reads would keep every generation. `Ok(false)` if
    /// there is none of this name. Its number may be given to another lane.
    pub fn drop_lane(&self, name: &str) -> Result<bool, LaneError> {
        self.lanes.remove(name)
    }

    /// Makes durable what was confirmed until now. The writer does so by itself within a second or so: this is for what
    /// must not come again after a crash.
    pub fn persist_cursors(&self) -> Result<(), LaneError> {
        self.lanes.persist_cursors()
    }

    /// The value of a mark.
    pub fn mark(&self, key: &[u8]) -> Option<Vec<u8>> {
        locked(&self.catalog).marks.get(key).cloned()
    }

    /// All marks whose key begins so, in order of key.
    pub fn marks_with_prefix(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let catalog = locked(&self.catalog);
        let found = catalog
            .marks
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix));
        found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Keeps `bytes`, at most [`crate::DOCUMENT_BYTES_MAX`], under `name` in place of what was kept there: a file of its own,
    /// on disk when this returns, beside the log and in no backup.
    pub fn put_document(&self, name: &'static str, bytes: &[u8]) -> std::io::Result<()> {
        self.documents.put(name, bytes)
    }

    /// What is kept under `name`; an error of the kind `InvalidData` if it was damaged.
    pub fn document(&self, name: &'static str) -> std::io::Result<Option<Vec<u8>>> {
        self.documents.get(name)
    }

    /// Keeps nothing under `name` any more.
    pub fn remove_document(&self, name: &'static str) -> std::io::Result<()> {
        self.documents.remove(name)
    }

    /// Reads what is routed to a lane in a class, from `from` on. Records the lane has acknowledged already come again
    /// if `from` lies before them. An empty batch with `next` below [`Store::end`] means: call again from `next`.
    pub fn read(
        &self,
        lane: LaneId,
        class: u8,
        from: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        if locked(&self.catalog).position(lane, class).is_none() {
            return Err(ReadError::UnknownLane);
        }
        self.reader
            .read(Wanted::Lane(lane, class), from, Sequence::MAX, limit)
    }

    /// Reads all records in `from..to`, wherever they are routed.
    pub fn scan(
        &self,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        self.reader.read(Wanted::All, from, to, limit)
    }

    /// As [`Store::scan`], but of a large record perhaps only the beginning (512 bytes), where reading it whole would take
    /// more: enough to see what it is about.
    pub fn scan_beginnings(
        &self,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        self.reader.read(Wanted::Beginnings, from, to, limit)
    }

    /// Reads what is looked for in `from..to`, wherever it is routed. Generations and blocks that cannot hold it are
    /// passed without being opened or decompressed.
    pub fn search(
        &self,
        search: &Search<'_>,
        from: Sequence,
        to: Sequence,
        limit: ReadLimit,
    ) -> Result<ReadBatch, ReadError> {
        self.reader.read(Wanted::Search(search), from, to, limit)
    }

    /// The sequence after the last durable record.
    pub fn end(&self) -> Sequence {
        locked(&self.catalog).next
    }

    /// True if reading from `from` needs no disk: it lies in the tail, or at the end of the log.
    pub fn is_in_memory(&self, from: Sequence) -> bool {
        let catalog = locked(&self.catalog);
        from >= catalog.next || catalog.tail.from(from).is_some()
    }

    /// The first sequence still held; equals [`Store::end`] when nothing is.
    pub fn first(&self) -> Sequence {
        locked(&self.catalog).first()
    }

    /// The upstream acknowledged these records. At once in memory; on disk with the next commit or idle call, so that a
    /// crash repeats some and skips none. Gives how many were not acknowledged or given up before.
    pub fn confirm(&self, lane: LaneId, class: u8, sequences: &[Sequence]) -> u64 {
        self.acknowledging.confirm(lane, class, sequences)
    }

    /// True if the record was confirmed, passed over, or given up.
    pub fn is_done(&self, lane: LaneId, class: u8, sequence: Sequence) -> bool {
        let catalog = locked(&self.catalog);
        let position = catalog.position(lane, class);
        position.is_none_or(|position| position.done.contains(sequence))
    }

    /// Everything up to and including `through` counts as acknowledged, whatever is routed there. [`Store::read`] does
    /// this by itself for records that are not routed to the lane.
    pub fn advance(&self, lane: LaneId, class: u8, through: Sequence) {
        self.acknowledging
            .advance(lane, class, through.saturating_add(1));
    }

    /// How far the lane is; low 0 for an unknown lane or class.
    pub fn cursor(&self, lane: LaneId, class: u8) -> Cursor {
        let none = || Cursor {
            low: 0,
            above: Vec::new(),
        };
        locked(&self.catalog)
            .position(lane, class)
            .map_or_else(none, Position::cursor)
    }

    /// What the lane has still to deliver; all classes together.
    pub fn backlog(&self, lane: LaneId) -> Backlog {
        locked(&self.catalog).backlog(lane)
    }

    /// Keeps a dead letter; durable when it returns. The same key again replaces it.
    pub fn put_dead_letter(&self, id: DeadLetterId, bytes: &[u8]) -> Result<(), DeadLetterError> {
        self.dead_letters.put(&[(id, bytes)])
    }

    /// Keeps several dead letters, all or none; durable when it returns.
    pub fn put_dead_letters(
        &self,
        letters: &[(DeadLetterId, &[u8])],
    ) -> Result<(), DeadLetterError> {
        self.dead_letters.put(letters)
    }

    /// Dead letters from `from` on, in order; at most `limit`, and about 4 MiB.
    pub fn dead_letters(
        &self,
        from: DeadLetterId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        self.dead_letters.list(from, limit)
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: DeadLetterId) -> Result<Option<Vec<u8>>, DeadLetterError> {
        self.dead_letters.get(id)
    }

    /// Removes a dead letter; durable when it returns. `Ok(false)` if there was none.
    pub fn remove_dead_letter(&self, id: DeadLetterId) -> Result<bool, DeadLetterError> {
        self.dead_letters.remove(id)
    }

    /// Removes all dead letters, and gives how many there were. It needs no room, and gives all of theirs back.
    pub fn remove_all_dead_letters(&self) -> Result<u64, DeadLetterError> {
        self.dead_letters.remove_all()
    }

    /// Number of dead letters held.
    pub fn dead_letter_count(&self) -> u64 {
        self.dead_letters.count()
    }

    /// What each lane lost since the store was created, by class and reason.
    pub fn gap_totals(&self) -> Vec<GapTotal> {
        gap::totals(locked(&self.catalog).marks.iter())
    }

    /// Milliseconds that the store was open, over all its openings: what records expire by.
    pub fn running_ms(&self) -> u64 {
        locked(&self.catalog).running_time.now_ms()
    }

    /// What opening found and did.
    pub fn open_report(&self) -> &OpenReport {
        &self.report
    }

    /// Figures for metrics and `store status`.
    pub fn stats(&self) -> Stats {
        self.statistics.take()
    }

    /// Copies the store, as it is at this moment, to `to`, which must be absent or empty; the copy opens as a store by
    /// itself. Events come and go meanwhile. `progress` is told bytes done and bytes in all.
    pub fn backup(
        &self,
        to: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport, BackupError> {
        self.backup.run(to, progress)
    }

    /// Reads every block and dead letter and checks its checksums; `progress` is told bytes done and bytes in all.
    pub fn verify(&self, progress: impl FnMut(u64, u64)) -> VerifyReport {
        self.verification.run(progress)
    }
}
