//! Appending: a commit is built, packed into blocks and made durable; a new generation begins when the last one is full, or
//! after a failure.

pub(crate) mod appender;
pub(crate) mod commit;
pub(crate) mod lanes;
pub(crate) mod packing;
pub(crate) mod rotation;
