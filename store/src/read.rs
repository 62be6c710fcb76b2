//! Reading: for lanes and searches, record by record for those who make room, and everything for a verification or a
//! backup. Confirming what was read.

pub(crate) mod acknowledging;
pub(crate) mod backup;
pub(crate) mod collector;
pub(crate) mod frames;
pub(crate) mod generation_copy;
pub(crate) mod reader;
pub(crate) mod records;
pub(crate) mod verify;
pub(crate) mod wanted;
