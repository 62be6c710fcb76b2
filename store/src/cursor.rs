//! How far each lane is: per class the acknowledged sequences, and how they are written beside the records.

use crate::interval::Acknowledged;
use crate::wire::{Reader, put_varint};
use crate::{LaneId, Sequence};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const VERSION: u8 = 1;
/// A stored cursor stays below this, far from what sled would move into an unsynced file.
const STORED_BYTES_MAX: usize = 3000;

/// How far one lane is in one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Every sequence below is acknowledged or not routed here.
    pub low: Sequence,
    /// Acknowledged intervals above `low`, ascending, not touching.
    pub above: Vec<RangeInclusive<Sequence>>,
}

/// A cursor in memory.
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

/// A cursor as it is written: with the number of unacknowledged records in each sealed generation that is partly done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) done: Acknowledged,
    /// Generation → records still to be acknowledged. `None`: not written for lack of room, to be counted anew.
    pub(crate) pending: Option<BTreeMap<u64, u64>>,
}

/// Encodes a cursor; if it would grow too large, its highest intervals are left out: after a crash they are delivered
/// again, which is allowed, where skipping would not be.
pub(crate) fn encode(done: &Acknowledged, pending: &BTreeMap<u64, u64>) -> Vec<u8> {
    let full = encode_some(done, usize::MAX, Some(pending));
    if full.len() <= STORED_BYTES_MAX {
        return full;
    }
    // An interval takes at most 20 bytes.
    encode_some(done, STORED_BYTES_MAX / 20 - 2, None)
}

fn encode_some(
    done: &Acknowledged,
    gaps_max: usize,
    pending: Option<&BTreeMap<u64, u64>>,
) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_varint(&mut out, done.low());
    put_varint(&mut out, done.gaps().min(gaps_max) as u64);
    let mut at = done.low();
    for range in done.above().take(gaps_max) {
        put_varint(&mut out, range.start() - at);
        put_varint(&mut out, range.end() - range.start());
        at = *range.end();
    }
    let Some(pending) = pending else { return out };
    put_varint(&mut out, pending.len() as u64);
    for (generation, records) in pending {
        put_varint(&mut out, *generation);
        put_varint(&mut out, *records);
    }
    out
}

/// Decodes what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Option<Stored> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION {
        return None;
    }
    let mut done = Acknowledged::below(reader.varint()?);
    let mut at = done.low();
    for _ in 0..reader.varint()? {
        let first = at.checked_add(reader.varint()?)?;
        at = first.checked_add(reader.varint()?)?;
        done.insert(first, at);
    }
    if reader.is_empty() {
        return Some(Stored {
            done,
            pending: None,
        });
    }
    let mut pending = BTreeMap::new();
    for _ in 0..reader.varint()? {
        pending.insert(reader.varint()?, reader.varint()?);
    }
    Some(Stored {
        done,
        pending: Some(pending),
    })
}

/// A lane as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneInfo {
    /// Number used in routes.
    pub id: LaneId,
    /// Name it was created under.
    pub name: String,
}

/// What a lane has still to deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Records routed to the lane and not acknowledged.
    pub events: u64,
    /// Their bytes; an estimate from the mean record size of each generation.
    pub bytes: u64,
    /// Time of the oldest of them, as near as is known without reading; `None` when there are none.
    pub oldest_time_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was_or_behind_it_never_ahead(
            low in 1u64..1 << 40,
            gaps in prop::collection::vec((1u64..1 << 20, 0u64..1 << 20), 0..1200),
            pending in prop::collection::btree_map(any::<u64>(), any::<u64>(), 0..20),
        ) {
            let mut done = Acknowledged::below(low);
            let mut at = low;
            for (gap, extra) in gaps {
                done.insert(at + gap, at + gap + extra);
                at += gap + extra + 1;
            }
            let bytes = encode(&done, &pending);
            prop_assert!(bytes.len() <= STORED_BYTES_MAX);
            let stored = decode(&bytes).unwrap();
            match &stored.pending {
                Some(found) => prop_assert!(found == &pending && stored.done == done),
                None => prop_assert!(stored.done.above().all(|r| done.covers(*r.start(), *r.end()))),
            }
            prop_assert_eq!(stored.done.low(), done.low());
        }

        #[test]
        fn noise_never_makes_a_panic(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&noise);
        }
    }

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
