//! Refusals that come often: the first ones are told one by one, then their count. A flood of wrong passwords must fill
//! neither the log nor the store.
//!
//! What is about one thing (a source, the control socket) is counted together. Eight are told within a minute, the others
//! as one at its end; while it goes on, one after two minutes, four, up to ten. Memory is bounded.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::{Change, What};
use crate::observe::Observe;

/// Told one by one before the others are counted.
const ROOM: u32 = 8;
/// How long they are counted at first, and at most.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_MAX: Duration = Duration::from_secs(600);
/// Things with counts of their own; what is beyond has one together.
const SUBJECTS_MAX: usize = 256;
/// Who was refused, told with a count.
const OTHERS_MAX: usize = 8;

/// What was refused lately.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<(What, String), Tally>);

#[derive(Debug)]
struct Tally {
    ends: Instant,
    window: Duration,
    room: u32,
    more: u64,
    last: Option<Change>,
    others: Vec<String>,
}

impl Refusals {
    /// Gives it back if it is to be told now; else it is counted.
    pub fn refused(&mut self, change: Change, now: Instant) -> Option<Change> {
        let mut key = (change.what, change.subject.clone());
        if self.0.len() >= SUBJECTS_MAX && !self.0.contains_key(&key) {
            key.1.clear();
        }
        let tally = self.0.entry(key).or_insert_with(|| Tally {
            ends: now + WINDOW,
            window: WINDOW,
            room: ROOM,
            more: 0,
            last: None,
            others: Vec::new(),
        });
        if tally.room > 0 {
            tally.room -= 1;
            return Some(change);
        }
        tally.more += 1;
        let who = change.who.to_string();
        if tally.others.len() < OTHERS_MAX && !tally.others.contains(&who) {
            tally.others.push(who);
        }
        tally.last = Some(change);
        None
    }

    /// What was counted and is to be told now.
    pub fn due(&mut self, now: Instant) -> Vec<Change> {
        let mut told = Vec::new();
        self.0.retain(|_, tally| {
            if now < tally.ends {
                return true;
            }
            let Some(summary) = tally.summary() else {
                return false;
            };
            told.push(summary);
            tally.window = (tally.window * 2).min(WINDOW_MAX);
            tally.ends = now + tally.window;
            true
        });
        told
    }

    /// All that was counted.
    pub fn rest(&mut self) -> Vec<Change> {
        self.0.values_mut().filter_map(Tally::summary).collect()
    }
}

impl Tally {
    /// The last one, with the count of all that were not told.
    fn summary(&mut self) -> Option<Change> {
        let last = self.last.take()?;
        Some(Change {
            count: std::mem::take(&mut self.more),
            others: std::mem::take(&mut self.others),
            ..last
        })
    }
}

impl Observe {
    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::audit::who::Who;
    use crate::time::clock;

    fn refused(source: &str, last: u8) -> Change {
        let who = Who::client([10, 0, 0, last].into(), None);
        Change::new(What::Login, source, "refused", &who).because("wrong password")
    }

    #[test]
    fn a_flood_is_a_few_events_and_its_count() {
        let (mut refusals, start) = (Refusals::default(), clock::monotonic());
        let (mut told, mut counted, mut at) = (0, 0, start);
        // A hundred a second for an hour.
        for second in 0..3600 {
            at = start + Duration::from_secs(second);
            for number in 0..100 {
                told += u64::from(refusals.refused(refused("floor", number), at).is_some());
            }
            for summary in refusals.due(at) {
                assert_eq!(summary.others.len(), OTHERS_MAX);
                counted += summary.count;
                told += 1;
            }
        }
        let rest = refusals.rest();
        counted += rest.iter().map(|summary| summary.count).sum::<u64>();
        assert_eq!(counted, 360_000 - u64::from(ROOM), "none is forgotten");
        assert!(told < 20, "{told} events in an hour");
        assert_eq!(refusals.rest(), []);
        // Over, after a window in which nothing came.
        refusals.due(at + WINDOW_MAX);
        refusals.due(at + 2 * WINDOW_MAX);
        assert!(refusals.0.is_empty());
        let again = refusals.refused(refused("floor", 1), at + 2 * WINDOW_MAX);
        assert_eq!(again, Some(refused("floor", 1)));
    }

    #[test]
    fn few_are_told_as_they_are_and_each_source_counts_for_itself() {
        let (mut refusals, now) = (Refusals::default(), clock::monotonic());
        for source in ["floor", "hooks"] {
            for _ in 0..ROOM {
                assert!(refusals.refused(refused(source, 1), now).is_some());
            }
            assert!(refusals.refused(refused(source, 2), now).is_none());
        }
        assert_eq!(refusals.due(now + WINDOW / 2), []);
        let summaries = refusals.due(now + WINDOW);
        let counts: Vec<_> = summaries
            .iter()
            .map(|one| (&*one.subject, one.count))
            .collect();
        assert_eq!(counts, [("floor", 1), ("hooks", 1)]);
    }

    #[test]
    fn what_is_refused_in_ten_thousand_places_takes_no_more_memory() {
        let (mut refusals, now) = (Refusals::default(), clock::monotonic());
        let told = (0..10_000)
            .filter(|number| {
                refusals
                    .refused(refused(&number.to_string(), 1), now)
                    .is_some()
            })
            .count();
        assert!(told <= SUBJECTS_MAX + ROOM as usize, "{told}");
        assert!(refusals.0.len() <= SUBJECTS_MAX + 1);
        let counted: u64 = refusals.rest().iter().map(|one| one.count).sum();
        assert_eq!(counted + told as u64, 10_000);
    }
}
