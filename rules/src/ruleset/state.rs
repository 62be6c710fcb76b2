//! What evaluation keeps between events.
//!
//! In this version that is counters, and scratch space and routes that only save work. It is the
//! place where windows and timers will live.

use std::collections::BTreeMap;

use super::route::RouteCache;
use crate::compile::closure::NameId;
use crate::compile::rule::CompiledRules;
use crate::event::json::Slot;
use crate::value::Value;

/// State of one stream of events under one rule set. A state met by another rule set starts anew.
#[derive(Debug, Default)]
pub struct State {
    /// Fingerprint of the rule set it belongs to.
    pub(crate) owner: Option<u64>,
    pub(crate) routes: RouteCache,
    pub(crate) slots: Vec<Slot>,
    pub(crate) locals: Vec<Option<Value>>,
    pub(crate) rules: Vec<RuleCounts>,
    pub(crate) totals: Totals,
}

/// What happened at one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Events its topics accepted.
    pub seen: u64,
    /// Events that got past every `when`.
    pub passed: u64,
    /// Events that a `when` found false.
    pub stopped: u64,
    /// Events that a `when` could not decide.
    pub undefined: u64,
    /// Events that went to the dead letters because of an evaluation error.
    pub errors: u64,
    /// Outputs sent.
    pub sent: u64,
    pub(crate) undefined_names: BTreeMap<NameId, u64>,
}

/// What happened to events as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events no rule's topics accepted.
    pub unmatched: u64,
    /// Of those, events that no `unmatched` block took either.
    pub dropped_unmatched: u64,
    /// Payloads that were to be JSON and were not.
    pub invalid_json: u64,
    /// Events that broke the declaration of their type.
    pub broken_promises: u64,
}

impl State {
    /// A state that has seen nothing.
    pub fn new() -> State {
        State::default()
    }

    /// Counters of the whole.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Makes the state fit the rule set with this fingerprint; starts anew if it belonged to
    /// another.
    pub(crate) fn adopt(&mut self, owner: u64, rules: &CompiledRules) {
        if self.owner == Some(owner) {
            return;
        }
        *self = State {
            owner: Some(owner),
            slots: vec![Slot::Missing; rules.fields.len()],
            rules: vec![RuleCounts::default(); rules.with_unmatched().count()],
            ..State::default()
        };
    }
}
