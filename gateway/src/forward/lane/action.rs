//! What a lane asks for: what is to be done to the store, and what became of records.

use tidegate_store::{Sequence, StoredRecord};

use crate::event::dead_letter::Cause;
use crate::forward::window::InFlight;

/// What became of a record; of its outputs the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::forward) enum Fate {
    /// It has nothing for this lane.
    Empty,
    /// The upstream acknowledged all of it.
    Delivered,
    /// The time of some of it was over before it could be sent.
    Expired,
    /// Some of it is a dead letter, or was shed.
    Dead,
    /// Some of it would have been one dead letter too many.
    Dropped,
}

impl Fate {
    pub(super) const ALL: [Fate; 5] = [
        Fate::Empty,
        Fate::Delivered,
        Fate::Expired,
        Fate::Dead,
        Fate::Dropped,
    ];
}

/// A delivery that is given up as soon as it is kept as a dead letter.
#[derive(Debug)]
pub(in crate::forward) struct Undeliverable {
    pub(in crate::forward) entry: InFlight,
    pub(in crate::forward) cause: Cause,
    pub(in crate::forward) reason: String,
    /// The record, where it has just been read and cannot be decoded.
    pub(in crate::forward) stored: Option<StoredRecord>,
}

/// What is to be done to the store.
#[derive(Debug)]
pub(in crate::forward) enum Action {
    /// Keep these outputs of one record as a dead letter, in their order; then say of each [`Lane::kept`] if it is
    /// durable, else [`Lane::not_kept`].
    KeepDeadLetter(Vec<Undeliverable>),
    /// These records of a class are done with.
    Confirm {
        class: u8,
        sequences: Vec<Sequence>,
        fate: Fate,
    },
}
