//! A request at the control socket: what it asks for, and who sends it.

pub(super) mod peer;
pub(super) mod query;
pub(super) mod reload;
