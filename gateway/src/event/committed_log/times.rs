//! When the commits of this run became durable, on the monotonic clock: a step of the wall clock changes nothing here.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_store::Sequence;

/// Commits remembered, 40 bytes each. Beyond that, older ones are put together where they lie close.
const MARKS_MAX: usize = 4096;
/// Commits are put together only where that moves none by more than this part of its age.
const AGE_PART: u32 = 64;

/// A run of records that became durable together, or as good as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTime {
    /// The records.
    pub sequences: Range<Sequence>,
    /// When they were durable, and acknowledged.
    pub durable: Instant,
}

/// Written at each commit, read by whoever asks how long ago that was; all clones are one.
#[derive(Debug, Clone)]
pub struct CommitTimes(Arc<Mutex<Marks>>);

#[derive(Debug)]
struct Marks {
    marks: VecDeque<Mark>,
    /// The sequence after the last one.
    end: Sequence,
}

/// Commits put together.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The first sequence.
    first: Sequence,
    /// When the first of them became durable.
    durable: Instant,
    /// When the last of them did.
    last: Instant,
}

impl CommitTimes {
    /// Of a log that ends before `end` at the start of this run.
    pub fn new(end: Sequence) -> CommitTimes {
        CommitTimes(Arc::new(Mutex::new(Marks {
            marks: VecDeque::new(),
            end,
        })))
    }

    /// All records before `end` are durable.
    pub fn committed(&self, end: Sequence, now: Instant) {
        let mut all = self.lock();
        if end <= all.end {
            return;
        }
        let first = std::mem::replace(&mut all.end, end);
        if all.marks.len() >= MARKS_MAX {
            thin(&mut all.marks, now);
        }
        all.marks.push_back(Mark {
            first,
            durable: now,
            last: now,
        });
    }

    /// When the record became durable; `None` where that was before this run. One that is not told of yet is durable
    /// `now`.
    pub fn of(&self, sequence: Sequence, now: Instant) -> Option<CommitTime> {
        let all = self.lock();
        if sequence >= all.end {
            let sequences = sequence..sequence.saturating_add(1);
            return Some(CommitTime {
                sequences,
                durable: now,
            });
        }
        let behind = all.marks.partition_point(|mark| mark.first <= sequence);
        let mark = all.marks.get(behind.checked_sub(1)?)?;
        let end = all.marks.get(behind).map_or(all.end, |next| next.first);
        Some(CommitTime {
            sequences: mark.first..end,
            durable: mark.durable,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts commits together with the one before them, where that makes little of their age.
fn thin(marks: &mut VecDeque<Mark>, now: Instant) {
    let mut kept = 0;
    for at in 1..marks.len() {
        let mark = marks[at];
        let spread = mark.last.saturating_duration_since(marks[kept].durable);
        if spread <= now.saturating_duration_since(mark.last) / AGE_PART {
            marks[kept].last = mark.last;
        } else {
            kept += 1;
            marks[kept] = mark;
        }
    }
    marks.truncate(kept + 1);
    // Clocks that stand still; what is forgotten counts as of the run before.
    while marks.len() >= MARKS_MAX {
        marks.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_is_as_old_as_its_commit() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let times = CommitTimes::new(10);
        times.committed(10, at(0));
        assert_eq!(times.of(9, at(0)), None, "of the run before");
        times.committed(13, at(1));
        times.committed(13, at(2));
        times.committed(14, at(3));
        let cases = [
            (9, None),
            (10, Some((10..13, at(1)))),
            (12, Some((10..13, at(1)))),
            (13, Some((13..14, at(3)))),
            (14, Some((14..15, at(9)))),
            (Sequence::MAX, Some((Sequence::MAX..Sequence::MAX, at(9)))),
        ];
        for (sequence, expected) in cases {
            let expected = expected.map(|(sequences, durable)| CommitTime { sequences, durable });
            assert_eq!(times.of(sequence, at(9)), expected, "{sequence}");
        }
    }

    #[test]
    fn a_week_of_commits_is_remembered_in_bounded_memory_to_a_part_of_its_age() {
        let start = Instant::now();
        let times = CommitTimes::new(1);
        let week_us: u64 = 7 * 86_400 * 1_000_000;
        // From 20,000 commits a second to one every ten minutes, and back.
        let paces = [50, 1_000, 5_000_000, 600_000_000, 1_000_000, 400];
        let (mut at, mut sequence, mut truth) = (0, 1, Vec::new());
        for pace in paces {
            for _ in 0..30_000.min(week_us / paces.len() as u64 / pace) {
                at += pace;
                sequence += 3;
                times.committed(sequence, start + Duration::from_micros(at));
                truth.push((sequence - 1, at));
                assert!(times.lock().marks.len() <= MARKS_MAX);
            }
        }
        let now = start + Duration::from_micros(at);
        for (sequence, at_us) in truth {
            let found = times.of(sequence, now).expect("of this run").durable;
            let said = now.duration_since(found).as_micros() as u64;
            let age = at - at_us;
            assert!(said >= age, "{said} of {age}");
            assert!(
                said - age <= age / u64::from(AGE_PART) + 1,
                "{said} of {age}"
            );
        }
    }
}
