//! Time: the one clock of the process, how long to wait before trying again, when to stop, and
//! what goes on meanwhile.

pub mod backoff;
pub mod clock;
pub mod shutdown;
pub mod task;
