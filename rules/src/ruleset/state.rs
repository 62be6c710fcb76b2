//! What evaluation keeps between events: counters and timers of the rules, and scratch space and
//! routes that only save work.

use std::collections::{BTreeMap, HashMap};

use super::counters::{RuleCounts, Totals, UnreadCounters};
use super::route::RouteCache;
use super::timers::Timers;
use crate::compile::rule::CompiledRules;
use crate::event::json::Slot;
use crate::syntax::fingerprint::Fingerprint;
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

    /// The state under `new` rules: every rule that is called and says the same as before keeps
    /// what it has, wherever it stands. Scratch space starts anew.
    pub(crate) fn carry(
        mut self,
        old: &CompiledRules,
        (owner, new): (u64, &CompiledRules),
    ) -> State {
        let before: HashMap<&str, (usize, Fingerprint)> = old
            .with_unmatched()
            .zip(0..)
            .map(|(rule, at)| (&*rule.name, (at, rule.fingerprint)))
            .collect();
        let mut carried = State::default();
        carried.adopt(owner, new);
        let mut moved: Vec<Option<usize>> = vec![None; self.rules.len()];
        for (rule, at) in new.with_unmatched().zip(0..) {
            let Some((before, fingerprint)) = before.get(&*rule.name).copied() else {
                continue;
            };
            if fingerprint == rule.fingerprint {
                let counts = std::mem::take(&mut self.rules[before]);
                carried.rules[at] = counts.renamed(&old.names, &new.names);
                moved[before] = Some(at);
            }
        }
        carried.totals = self.totals;
        carried.unread = self.unread;
        for ((event, field), count) in self.broken {
            if let Some(place) = same_field(old, new, event, field) {
                carried.broken.insert(place, count);
            }
        }
        carried.timers = self.timers.carry(|before| moved[before]);
        carried
    }
}

/// Where the declared field of one rule set is in another, by its names.
fn same_field(
    old: &CompiledRules,
    new: &CompiledRules,
    event: usize,
    field: usize,
) -> Option<(usize, usize)> {
    let declared = old.events.get(event)?;
    let name = &declared.contract.get(field)?.name;
    let event = new.events.iter().position(|e| e.name == declared.name)?;
    let mut fields = new.events[event].contract.iter();
    Some((event, fields.position(|field| field.name == *name)?))
}
