//! What lanes are done with: confirmed, or passed over as a whole.

use super::reader::Reader;
use super::wanted::Wanted;
use crate::api::batch::ReadLimit;
use crate::catalog::Catalog;
use crate::engine::lock::locked;
use crate::{LaneId, Sequence};
use std::sync::{Arc, Mutex, MutexGuard};

/// See the module.
pub(crate) struct Acknowledging {
    catalog: Arc<Mutex<Catalog>>,
    reader: Reader,
    /// Held while something is confirmed, and while something is given up, until that is on the disk.
    in_turn: Mutex<()>,
}

impl Acknowledging {
    pub(crate) fn new(catalog: Arc<Mutex<Catalog>>, reader: Reader) -> Acknowledging {
        Acknowledging {
            catalog,
            reader,
            in_turn: Mutex::new(()),
        }
    }

    /// Nothing is confirmed as long as this is held.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        locked(&self.in_turn)
    }

    /// Acknowledges single records; gives how many were not acknowledged or given up before.
    pub(crate) fn confirm(&self, lane: LaneId, class: u8, sequences: &[Sequence]) -> u64 {
        let _in_turn = self.hold();
        locked(&self.catalog).confirm(lane, class, sequences)
    }

    /// Acknowledges everything below `end`: whole generations at once, the last part record by record so that the
    /// backlog stays exact.
    pub(crate) fn advance(&self, lane: LaneId, class: u8, end: Sequence) {
        let _in_turn = self.hold();
        let mut from = locked(&self.catalog).advance_generations(lane, class, end);
        while from < end.min(locked(&self.catalog).next) {
            let limit = ReadLimit {
                records: 4096,
                bytes: 1 << 20,
            };
            let wanted = Wanted::Lane(lane, class);
            let Ok(batch) = self.reader.read(wanted, from, end, limit) else {
                break;
            };
            let found: Vec<_> = batch.records.iter().map(|record| record.sequence).collect();
            locked(&self.catalog).confirm(lane, class, &found);
            from = batch.next.max(from + 1);
        }
        locked(&self.catalog).advance(lane, class, end);
    }
}
