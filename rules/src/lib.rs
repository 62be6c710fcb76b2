//! Events and the rule language: pure, no clock, no sockets.
//!
//! The way of a rule file: [`parser`] (a tree that holds every byte) → `lower` (what it says) →
//! `check` (names and types) → `ir` (everything settled) → `compile` (closures, each for one type)
//! → [`RuleSet`]. The way of an event: `route` (the rules of its topic, by the [`index`]) →
//! `json` (only the fields those rules read) → `run` → [`decision::Decision`].
//!
//! The language itself is described in the README of this package.

#![forbid(unsafe_code)]

mod ast;
mod builtin;
mod check;
mod compile;
pub mod decision;
pub mod diagnostic;
mod eval;
pub mod event;
pub mod index;
mod ir;
mod json;
mod lexer;
mod lower;
pub mod parser;
mod program;
mod route;
mod ruleset;
mod run;
mod state;
mod suggest;
pub mod syntax;
pub mod topic;
pub mod types;
mod value;
mod when;

pub use json::JSON_DEPTH_MAX;
pub use ruleset::{Checked, Destinations, FILE_BYTES_MAX, RULES_MAX, RuleFile, RuleSet, compile};
pub use state::{RuleCounts, State, Totals};
