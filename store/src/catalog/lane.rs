//! A lane in memory, and how far it is in each class.

use super::acknowledged::Acknowledged;
use crate::Sequence;
use crate::api::lane::Cursor;
use crate::api::limits::CLASSES;
use std::collections::BTreeMap;

/// A lane in memory.
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) positions: [Position; CLASSES],
}

/// How far the lane is in one class.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) done: Acknowledged,
    /// Changed since it was last written.
    pub(crate) dirty: bool,
    /// Times of records that readers came across: the age of the backlog is the one at or before the low-water mark.
    times: BTreeMap<Sequence, u64>,
}

impl Position {
    pub(crate) fn below(low: Sequence) -> Position {
        Position::at(Acknowledged::below(low))
    }

    pub(crate) fn at(done: Acknowledged) -> Position {
        Position {
            done,
            dirty: false,
            times: BTreeMap::new(),
        }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor {
            low: self.done.low(),
            above: self.done.above().collect(),
        }
    }

    /// Remembers a record's time, and forgets those that no longer matter.
    pub(crate) fn note_time(&mut self, sequence: Sequence, time_ms: u64) {
        self.times.insert(sequence, time_ms);
        let low = self.done.low();
        if let Some((&keep, _)) = self.times.range(..=low).next_back() {
            self.times = self.times.split_off(&keep);
        }
        while self.times.len() > 64 {
            self.times.pop_last();
        }
    }

    /// Time of the record at the low-water mark, as near as is known.
    pub(crate) fn time_at_low(&self) -> Option<u64> {
        self.times
            .range(..=self.done.low())
            .next_back()
            .map(|(_, time_ms)| *time_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_the_backlog_follows_the_low_water_mark() {
        let mut position = Position::below(1);
        assert_eq!(position.time_at_low(), None);
        position.note_time(1, 100);
        position.note_time(50, 200);
        assert_eq!(position.time_at_low(), Some(100));
        position.done.insert(1, 60);
        assert_eq!(position.time_at_low(), Some(200));
    }
}
