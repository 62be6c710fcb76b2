//! The one handle that appends.

use super::dir_lock::DirLock;
use crate::Sequence;
use crate::api::error::CommitError;
use crate::append::appender::Appender;
use crate::append::commit::{Commit, Committed};
use crate::catalog::Catalog;
use crate::catalog::open_generations::OpenGenerations;
use crate::engine::lock::locked;
use crate::generation::high_water::HighWater;
use crate::room::Room;
use crate::room::expire::Expiry;
use crate::room::give_up::GapWriter;
use crate::room::shed::{Shed, Shedding};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The one handle that appends. It belongs to one thread, and blocks it while the disk works.
pub struct Writer {
    pub(super) catalog: Arc<Mutex<Catalog>>,
    pub(super) open: Arc<OpenGenerations>,
    pub(super) appender: Arc<Mutex<Appender>>,
    pub(super) room: Room,
    pub(super) shedding: Shedding,
    pub(super) expiry: Expiry,
    /// The store's directory.
    pub(super) dir: PathBuf,
    /// Last field: the directory is free for others when everything else is closed.
    pub(super) lock: Option<Arc<DirLock>>,
}

impl Writer {
    /// The sequence that the next record will get.
    pub fn next_sequence(&self) -> Sequence {
        locked(&self.catalog).next
    }

    /// Makes records and marks durable, all or nothing. When it returns `Ok` they survive a power cut; on any error none
    /// of them may be acknowledged.
    pub fn commit(&mut self, commit: &Commit) -> Result<Committed, CommitError> {
        commit.check()?;
        let mut appender = locked(&self.appender);
        if commit.is_empty() && commit.marks().is_empty() {
            let next = locked(&self.catalog).next;
            return Ok(Committed {
                first: next,
                last: next - 1,
                bytes: 0,
                sync_micros: 0,
            });
        }
        let in_place = self.lock.as_ref().map_or(Ok(()), |lock| lock.in_place());
        in_place.map_err(|why| CommitError::Failed {
            replaced: false,
            why,
        })?;
        self.room.make(&mut appender, commit.bytes() as u64)?;
        appender.commit(commit)
    }

    /// With `when_full` set to [`crate::WhenFull::Shed`], makes room for a commit of `bytes` after one was refused for
    /// lack of it: gives up the least urgent class first and of that the oldest generation, whatever lane it is for, until
    /// there is room or nothing left. Each step is durable with its account, and all or nothing.
    pub fn shed(&mut self, bytes: u64, mut gap_writer: GapWriter<'_>) -> Shed {
        let mut appender = locked(&self.appender);
        self.shedding
            .shed(&mut appender, &self.room, bytes, &mut gap_writer)
    }

    /// Gives up what nobody took for `expire_after_ms`, a generation at a time. Call it about once a second.
    pub fn expire(&mut self, mut gap_writer: GapWriter<'_>) -> Shed {
        let mut appender = locked(&self.appender);
        self.expiry.expire(&mut appender, &mut gap_writer)
    }

    /// Writes the cursors that moved since the last commit, deletes what has expired, closes what is not read. Call it
    /// when there was nothing to commit for about a second. `Ok(true)` if something was written.
    pub fn persist_cursors_if_dirty(&mut self) -> Result<bool, CommitError> {
        let mut appender = locked(&self.appender);
        self.room.retention.delete_expired();
        self.open.close_long_idle();
        appender.write_cursors()
    }
}

impl Drop for Writer {
    /// An orderly end: the cursors as they are, and how far the log went, so that damage done meanwhile is noticed.
    fn drop(&mut self) {
        let mut appender = locked(&self.appender);
        let _ = appender.write_cursors();
        let high_water = HighWater {
            generation: appender.generation(),
            next: locked(&self.catalog).next,
        };
        let _ = high_water.save(&self.dir);
    }
}

#[cfg(test)]
#[path = "beyond_32_bits_tests.rs"]
mod beyond_32_bits_tests;
#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
