//! Events and the rule language: pure, no clock, no sockets.
//!
//! The way of a rule file: [`syntax`] (tokens, a tree that holds every byte, what it says) →
//! `check` (names and types) → `ir` (everything settled) → `compile` (closures, each for one type)
//! → [`RuleSet`]. The way of an event through a rule set: its topic (by the [`topic::index`]) →
//! the rules of that topic → only the fields those rules read (`event::json`) → the closures →
//! [`decision::Decision`]. What rules remember between events is a [`State`]: it goes from one rule
//! set to the next by [`RuleSet::carry`], and says when the rules want to be woken.
//!
//! The language itself is described in the README of this package.

#![forbid(unsafe_code)]

mod check;
mod compile;
pub mod decision;
pub mod diagnostic;
pub mod event;
mod ir;
mod ruleset;
pub mod syntax;
pub mod topic;
mod value;

pub use decision::Destinations;
pub use event::json::JSON_DEPTH_MAX;
pub use ruleset::{
    BrokenCounters, Checked, Counters, Handover, RULES_MAX, RuleCounters, RuleCounts, RuleSet,
    State, Totals, UnreadCounters, compile, compile_while,
};
pub use syntax::rule_file::{FILE_BYTES_MAX, RuleFile};
