//! A dead letter as the caller gives it and gets it back.

use crate::Sequence;

/// The record's sequence, and a number to tell its dead letters (one per upstream) apart.
pub type DeadLetterId = (Sequence, u16);

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its key.
    pub id: DeadLetterId,
    /// What was put, byte for byte.
    pub bytes: Vec<u8>,
}
