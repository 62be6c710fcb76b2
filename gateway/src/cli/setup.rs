//! What a person needs once, before anything runs.

pub(super) mod completions;
pub(super) mod hash_password;
pub(super) mod itself;
