//! What is left on purpose: the sequences that a rewritten generation still holds, and the ranges that went from the
//! middle of the log. Both are small files outside sled, so that a reader can tell what was let go from what was lost.

use crate::wire::{self, Reader, put_varint};
use crate::{Sequence, disk};
use std::path::Path;

const VERSION: u8 = 1;
const KEPT_FILE: &str = "kept";
const HOLES_FILE: &str = "holes";

/// Ascending ranges of sequences, neither touching nor overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(Sequence, Sequence)>);

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

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.put(&mut out);
        wire::seal(out)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        let mut at = 0;
        for (first, last) in &self.0 {
            put_varint(out, first - at);
            put_varint(out, last - first);
            at = *last;
        }
    }

    fn decode(bytes: &[u8]) -> Option<Ranges> {
        let mut reader = Reader::new(wire::unseal(bytes)?);
        if reader.u8()? != VERSION {
            return None;
        }
        let ranges = Ranges::take(&mut reader)?;
        reader.is_empty().then_some(ranges)
    }

    fn take(reader: &mut Reader<'_>) -> Option<Ranges> {
        let mut ranges = Ranges::default();
        let mut at: Sequence = 0;
        for _ in 0..reader.varint()? {
            let first = at.checked_add(reader.varint()?)?;
            at = first.checked_add(reader.varint()?)?;
            ranges.0.push((first, at));
        }
        Some(ranges)
    }

    /// Says which ranges went from the middle of the log; written before they go.
    pub(crate) fn save_holes(&self, store: &Path) -> std::io::Result<()> {
        disk::write_atomically(&store.join(HOLES_FILE), &self.encode())
    }

    /// None where there is no file, or one that cannot be trusted.
    pub(crate) fn load_holes(store: &Path) -> Ranges {
        let bytes = std::fs::read(store.join(HOLES_FILE)).unwrap_or_default();
        Ranges::decode(&bytes).unwrap_or_default()
    }
}

/// What a rewritten generation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) ranges: Ranges,
    /// First sequence behind the generation, whether or not its last records were kept.
    pub(crate) end: Sequence,
}

impl Kept {
    /// Written last of all: with this file the generation counts.
    pub(crate) fn save(&self, generation: &Path) -> std::io::Result<()> {
        let mut out = vec![VERSION];
        self.ranges.put(&mut out);
        put_varint(&mut out, self.end);
        disk::write_atomically(&generation.join(KEPT_FILE), &wire::seal(out))
    }

    /// `None` if the generation was never rewritten, or if the file cannot be trusted: then whatever is not there
    /// counts as missing.
    pub(crate) fn load(generation: &Path) -> Option<Kept> {
        let bytes = std::fs::read(generation.join(KEPT_FILE)).ok()?;
        let mut reader = Reader::new(wire::unseal(&bytes)?);
        if reader.u8()? != VERSION {
            return None;
        }
        let ranges = Ranges::take(&mut reader)?;
        let end = reader.varint()?;
        reader.is_empty().then_some(Kept { ranges, end })
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
            let _ = Ranges::decode(&wire::seal(noise));
        }
    }

    #[test]
    fn what_was_let_go_in_the_middle_is_forgotten_when_the_log_begins_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut holes = Ranges::load_holes(dir.path());
        assert_eq!(holes, Ranges::default());
        holes.insert(10, 20);
        holes.insert(40, 50);
        holes.insert(21, 30);
        holes.save_holes(dir.path()).unwrap();
        let mut again = Ranges::load_holes(dir.path());
        assert_eq!(again.0, [(10, 30), (40, 50)]);
        again.forget_below(31);
        assert_eq!(again.0, [(40, 50)]);
    }
}
