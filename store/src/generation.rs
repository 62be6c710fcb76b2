//! One generation as the store keeps it in memory, and the names generations have on disk.
//!
//! A directory is called `<id>-<first>`, both zero-padded decimal: `00000007-00000000000000120001`. The id only grows;
//! `first` is the first sequence that may be inside. A generation's range ends where the next one begins, so records
//! that a failed commit left behind in an abandoned generation are outside every range and never come to light. A
//! generation that was rewritten has a revision behind a dot: `00000007-00000000000000120001.1`.

use crate::engine::Engine;
use crate::kept::Kept;
use crate::summary::Summary;
use crate::{LaneId, Sequence};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Suffix of a directory that is to be deleted.
pub(crate) const DEAD: &str = ".dead";

/// The name of a generation's directory.
pub(crate) fn dir_name(id: u64, first: Sequence) -> String {
    format!("{id:08}-{first:020}")
}

/// Reads a directory name; `None` for anything that [`dir_name`] did not make.
pub(crate) fn parse_name(name: &str) -> Option<(u64, Sequence)> {
    parse_revision(name).map(|(id, first, _)| (id, first))
}

/// The name of a revision of a generation's directory; revision 0 is the one that was written to.
pub(crate) fn revision_name(id: u64, first: Sequence, revision: u32) -> String {
    match revision {
        0 => dir_name(id, first),
        _ => format!("{}.{revision}", dir_name(id, first)),
    }
}

/// Reads what [`revision_name`] made.
pub(crate) fn parse_revision(name: &str) -> Option<(u64, Sequence, u32)> {
    let (own, revision) = name.split_once('.').unwrap_or((name, "0"));
    let (id, first) = own.split_once('-')?;
    let (id, first) = (id.parse().ok()?, first.parse().ok()?);
    let revision = revision.parse().ok()?;
    (revision_name(id, first, revision) == name).then_some((id, first, revision))
}

/// A generation in memory.
pub(crate) struct Generation {
    pub(crate) id: u64,
    pub(crate) dir: PathBuf,
    pub(crate) summary: Summary,
    /// Nothing is appended any more.
    pub(crate) sealed: bool,
    pub(crate) disk_bytes: u64,
    /// Open while it is written or was read lately.
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) last_used: Instant,
    /// Some of its bytes could not be read: it is kept in quarantine instead of being deleted.
    pub(crate) damaged: bool,
    /// A stored cursor had no room to say what is left here: it is counted from the records.
    pub(crate) uncounted: bool,
    /// What a rewritten generation holds; the other sequences in its range were let go on purpose.
    pub(crate) kept: Option<Arc<Kept>>,
    /// Pending deliveries when it was last looked at for rewriting.
    pub(crate) looked_at: Option<u64>,
    /// The store's clock when its first record came.
    pub(crate) begun_ms: u64,
    /// The store's clock when its newest record came.
    pub(crate) newest_ms: u64,
    /// Unacknowledged records per route (class and lane); routes without any are absent.
    pending: Vec<(u8, u64)>,
}

impl Generation {
    pub(crate) fn new(id: u64, dir: &Path, summary: Summary, sealed: bool) -> Generation {
        Generation {
            id,
            dir: dir.to_path_buf(),
            summary,
            sealed,
            disk_bytes: crate::disk::allocated_bytes(dir),
            engine: None,
            last_used: Instant::now(),
            damaged: false,
            uncounted: false,
            kept: None,
            looked_at: None,
            begun_ms: u64::MAX,
            newest_ms: u64::MAX,
            pending: Vec::new(),
        }
    }

    /// Records routed to the lane in the class that are not acknowledged.
    pub(crate) fn pending(&self, lane: LaneId, class: u8) -> u64 {
        let route = crate::layout::route_byte(lane, class);
        self.pending
            .iter()
            .find(|(r, _)| *r == route)
            .map_or(0, |(_, records)| *records)
    }

    /// True if every lane is done with every record here.
    pub(crate) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// True if some lane has to acknowledge something in the class.
    pub(crate) fn is_pending_in(&self, class: u8) -> bool {
        let in_class = |route: u8| crate::layout::route_parts(route).1 == class;
        self.pending.iter().any(|(route, _)| in_class(*route))
    }

    /// Unacknowledged deliveries over all lanes, and the most that one lane has in one class.
    pub(crate) fn pending_in_all(&self) -> (u64, u64) {
        let counts = || self.pending.iter().map(|(_, records)| *records);
        (counts().sum(), counts().max().unwrap_or(0))
    }

    /// Records that are in it.
    pub(crate) fn records(&self) -> u64 {
        match &self.kept {
            Some(kept) => kept.ranges.count(),
            None => self.summary.end - self.summary.first,
        }
    }

    /// The parts of a range without readable records that should have had some.
    pub(crate) fn missing_in(&self, first: Sequence, last: Sequence) -> Vec<(Sequence, Sequence)> {
        match &self.kept {
            Some(kept) => kept.ranges.inside(first, last),
            None => vec![(first, last)],
        }
    }

    /// Sets how many records the lane has to acknowledge here.
    pub(crate) fn set_pending(&mut self, lane: LaneId, class: u8, records: u64) {
        let route = crate::layout::route_byte(lane, class);
        self.pending.retain(|(r, _)| *r != route);
        if records > 0 {
            self.pending.push((route, records));
        }
    }

    /// The lane acknowledged `records` more.
    pub(crate) fn settle(&mut self, lane: LaneId, class: u8, records: u64) {
        let left = self.pending(lane, class).saturating_sub(records);
        self.set_pending(lane, class, left);
    }

    /// Takes in what a commit brought.
    pub(crate) fn extend(&mut self, delta: &Summary) {
        self.summary.extend(delta);
        for share in delta.shares() {
            match self.pending.iter_mut().find(|(r, _)| *r == share.route) {
                Some((_, records)) => *records += share.records,
                None => self.pending.push((share.route, share.records)),
            }
        }
    }

    /// Bytes of the lane's unacknowledged records, from their number and the mean size here.
    pub(crate) fn pending_bytes(&self, lane: LaneId, class: u8) -> u64 {
        let share = self.summary.share(lane, class);
        let bytes = u128::from(share.bytes) * u128::from(self.pending(lane, class));
        u64::try_from(bytes / u128::from(share.records.max(1))).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_are_generations() {
        assert_eq!(parse_name(&dir_name(7, 120_001)), Some((7, 120_001)));
        for name in [
            "",
            "7-1",
            "lost+found",
            "00000007-00000000000000120001.dead",
            "+0000007-00000000000000120001",
            "00000007-00000000000000120001.0",
            "00000007-00000000000000120001.01",
            "00000007-00000000000000120001.1.dead",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_revision_is_told_from_the_generation_it_replaces() {
        let name = revision_name(7, 120_001, 3);
        assert_eq!(name, "00000007-00000000000000120001.3");
        assert_eq!(parse_revision(&name), Some((7, 120_001, 3)));
        assert_eq!(parse_name(&name), Some((7, 120_001)));
        assert_eq!(parse_revision(&dir_name(7, 1)), Some((7, 1, 0)));
    }

    #[test]
    fn names_sort_by_age() {
        assert!(dir_name(9, 999) < dir_name(10, 1000));
    }
}
