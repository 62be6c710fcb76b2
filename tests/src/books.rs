//! Set arithmetic: what was acknowledged against what arrived.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One event of the oracle: its publisher and its number.
pub type Id = (u32, u64);

/// The payload that belongs to an id, and to no other: the checker makes it again.
pub fn payload(id: Id) -> Vec<u8> {
    let mut mixed = (u64::from(id.0) << 40) ^ id.1 ^ 0x9e37_79b9_7f4a_7c15;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!(
        r#"{{"publisher":{},"n":{},"check":"{:016x}"}}"#,
        id.0,
        id.1,
        mixed ^ (mixed >> 31)
    )
    .into_bytes()
}

/// The id in a payload, if the payload is the one that belongs to it; in a structured CloudEvent
/// its `data` has to be.
pub fn read(bytes: &[u8]) -> Option<Id> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let is_wrapped = value["specversion"].is_string();
    if is_wrapped {
        value = value["data"].take();
    }
    let id = (value["publisher"].as_u64()? as u32, value["n"].as_u64()?);
    let own = payload(id);
    let belongs = match is_wrapped {
        true => serde_json::from_slice::<Value>(&own).ok()? == value,
        false => own == bytes,
    };
    belongs.then_some(id)
}

/// Whether a structured CloudEvent is marked as part of a backlog that live events overtook.
pub fn is_historical(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value["historical"] == "true")
}

/// What the comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged and not arrived.
    pub missing: Vec<Id>,
    /// Arrived although nobody sent them, or altered on the way.
    pub invented: usize,
    /// Arrived again.
    pub duplicates: usize,
    /// First arrivals that came after a later one of the same publisher.
    pub out_of_order: Vec<Id>,
}

/// Compares the two sides. `arrived` is in order of arrival; `None` is a payload of no id.
pub fn compare(
    acknowledged: &BTreeSet<Id>,
    sent: &BTreeSet<Id>,
    arrived: &[Option<Id>],
) -> Findings {
    let mut findings = Findings::default();
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for id in arrived {
        match id {
            Some(id) if sent.contains(id) => {
                if !seen.insert(*id) {
                    findings.duplicates += 1;
                    continue;
                }
                let last = last.entry(id.0).or_insert(id.1);
                if id.1 < *last {
                    findings.out_of_order.push(*id);
                }
                *last = id.1.max(*last);
            }
            _ => findings.invented += 1,
        }
    }
    findings.missing = acknowledged.difference(&seen).copied().collect();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_see_what_is_missing_invented_repeated_and_out_of_order() {
        let sent: BTreeSet<Id> = (0..5).map(|n| (1, n)).collect();
        let arrived = [
            Some((1, 0)),
            Some((1, 2)),
            Some((1, 1)),
            Some((1, 2)),
            None,
            Some((2, 0)),
        ];
        let findings = compare(&sent, &sent, &arrived);
        assert_eq!(findings.missing, [(1, 3), (1, 4)]);
        assert_eq!((findings.invented, findings.duplicates), (2, 1));
        assert_eq!(findings.out_of_order, [(1, 1)]);
    }

    #[test]
    fn a_payload_in_an_envelope_is_read_as_strictly() {
        let own = String::from_utf8(payload((3, 14))).expect("it is text");
        let wrapped = format!(r#"{{"specversion":"1.0","historical":"true","data":{own}}}"#);
        assert_eq!(read(wrapped.as_bytes()), Some((3, 14)));
        assert!(is_historical(wrapped.as_bytes()) && !is_historical(own.as_bytes()));
        assert_eq!(read(wrapped.replace("14", "15").as_bytes()), None);
    }

    #[test]
    fn an_altered_payload_belongs_to_no_id() {
        let mut bytes = payload((3, 14));
        assert_eq!(read(&bytes), Some((3, 14)));
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
        assert_eq!(read(&bytes), None);
    }
}
