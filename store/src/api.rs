//! What callers and store say to each other: settings, limits, what a read gives, lanes, gaps, figures, and one error per
//! operation. Nothing in here does anything.

pub(crate) mod batch;
pub(crate) mod dead_letter;
pub(crate) mod error;
pub(crate) mod gap;
pub(crate) mod lane;
pub(crate) mod limits;
pub(crate) mod options;
pub(crate) mod search;
pub(crate) mod status;
