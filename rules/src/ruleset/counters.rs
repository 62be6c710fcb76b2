//! What happened at rules and to events, counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compile::closure::NameId;

/// What happened at one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Events its topics accepted, and timers of it that fell due.
    pub seen: u64,
    /// Events that got past every `when`.
    pub passed: u64,
    /// Events that a `when` found false.
    pub stopped: u64,
    /// Events that a `when` could not decide.
    pub undefined: u64,
    /// Events that broke their declaration or ended in an evaluation error.
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

/// All counters at one moment, apart from the state: for another thread to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of events as a whole.
    pub totals: Totals,
    /// Of every rule in the order of the files, `unmatched` last if there is such a block.
    pub rules: Vec<RuleCounters>,
}

/// The counters of one rule at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// The rule.
    pub rule: Arc<str>,
    /// What happened at it.
    pub counts: RuleCounts,
    /// What was undefined how often, by name.
    pub undefined: Vec<(Arc<str>, u64)>,
}

impl RuleCounts {
    /// The same under the names of another set. A name that is no longer spelled so starts anew.
    pub(crate) fn renamed(mut self, new: impl Fn(NameId) -> Option<NameId>) -> RuleCounts {
        if !self.undefined_names.is_empty() {
            let counts = std::mem::take(&mut self.undefined_names);
            let renamed = |(name, count)| Some((new(name)?, count));
            self.undefined_names = counts.into_iter().filter_map(renamed).collect();
        }
        self
    }
}
