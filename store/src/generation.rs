//! One generation as the store keeps it in memory, and what belongs to it outside sled: its name, its figures, what a
//! rewritten one still holds, and where it goes when it is done with or cannot be used.
//!
//! A generation's range ends where the next one begins, so records that a failed commit left behind in an abandoned
//! generation are outside every range and never come to light.

pub(crate) mod beginnings;
pub(crate) mod high_water;
pub(crate) mod holes;
pub(crate) mod leftovers;
pub(crate) mod name;
pub(crate) mod quarantine;
pub(crate) mod ranges;
pub(crate) mod removal;
pub(crate) mod running_time;
pub(crate) mod summary;
pub(crate) mod survivors;

use crate::engine::sled::Engine;
use crate::engine::{clock, disk};
use crate::format::route::{route_byte, route_parts};
use crate::{LaneId, Sequence};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use summary::Summary;
use survivors::Survivors;

/// A generation in memory.
pub(crate) struct Generation {
    pub(crate) id: u64,
    pub(crate) dir: PathBuf,
    pub(crate) summary: Summary,
    /// Nothing is appended any more.
    pub(crate) sealed: bool,
    pub(crate) disk_bytes: u64,
    /// Bytes of the frames that hold a large record, while it is written.
    pub(crate) large_bytes: u64,
    /// Open while it is written or was read lately.
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) last_used: Instant,
    /// Some of its bytes could not be read: it is kept in quarantine instead of being deleted.
    pub(crate) damaged: bool,
    /// A stored cursor had no room to say what is left here: it is counted from the records.
    pub(crate) uncounted: bool,
    /// What a rewritten generation holds; the other sequences in its range were let go on purpose.
    pub(crate) survivors: Option<Arc<Survivors>>,
    /// Unacknowledged deliveries when it was last looked at for rewriting.
    pub(crate) looked_at: Option<u64>,
    /// The running time when its first record came.
    pub(crate) begun_ms: u64,
    /// The running time when its newest record came.
    pub(crate) newest_ms: u64,
    /// Unacknowledged records per route (class and lane); routes without any are absent.
    unacknowledged: Vec<(u8, u64)>,
}

impl Generation {
    pub(crate) fn new(id: u64, dir: &Path, summary: Summary, sealed: bool) -> Generation {
        Generation {
            id,
            dir: dir.to_path_buf(),
            summary,
            sealed,
            disk_bytes: disk::allocated_bytes(dir),
            large_bytes: 0,
            engine: None,
            last_used: clock::now(),
            damaged: false,
            uncounted: false,
            survivors: None,
            looked_at: None,
            begun_ms: u64::MAX,
            newest_ms: u64::MAX,
            unacknowledged: Vec::new(),
        }
    }

    /// Records routed to the lane in the class that are not acknowledged.
    pub(crate) fn unacknowledged(&self, lane: LaneId, class: u8) -> u64 {
        let route = route_byte(lane, class);
        self.unacknowledged
            .iter()
            .find(|(r, _)| *r == route)
            .map_or(0, |(_, records)| *records)
    }

    /// True if every lane is done with every record here.
    pub(crate) fn is_done(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// True if some lane has to acknowledge something in the class.
    pub(crate) fn has_unacknowledged_in(&self, class: u8) -> bool {
        let in_class = |route: u8| route_parts(route).1 == class;
        self.unacknowledged
            .iter()
            .any(|(route, _)| in_class(*route))
    }

    /// Unacknowledged deliveries over all lanes, and the most that one lane has in one class.
    pub(crate) fn unacknowledged_in_all(&self) -> (u64, u64) {
        let counts = || self.unacknowledged.iter().map(|(_, records)| *records);
        (counts().sum(), counts().max().unwrap_or(0))
    }

    /// Records that are in it.
    pub(crate) fn records(&self) -> u64 {
        match &self.survivors {
            Some(survivors) => survivors.ranges.count(),
            None => self.summary.end - self.summary.first,
        }
    }

    /// The parts of a range without readable records that should have had some.
    pub(crate) fn missing_in(&self, first: Sequence, last: Sequence) -> Vec<(Sequence, Sequence)> {
        match &self.survivors {
            Some(survivors) => survivors.ranges.inside(first, last),
            None => vec![(first, last)],
        }
    }

    /// Sets how many records the lane has to acknowledge here.
    pub(crate) fn set_unacknowledged(&mut self, lane: LaneId, class: u8, records: u64) {
        let route = route_byte(lane, class);
        self.unacknowledged.retain(|(r, _)| *r != route);
        if records > 0 {
            self.unacknowledged.push((route, records));
        }
    }

    /// The lane acknowledged `records` more.
    pub(crate) fn settle(&mut self, lane: LaneId, class: u8, records: u64) {
        let left = self.unacknowledged(lane, class).saturating_sub(records);
        self.set_unacknowledged(lane, class, left);
    }

    /// Takes in what a commit brought.
    pub(crate) fn extend(&mut self, delta: &Summary) {
        self.summary.extend(delta);
        for share in delta.shares() {
            match self
                .unacknowledged
                .iter_mut()
                .find(|(r, _)| *r == share.route)
            {
                Some((_, records)) => *records += share.records,
                None => self.unacknowledged.push((share.route, share.records)),
            }
        }
    }

    /// Bytes of the lane's unacknowledged records, from their number and the mean size here.
    pub(crate) fn unacknowledged_bytes(&self, lane: LaneId, class: u8) -> u64 {
        let share = self.summary.share(lane, class);
        let bytes = u128::from(share.bytes) * u128::from(self.unacknowledged(lane, class));
        u64::try_from(bytes / u128::from(share.records.max(1))).unwrap_or(u64::MAX)
    }
}
