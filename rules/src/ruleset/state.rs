//! What evaluation keeps between events: counters and timers of the rules, and scratch space and
//! routes that only save work.

use std::collections::BTreeMap;

use super::counters::{RuleCounts, Totals, UnreadCounters};
use super::route::RouteCache;
use super::timers::Timers;
use crate::compile::rule::CompiledRules;
use crate::event::json::Slot;
use crate::value::Value;

/// State of one stream of events under one rule set. A state met by another rule set starts anew,
/// unless [`RuleSet::carry`](super::RuleSet::carry) hands it over.
#[derive(Debug, Default)]
pub struct State {
    /// Fingerprint of the rule set it belongs to.
    pub(crate) owner: Option<u64>,
    pub(crate) routes: RouteCache,
    pub(crate) slots: Vec<Slot>,
    pub(crate) locals: Vec<Option<Value>>,
    pub(crate) written: Vec<Option<String>>,
    pub(crate) rules: Vec<RuleCounts>,
    pub(crate) totals: Totals,
    pub(crate) timers: Timers,
    pub(crate) unread: Vec<UnreadCounters>,
    /// Broken declarations by event and field, both by their place.
    pub(crate) broken: BTreeMap<(usize, usize), u64>,
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
