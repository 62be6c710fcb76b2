//! Lanes as callers see them: how records are routed to them, how far they are, what they have still to deliver.

use crate::{LaneId, Sequence};
use std::ops::RangeInclusive;

/// A lane that must see a record, and how urgent it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// From [`crate::Store::lane`].
    pub lane: LaneId,
    /// 0 to 3, 3 is the most urgent.
    pub class: u8,
}

/// How far one lane is in one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Every sequence below is acknowledged or not routed here.
    pub low: Sequence,
    /// Acknowledged intervals above `low`, ascending, not touching.
    pub above: Vec<RangeInclusive<Sequence>>,
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
