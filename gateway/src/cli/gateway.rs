//! How the command line reaches the gateway that runs, or the store of one that does not.

pub(super) mod control_client;
pub(super) mod event_store;
pub(super) mod known_names;
pub(super) mod permission;
