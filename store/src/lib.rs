//! store

/// The place of a record in the log: 1, 2, 3, … without gaps.
pub type Sequence = u64;
/// A small stable number of an upstream's lane.
pub type LaneId = u16;
