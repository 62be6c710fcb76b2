//! Reads what a lane has still to deliver, class by class, with a small read-ahead.
//!
//! In order: one reader per class from its cursor to the end of the log. Live first: the end of
//! the log at the start of a connection splits the lane; what comes after it is live, what lies
//! before it is backlog, and a live reader and a backlog reader share each class by weight.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use tidegate_store::{ReadError, ReadLimit, Sequence, StoredRecord};

use super::log::LaneLog;

/// Classes of the store: priorities as numbers.
pub(super) const CLASSES: usize = 4;

/// The read-ahead of one reader.
const AHEAD: ReadLimit = ReadLimit {
    records: 256,
    bytes: 64 << 10,
};

/// Intervals that need no delivery, ascending.
pub(super) type DoneRanges = Vec<RangeInclusive<Sequence>>;

/// A record to deliver, and whether it belongs to a backlog that live traffic overtook.
pub(super) struct PendingRecord {
    pub(super) record: StoredRecord,
    pub(super) historical: bool,
}

#[derive(Debug)]
struct ClassReader {
    class: u8,
    next: Sequence,
    until: Sequence,
    done: VecDeque<RangeInclusive<Sequence>>,
    ahead: VecDeque<StoredRecord>,
}

impl ClassReader {
    fn pop(
        &mut self,
        log: &impl LaneLog,
        end: Sequence,
    ) -> Result<Option<StoredRecord>, ReadError> {
        loop {
            while let Some(record) = self.ahead.pop_front() {
                if !self.is_done(record.sequence) && !log.is_done(self.class, record.sequence) {
                    return Ok(Some(record));
                }
            }
            if self.next >= self.until.min(end) {
                return Ok(None);
            }
            let batch = log.read(self.class, self.next, AHEAD)?;
            self.next = batch.next.max(self.next + 1);
            let until = self.until;
            self.ahead.extend(
                batch
                    .records
                    .into_iter()
                    .filter(|record| record.sequence < until),
            );
        }
    }

    fn is_done(&mut self, sequence: Sequence) -> bool {
        while self
            .done
            .front()
            .is_some_and(|range| *range.end() < sequence)
        {
            self.done.pop_front();
        }
        self.done
            .front()
            .is_some_and(|range| range.contains(&sequence))
    }
}

/// The readers of a lane.
#[derive(Debug, Default)]
pub(super) struct Readers {
    live: Vec<ClassReader>,
    backlog: Vec<ClassReader>,
    live_weight: u32,
    live_run: u32,
}

impl Readers {
    /// First in, first out within each class. `done` says what to leave out of a class.
    pub(super) fn in_order(log: &impl LaneLog, done: impl Fn(u8) -> DoneRanges) -> Readers {
        Readers {
            live: readers(log, Sequence::MAX, &done),
            ..Readers::default()
        }
    }

    /// `live_weight` live records for each record of the backlog.
    pub(super) fn live_first(
        log: &impl LaneLog,
        live_weight: u32,
        done: impl Fn(u8) -> DoneRanges,
    ) -> Readers {
        let split = log.end();
        let mut live = readers(log, Sequence::MAX, &done);
        live.iter_mut()
            .for_each(|reader| reader.next = reader.next.max(split));
        Readers {
            live,
            backlog: readers(log, split, &done),
            live_weight: live_weight.max(1),
            live_run: 0,
        }
    }

    /// The next record of a class.
    pub(super) fn pop(
        &mut self,
        log: &impl LaneLog,
        class: u8,
    ) -> Result<Option<PendingRecord>, ReadError> {
        let end = log.end();
        let first_backlog = self.live_run >= self.live_weight;
        for historical in [first_backlog, !first_backlog] {
            let side = match historical {
                true => &mut self.backlog,
                false => &mut self.live,
            };
            let Some(reader) = side.get_mut(usize::from(class)) else {
                continue;
            };
            if let Some(record) = reader.pop(log, end)? {
                self.live_run = match historical {
                    true => 0,
                    false => self.live_run.saturating_add(1),
                };
                return Ok(Some(PendingRecord { record, historical }));
            }
        }
        Ok(None)
    }
}

fn readers(
    log: &impl LaneLog,
    until: Sequence,
    done: impl Fn(u8) -> DoneRanges,
) -> Vec<ClassReader> {
    (0..CLASSES as u8)
        .map(|class| ClassReader {
            class,
            next: log.cursor(class).low,
            until,
            done: done(class).into(),
            ahead: VecDeque::new(),
        })
        .collect()
}
