//! What a person needs once, before anything runs.

pub(super) mod bench;
pub(super) mod completions;
pub(super) mod doctor;
pub(super) mod hash_password;
pub(super) mod init;
mod machine;
#[cfg(not(feature = "demo"))]
pub(super) mod without_demo;

/// Where the data of a gateway lies that is a service of the system.
const DATA_DIR: &str = "/var/lib/tidegate";
/// Connections that a listener allows where nothing else is said.
const LISTEN_CONNECTIONS: usize = 1_000;
