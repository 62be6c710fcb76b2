//! What the store stands on: sled and what it takes to rely on it, the file system, room on the disk, time and locks.

pub(crate) mod ballast;
pub(crate) mod clock;
pub(crate) mod database_files;
pub(crate) mod disk;
pub(crate) mod failure;
pub(crate) mod free_space;
pub(crate) mod lock;
pub(crate) mod self_test;
#[allow(unsafe_code)]
pub(crate) mod shim;
pub(crate) mod sled;
pub(crate) mod value_log;
mod watchdog;
