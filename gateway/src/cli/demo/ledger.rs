//! The demo's ledger: what senders saw acknowledged, against what arrived upstream.
//!
//! The two sides know nothing of each other. Senders write down what was acknowledged to them;
//! the other side is read from the file that the upstream gateway writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::Serialize;

/// A set of numbers that is nearly contiguous: all below `low`, and some above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NumberSet {
    low: u64,
    above: BTreeSet<u64>,
}

impl NumberSet {
    /// Adds a number; tells whether it was new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        if number < self.low || !self.above.insert(number) {
            return false;
        }
        while self.above.remove(&self.low) {
            self.low += 1;
        }
        true
    }

    /// How many numbers it holds.
    pub(super) fn count(&self) -> u64 {
        self.low + self.above.len() as u64
    }

    /// How many of its numbers `other` lacks.
    pub(super) fn missing_in(&self, other: &NumberSet) -> u64 {
        let below = (other.low..self.low).filter(|n| !other.above.contains(n));
        let above = self
            .above
            .iter()
            .filter(|n| **n >= other.low && !other.above.contains(n));
        below.count() as u64 + above.count() as u64
    }
}

/// One series of events that are numbered from 0: the readings or the alarms of one sender.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    /// The sensor or device.
    pub sender: String,
    /// Whether these are its alarms.
    pub alarm: bool,
}

/// Both sides of the books.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sides: Mutex<Sides>,
}

#[derive(Debug, Default)]
struct Sides {
    acknowledged: BTreeMap<Series, NumberSet>,
    delivered: BTreeMap<Series, NumberSet>,
    duplicates: u64,
    invented: u64,
}

/// The books as they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Balance {
    /// Events acknowledged to their senders.
    pub accepted: u64,
    /// Alarms that a rule derives from them.
    pub derived: u64,
    /// Of both, how many arrived upstream.
    pub delivered: u64,
    /// Arrived more than once.
    pub duplicates: u64,
    /// Set aside as dead letters.
    pub dead_letters: u64,
    /// Acknowledged, and neither delivered nor a dead letter.
    pub lost: u64,
    /// Arrived although nobody sent them.
    pub invented: u64,
    /// Readings that devices keep, because nobody acknowledged them.
    pub held: u64,
}

impl Balance {
    /// Whether everything acknowledged is there, and nothing else.
    pub(crate) fn holds(&self) -> bool {
        self.lost == 0 && self.invented == 0
    }
}

impl Ledger {
    /// A sender saw number `n` acknowledged; `alarm` says that a rule makes an alarm of it.
    pub(super) fn acknowledged(&self, sender: &str, n: u64) {
        self.enter(sender, false, n, |sides| &mut sides.acknowledged);
    }

    /// A sender saw a reading acknowledged that must also arrive as its alarm number `n`.
    pub(super) fn alarm_due(&self, sender: &str, n: u64) {
        self.enter(sender, true, n, |sides| &mut sides.acknowledged);
    }

    /// Something arrived upstream.
    pub(super) fn delivered(&self, sender: &str, alarm: bool, n: u64) {
        if !self.enter(sender, alarm, n, |sides| &mut sides.delivered) {
            self.lock().duplicates += 1;
        }
    }

    /// Something arrived that no sender of the demo can have sent.
    pub(super) fn invented(&self) {
        self.lock().invented += 1;
    }

    /// How many events were acknowledged so far, alarms not counted.
    pub(super) fn accepted(&self) -> u64 {
        total(&self.lock().acknowledged, false)
    }

    /// How many events arrived so far, alarms included.
    pub(super) fn arrived(&self) -> u64 {
        let sides = self.lock();
        total(&sides.delivered, false) + total(&sides.delivered, true)
    }

    /// The balance, with the number of dead letters that the gateway holds and of readings that devices keep.
    pub(super) fn balance(&self, dead_letters: u64, held: u64) -> Balance {
        let sides = self.lock();
        let nothing = NumberSet::default();
        let missing: u64 = sides
            .acknowledged
            .iter()
            .map(|(series, numbers)| {
                numbers.missing_in(sides.delivered.get(series).unwrap_or(&nothing))
            })
            .sum();
        Balance {
            accepted: total(&sides.acknowledged, false),
            derived: total(&sides.acknowledged, true),
            delivered: total(&sides.delivered, false) + total(&sides.delivered, true),
            duplicates: sides.duplicates,
            dead_letters,
            lost: missing.saturating_sub(dead_letters),
            invented: sides.invented,
            held,
        }
    }

    fn enter(
        &self,
        sender: &str,
        alarm: bool,
        n: u64,
        side: impl Fn(&mut Sides) -> &mut BTreeMap<Series, NumberSet>,
    ) -> bool {
        let series = Series {
            sender: sender.into(),
            alarm,
        };
        side(&mut self.lock()).entry(series).or_default().insert(n)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sides> {
        self.sides.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn total(side: &BTreeMap<Series, NumberSet>, alarm: bool) -> u64 {
    side.iter()
        .filter(|(series, _)| series.alarm == alarm)
        .map(|(_, numbers)| numbers.count())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_each_number_once_and_knows_what_is_missing() {
        let (mut acknowledged, mut delivered) = (NumberSet::default(), NumberSet::default());
        for n in [0, 1, 2, 3, 5, 9] {
            assert!(acknowledged.insert(n));
        }
        for n in [0, 2, 9, 7] {
            assert!(delivered.insert(n));
        }
        assert!(!delivered.insert(2));
        assert_eq!(acknowledged.missing_in(&delivered), 3, "1, 3 and 5");
        assert_eq!(acknowledged.count(), 6);
    }

    #[test]
    fn an_acknowledged_event_that_never_arrives_is_lost() {
        let ledger = Ledger::default();
        ledger.acknowledged("s1", 0);
        ledger.acknowledged("s1", 1);
        ledger.delivered("s1", false, 1);
        ledger.delivered("s1", false, 1);
        let balance = ledger.balance(0, 0);
        assert_eq!((balance.lost, balance.duplicates), (1, 1));
        assert_eq!(ledger.balance(1, 0).lost, 0, "a dead letter is not lost");
    }

    #[test]
    fn a_missing_alarm_is_lost_too() {
        let ledger = Ledger::default();
        ledger.acknowledged("s1", 0);
        ledger.alarm_due("s1", 0);
        ledger.delivered("s1", false, 0);
        assert_eq!(ledger.balance(0, 0).lost, 1);
    }
}
