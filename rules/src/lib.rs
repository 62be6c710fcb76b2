//! Events and the rule language: pure, no clock, no sockets.

pub mod decision;
pub mod event;
