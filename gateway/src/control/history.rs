//! What the store holds, as people look at it: events with their fates, dead letters,
//! figures, verification, copies.
//!
//! The control API and the command line both answer from here, so that a gateway that runs and
//! a store that lies there look the same.

pub mod dead_letters;
pub mod event;
pub mod search;
pub mod store;

use tidegate_store::ReadError;

/// Why the store could not be looked at.
#[derive(Debug)]
pub enum HistoryError {
    /// The filter, time or id cannot be read.
    InvalidQuery(String),
    /// Nothing of this name is held.
    NotFound(String),
    /// The store cannot be read now.
    Read(ReadError),
    /// It is held and cannot be used; the message says why.
    Unusable(String),
}

impl std::fmt::Display for HistoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HistoryError::InvalidQuery(why)
            | HistoryError::NotFound(why)
            | HistoryError::Unusable(why) => f.write_str(why),
            HistoryError::Read(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for HistoryError {}

impl From<ReadError> for HistoryError {
    fn from(error: ReadError) -> HistoryError {
        HistoryError::Read(error)
    }
}
