//! Time: the one clock of the process, and how long to wait before trying again.

pub mod backoff;
pub mod clock;
