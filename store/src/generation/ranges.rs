//! A set of sequences as a list of ranges.

use crate::Sequence;
use crate::format::checksummed::{verified, with_checksum};
use crate::format::varint::{Reader, put_varint};

const VERSION: u8 = 1;

/// Ascending ranges of sequences, neither touching nor overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(pub(super) Vec<(Sequence, Sequence)>);

impl Ranges {
    /// Adds a range behind all others; one that touches the last continues it.
    pub(crate) fn push(&mut self, first: Sequence, last: Sequence) {
        match self.0.last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            _ => self.0.push((first, last)),
        }
    }

    /// Adds a range anywhere; what it touches becomes one with it.
    pub(crate) fn insert(&mut self, first: Sequence, last: Sequence) {
        let (mut first, mut last) = (first, last);
        self.0.retain(|&(a, b)| {
            let apart = b + 1 < first || last + 1 < a;
            if !apart {
                (first, last) = (first.min(a), last.max(b));
            }
            apart
        });
        let at = self.0.partition_point(|range| range.0 < first);
        self.0.insert(at, (first, last));
    }

    /// Forgets what ends below `sequence`.
    pub(crate) fn forget_below(&mut self, sequence: Sequence) {
        self.0.retain(|(_, last)| *last >= sequence);
    }

    /// Takes a range out.
    pub(crate) fn remove(&mut self, first: Sequence, last: Sequence) {
        for (a, b) in self.inside(first, last) {
            let at = self.0.partition_point(|range| range.1 < a);
            let (begin, end) = self.0.remove(at);
            let left = [(begin, a - 1), (b + 1, end)];
            let left = left.into_iter().filter(|(first, last)| first <= last);
            self.0.splice(at..at, left);
        }
    }

    /// Number of sequences.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The parts of `first..=last` that lie inside.
    pub(crate) fn inside(&self, first: Sequence, last: Sequence) -> Vec<(Sequence, Sequence)> {
        let at = self.0.partition_point(|range| range.1 < first);
        let touched = self.0.iter().skip(at).take_while(|range| range.0 <= last);
        touched.map(|&(a, b)| (a.max(first), b.min(last))).collect()
    }

    /// The parts of `first..=last` that lie outside.
    pub(crate) fn outside(&self, first: Sequence, last: Sequence) -> Vec<(Sequence, Sequence)> {
        let mut parts = Vec::new();
        let mut at = first;
        for (a, b) in self.inside(first, last) {
            if at < a {
                parts.push((at, a - 1));
            }
            at = b + 1;
        }
        if at <= last {
            parts.push((at, last));
        }
        parts
    }

    /// The ranges as a document of their own.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.put(&mut out);
        with_checksum(out)
    }

    /// The ranges as a part of one.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        let mut at = 0;
        for (first, last) in &self.0 {
            put_varint(out, first - at);
            put_varint(out, last - first);
            at = *last;
        }
    }

    /// Reads what `encode` wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Ranges> {
        let mut reader = Reader::new(verified(bytes)?);
        if reader.u8()? != VERSION {
            return None;
        }
        let ranges = Ranges::take(&mut reader)?;
        reader.is_empty().then_some(ranges)
    }

    /// Reads what `put` wrote.
    pub(super) fn take(reader: &mut Reader<'_>) -> Option<Ranges> {
        let mut ranges = Ranges::default();
        let mut at: Sequence = 0;
        for _ in 0..reader.varint()? {
            let first = at.checked_add(reader.varint()?)?;
            at = first.checked_add(reader.varint()?)?;
            ranges.0.push((first, at));
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn plain(ranges: &Ranges) -> BTreeSet<Sequence> {
        ranges.0.iter().flat_map(|(a, b)| *a..=*b).collect()
    }

    proptest! {
        #[test]
        fn ranges_equal_a_plain_set(added in prop::collection::vec((1u64..60, 0u64..8), 0..30), first in 1u64..70, extra in 0u64..20) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for (first, extra) in added {
                ranges.insert(first, first + extra);
                set.extend(first..=first + extra);
            }
            prop_assert_eq!(&plain(&ranges), &set);
            prop_assert_eq!(ranges.count(), set.len() as u64);
            let last = first + extra;
            let (inside, outside) = (ranges.inside(first, last), ranges.outside(first, last));
            prop_assert_eq!(plain(&Ranges(inside)), (first..=last).filter(|s| set.contains(s)).collect());
            prop_assert_eq!(plain(&Ranges(outside)), (first..=last).filter(|s| !set.contains(s)).collect());
            prop_assert_eq!(Ranges::decode(&ranges.encode()), Some(ranges.clone()));
            ranges.remove(first, last);
            prop_assert_eq!(plain(&ranges), set.into_iter().filter(|s| *s < first || *s > last).collect());
        }

        #[test]
        fn noise_never_makes_a_panic(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Ranges::decode(&with_checksum(noise));
        }
    }
}
