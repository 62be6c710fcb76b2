//! What was given up undelivered, by shedding or by age: an account of each step, and the sums.

use crate::{LaneId, Sequence};

/// Labels that one account names; the rest is summed up.
const LABELS_MAX: usize = 32;
/// Marks of the store itself begin so; callers' marks must not.
const TOTAL_PREFIX: &[u8] = b"\0gap/";

/// Why records were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// The room was needed.
    Shed,
    /// Older than `expire_after`.
    Expired,
}

impl GapReason {
    /// One word, for events and metrics.
    pub fn word(self) -> &'static str {
        match self {
            GapReason::Shed => "shed",
            GapReason::Expired => "expired",
        }
    }
}

/// What one lane lost in one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapLane {
    /// The lane.
    pub lane: LaneId,
    /// Its name.
    pub name: String,
    /// 0 to 3.
    pub class: u8,
    /// Records routed to it in this class that it will not get.
    pub events: u64,
}

/// The account of one step: of one generation, one class (all classes where records expired).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// Records that at least one lane will not get.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
    /// First and last of their sequences. Others in between may have been delivered.
    pub first: Sequence,
    /// See `first`.
    pub last: Sequence,
    /// Earliest time of a record, milliseconds.
    pub time_min_ms: u64,
    /// Latest time of a record, milliseconds.
    pub time_max_ms: u64,
    /// By lane and class; each delivery that will not happen is counted once.
    pub lanes: Vec<GapLane>,
    /// Records by the label that the caller gave them (their source), at most 32 labels.
    pub labels: Vec<(String, u64)>,
    /// Records with further labels.
    pub other_labels: u64,
}

impl Gap {
    pub(crate) fn new(reason: GapReason) -> Gap {
        Gap {
            reason,
            records: 0,
            bytes: 0,
            first: Sequence::MAX,
            last: 0,
            time_min_ms: u64::MAX,
            time_max_ms: 0,
            lanes: Vec::new(),
            labels: Vec::new(),
            other_labels: 0,
        }
    }

    /// Deliveries that will not happen, over all lanes.
    pub fn events(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.events).sum()
    }

    pub(crate) fn count_record(&mut self, sequence: Sequence, time_ms: u64, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
        self.first = self.first.min(sequence);
        self.last = self.last.max(sequence);
        self.time_min_ms = self.time_min_ms.min(time_ms);
        self.time_max_ms = self.time_max_ms.max(time_ms);
    }

    pub(crate) fn count_label(&mut self, label: &str) {
        let known = self.labels.iter().position(|(known, _)| known == label);
        let has_room = self.labels.len() < LABELS_MAX;
        match known.and_then(|at| self.labels.get_mut(at)) {
            Some((_, count)) => *count += 1,
            None if has_room => self.labels.push((label.to_owned(), 1)),
            None => self.other_labels += 1,
        }
    }

    pub(crate) fn count_lane(&mut self, lane: LaneId, name: &str, class: u8, events: u64) {
        let name = name.to_owned();
        self.lanes.push(GapLane {
            lane,
            name,
            class,
            events,
        });
    }
}

/// What a lane lost in a class since the store was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapTotal {
    /// The lane's name.
    pub lane: String,
    /// 0 to 3.
    pub class: u8,
    /// Why.
    pub reason: GapReason,
    /// Deliveries.
    pub events: u64,
}

/// The key of a sum among the small durable keys: it moves in the same commit as the cursor.
pub(crate) fn total_key(lane: &str, class: u8, reason: GapReason) -> Vec<u8> {
    let fixed = [reason as u8, class];
    [TOTAL_PREFIX, &fixed, lane.as_bytes()].concat()
}

/// The sums among `marks`.
pub(crate) fn totals<'a>(marks: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> Vec<GapTotal> {
    marks
        .filter_map(|(key, value)| {
            let (fixed, lane) = key.strip_prefix(TOTAL_PREFIX)?.split_first_chunk::<2>()?;
            let reason = match fixed[0] {
                0 => GapReason::Shed,
                1 => GapReason::Expired,
                _ => return None,
            };
            Some(GapTotal {
                lane: String::from_utf8_lossy(lane).into_owned(),
                class: fixed[1],
                reason,
                events: u64::from_le_bytes(value.as_slice().try_into().ok()?),
            })
        })
        .collect()
}
