//! What was accepted and what became of it: events and dead letters.

pub(super) mod dead_letters;
mod envelope;
pub(super) mod events;
