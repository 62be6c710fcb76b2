//! Room: when to refuse, and what is done before. What is done with is deleted, of what little is needed it is rewritten;
//! what was not delivered is given up only where the user chose that.

pub(crate) mod expire;
pub(crate) mod give_up;
pub(crate) mod retention;
pub(crate) mod rewrite;
pub(crate) mod shed;

use crate::api::error::CommitError;
use crate::append::appender::Appender;
use crate::catalog::Catalog;
use crate::dead_letters::DeadLetters;
use crate::engine::free_space::FreeSpace;
use crate::engine::lock::locked;
use retention::Retention;
use rewrite::Rewriting;
use std::sync::{Arc, Mutex};

/// Room that a commit may take beyond its records: sled grows its file by half a MiB at a time, and a generation may
/// begin.
const SLACK_BYTES: u64 = 2 << 20;

/// Makes room, and says when there is none.
pub(crate) struct Room {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) dead_letters: Arc<DeadLetters>,
    pub(crate) space: Arc<FreeSpace>,
    pub(crate) retention: Retention,
    pub(crate) rewriting: Rewriting,
    pub(crate) max_size_bytes: u64,
    /// Where room is made by rewriting, there must be some to rewrite a generation in: so much, or what the largest one
    /// holds.
    pub(crate) reserve_bytes_min: Option<u64>,
}

impl Room {
    /// Lets go of what has expired, and refuses a commit of `bytes` if there is no room for it.
    pub(crate) fn make(&self, appender: &mut Appender, bytes: u64) -> Result<(), CommitError> {
        self.retention.delete_expired();
        loop {
            let Err(lacking) = self.check(bytes) else {
                return Ok(());
            };
            let made =
                self.retention.delete_one_done(appender) || self.rewriting.rewrite_one(appender);
            if !made {
                return Err(lacking);
            }
        }
    }

    fn check(&self, bytes: u64) -> Result<(), CommitError> {
        self.space.check()?;
        let max_size_bytes = self.max_size_bytes;
        let slack_bytes = SLACK_BYTES.min(max_size_bytes / 8);
        let (generations_bytes, reserve_bytes) = {
            let catalog = locked(&self.catalog);
            let largest = || catalog.generations.iter().map(|g| g.summary.payload_bytes);
            let reserve = self.reserve_bytes_min;
            let reserve = reserve.map(|least| largest().max().unwrap_or(0).max(least));
            (catalog.disk_bytes(), reserve.unwrap_or(0))
        };
        let need_bytes = (2 * bytes)
            .saturating_add(slack_bytes)
            .saturating_add(reserve_bytes);
        let disk_bytes = generations_bytes + self.dead_letters.disk_bytes();
        if disk_bytes.saturating_add(need_bytes) <= max_size_bytes {
            return Ok(());
        }
        Err(CommitError::Full {
            disk_bytes,
            max_size_bytes,
        })
    }
}
