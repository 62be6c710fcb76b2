//! What evaluation keeps between events.
//!
//! In this version that is counters, and scratch space and routes that only save work. It is the
//! place where windows and timers will live.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::eval::NameId;
use crate::json::Slot;
use crate::route::RouteCache;
use crate::ruleset::RuleSet;
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

    /// Counters of every rule by its name, `unmatched` last if there is such a block.
    pub fn rules<'s>(
        &'s self,
        rules: &'s RuleSet,
    ) -> impl Iterator<Item = (&'s str, &'s RuleCounts)> {
        let mine = self.owner == Some(rules.fingerprint());
        let counts = if mine { self.rules.as_slice() } else { &[] };
        rules.names_with_unmatched().zip(counts)
    }

    /// What was undefined how often at the rule `counts` belong to, by name.
    pub fn undefined<'s>(
        &'s self,
        rules: &'s RuleSet,
        counts: &'s RuleCounts,
    ) -> impl Iterator<Item = (Arc<str>, u64)> {
        counts
            .undefined_names
            .iter()
            .map(|(name, count)| (rules.undefined_name(*name), *count))
    }

    /// Counters of the whole.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Makes the state fit `rules`; starts anew if it belonged to others.
    pub(crate) fn adopt(&mut self, rules: &RuleSet) {
        if self.owner == Some(rules.fingerprint()) {
            return;
        }
        *self = State {
            owner: Some(rules.fingerprint()),
            slots: vec![Slot::Missing; rules.slot_count()],
            rules: vec![RuleCounts::default(); rules.names_with_unmatched().count()],
            ..State::default()
        };
    }
}
