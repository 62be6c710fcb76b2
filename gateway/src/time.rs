//! Time: the one clock of the process, how long to wait before trying again, and when to stop.

pub mod backoff;
pub mod clock;
pub mod shutdown;
