//! A cursor as it is written among the small keys.

use super::acknowledged::Acknowledged;
use crate::format::varint::{Reader, put_varint};
use std::collections::BTreeMap;

const VERSION: u8 = 1;
/// A stored cursor stays below this, far from what sled would move into an unsynced file.
const STORED_BYTES_MAX: usize = 3000;

/// A cursor as it is written: with the number of unacknowledged records in each sealed generation that is partly done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredCursor {
    pub(crate) done: Acknowledged,
    /// Generation → records still to be acknowledged. `None`: not written for lack of room, to be counted anew.
    pub(crate) unacknowledged: Option<BTreeMap<u64, u64>>,
}

/// Encodes a cursor; if it would grow too large, its highest intervals are left out: after a crash they are delivered
/// again, which is allowed, where skipping would not be.
pub(crate) fn encode(done: &Acknowledged, unacknowledged: &BTreeMap<u64, u64>) -> Vec<u8> {
    let full = encode_some(done, usize::MAX, Some(unacknowledged));
    if full.len() <= STORED_BYTES_MAX {
        return full;
    }
    // An interval takes at most 20 bytes.
    encode_some(done, STORED_BYTES_MAX / 20 - 2, None)
}

fn encode_some(
    done: &Acknowledged,
    gaps_max: usize,
    unacknowledged: Option<&BTreeMap<u64, u64>>,
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
    let Some(unacknowledged) = unacknowledged else {
        return out;
    };
    put_varint(&mut out, unacknowledged.len() as u64);
    for (generation, records) in unacknowledged {
        put_varint(&mut out, *generation);
        put_varint(&mut out, *records);
    }
    out
}

/// Decodes what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Option<StoredCursor> {
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
        return Some(StoredCursor {
            done,
            unacknowledged: None,
        });
    }
    let mut unacknowledged = BTreeMap::new();
    for _ in 0..reader.varint()? {
        unacknowledged.insert(reader.varint()?, reader.varint()?);
    }
    Some(StoredCursor {
        done,
        unacknowledged: Some(unacknowledged),
    })
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
            unacknowledged in prop::collection::btree_map(any::<u64>(), any::<u64>(), 0..20),
        ) {
            let mut done = Acknowledged::below(low);
            let mut at = low;
            for (gap, extra) in gaps {
                done.insert(at + gap, at + gap + extra);
                at += gap + extra + 1;
            }
            let bytes = encode(&done, &unacknowledged);
            prop_assert!(bytes.len() <= STORED_BYTES_MAX);
            let stored = decode(&bytes).unwrap();
            match &stored.unacknowledged {
                Some(found) => prop_assert!(found == &unacknowledged && stored.done == done),
                None => prop_assert!(stored.done.above().all(|r| done.covers(*r.start(), *r.end()))),
            }
            prop_assert_eq!(stored.done.low(), done.low());
        }

        #[test]
        fn noise_never_makes_a_panic(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&noise);
        }
    }
}
