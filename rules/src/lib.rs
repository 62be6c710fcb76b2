//! Events and the rule language: pure, no clock, no sockets.

#![forbid(unsafe_code)]

pub mod decision;
pub mod diagnostic;
pub mod event;
pub mod index;
mod suggest;
pub mod topic;
