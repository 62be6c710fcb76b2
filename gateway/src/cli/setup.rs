//! What a person needs once, before anything runs.

pub(super) mod completions;
pub(super) mod hash_password;
#[cfg(not(feature = "demo"))]
pub(super) mod without_demo;
