//! What a cursor has behind it: every sequence below a low-water mark, and intervals above it.

use crate::Sequence;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A set of acknowledged sequences, dense at the low end. Memory grows with the number of gaps, not of sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    low: Sequence,
    /// Start → end (inclusive), all above `low`, neither touching nor overlapping.
    above: BTreeMap<Sequence, Sequence>,
}

impl Acknowledged {
    /// Everything below `low` is acknowledged, nothing from there on.
    pub(crate) fn below(low: Sequence) -> Acknowledged {
        Acknowledged {
            low,
            above: BTreeMap::new(),
        }
    }

    /// The first sequence that is not acknowledged.
    pub(crate) fn low(&self) -> Sequence {
        self.low
    }

    /// The intervals above the low-water mark, ascending.
    pub(crate) fn above(&self) -> impl Iterator<Item = RangeInclusive<Sequence>> + '_ {
        self.above.iter().map(|(start, end)| *start..=*end)
    }

    /// Number of intervals above the low-water mark.
    pub(crate) fn gaps(&self) -> usize {
        self.above.len()
    }

    pub(crate) fn contains(&self, sequence: Sequence) -> bool {
        sequence < self.low || self.interval_at(sequence).is_some()
    }

    /// True if every sequence from `first` to `last` is acknowledged.
    pub(crate) fn covers(&self, first: Sequence, last: Sequence) -> bool {
        last < self.low
            || self
                .interval_at(first.max(self.low))
                .is_some_and(|end| last <= end)
    }

    /// True if some sequence in `first..end` is acknowledged.
    pub(crate) fn touches(&self, first: Sequence, end: Sequence) -> bool {
        let reaches = |(_, last): (&Sequence, &Sequence)| *last >= first;
        self.low > first || self.above.range(..end).next_back().is_some_and(reaches)
    }

    /// The end of the interval above `low` that holds `sequence`.
    fn interval_at(&self, sequence: Sequence) -> Option<Sequence> {
        let (_, end) = self.above.range(..=sequence).next_back()?;
        (*end >= sequence).then_some(*end)
    }

    /// Acknowledges `first..=last`; an empty range changes nothing.
    pub(crate) fn insert(&mut self, first: Sequence, last: Sequence) {
        if last < first || last < self.low {
            return;
        }
        if first <= self.low {
            self.low = last + 1;
        } else {
            self.merge(first, last);
        }
        self.absorb();
    }

    fn merge(&mut self, first: Sequence, last: Sequence) {
        let (mut start, mut end) = (first, last);
        while let Some((&s, &e)) = self.above.range(..=end.saturating_add(1)).next_back() {
            if e.saturating_add(1) < start {
                break;
            }
            self.above.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.above.insert(start, end);
    }

    /// Intervals that the low-water mark has reached become part of it.
    fn absorb(&mut self) {
        while let Some(entry) = self.above.first_entry() {
            if *entry.key() > self.low {
                break;
            }
            self.low = self.low.max(entry.remove() + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn acknowledged_intervals_equal_a_plain_set(ranges in prop::collection::vec((1u64..60, 0u64..8), 0..60)) {
            let mut intervals = Acknowledged::below(1);
            let mut plain = BTreeSet::new();
            for (first, extra) in ranges {
                intervals.insert(first, first + extra);
                plain.extend(first..=first + extra);
            }
            let low = (1..).find(|s| !plain.contains(s)).unwrap();
            prop_assert_eq!(intervals.low(), low);
            for sequence in 1..80 {
                prop_assert_eq!(intervals.contains(sequence), plain.contains(&sequence));
                let covered = (sequence..=sequence + 5).all(|s| plain.contains(&s));
                prop_assert_eq!(intervals.covers(sequence, sequence + 5), covered);
                let touched = (sequence..sequence + 5).any(|s| plain.contains(&s));
                prop_assert_eq!(intervals.touches(sequence, sequence + 5), touched || sequence < low);
            }
            let mut last_end = low;
            for range in intervals.above() {
                prop_assert!(*range.start() > last_end, "intervals touch or are out of order");
                last_end = range.end() + 1;
            }
        }
    }

    #[test]
    fn an_empty_range_changes_nothing() {
        let mut intervals = Acknowledged::below(10);
        intervals.insert(20, 19);
        intervals.insert(3, 5);
        assert_eq!(intervals, Acknowledged::below(10));
    }
}
