//! From the state of one rule set to that of the next. What takes its time is done before the state
//! is there, so that the events wait only for the counters of the rules to be moved.

use std::collections::HashMap;

use super::state::State;
use crate::compile::closure::NameId;
use crate::compile::rule::CompiledRules;
use crate::syntax::fingerprint::Fingerprint;

/// How the state of one rule set becomes that of another.
#[derive(Debug)]
pub struct Handover {
    from: u64,
    to: u64,
    /// Where each rule of the old set stands in the new one, if it says the same there.
    moved: Vec<Option<usize>>,
    /// The names of the old set in the new one.
    names: Vec<Option<NameId>>,
    /// The declared fields of the old set, by event and field, in the new one.
    fields: HashMap<(usize, usize), (usize, usize)>,
    /// A state of the new set that has seen nothing.
    fresh: State,
}

impl Handover {
    pub(super) fn new(
        (from, old): (u64, &CompiledRules),
        (to, new): (u64, &CompiledRules),
    ) -> Handover {
        let places: HashMap<&str, (usize, Fingerprint)> = new
            .with_unmatched()
            .zip(0..)
            .map(|(rule, at)| (&*rule.name, (at, rule.fingerprint)))
            .collect();
        let moved = old.with_unmatched().map(|rule| {
            let (at, fingerprint) = places.get(&*rule.name).copied()?;
            (fingerprint == rule.fingerprint).then_some(at)
        });
        let mut fresh = State::default();
        fresh.adopt(to, new);
        Handover {
            from,
            to,
            moved: moved.collect(),
            fields: same_fields(old, new),
            names: old.names.all().map(|name| new.names.find(name)).collect(),
            fresh,
        }
    }

    /// Whether it leads from rules of this fingerprint.
    pub fn is_from(&self, fingerprint: u64) -> bool {
        self.from == fingerprint
    }

    /// The state of the new rules, and what is left of the old one, which takes a moment to be
    /// dropped. A state of other rules than the old ones starts anew.
    #[must_use]
    pub fn apply(self, mut state: State) -> (State, State) {
        if state.owner != Some(self.from) {
            return (State::default(), state);
        }
        if self.from == self.to {
            return (state, State::default());
        }
        let mut carried = self.fresh;
        let name = |NameId(id): NameId| self.names.get(id as usize).copied().flatten();
        for (counts, at) in state.rules.iter_mut().zip(&self.moved) {
            if let Some(at) = *at {
                carried.rules[at] = std::mem::take(counts).renamed(name);
            }
        }
        carried.totals = state.totals;
        carried.unread = std::mem::take(&mut state.unread);
        for (place, count) in &state.broken {
            if let Some(place) = self.fields.get(place) {
                carried.broken.insert(*place, *count);
            }
        }
        let timers = std::mem::take(&mut state.timers);
        carried.timers = timers.carry(|before| self.moved[before]);
        (carried, state)
    }
}

/// Where the declared fields of one rule set stand in another, by their names.
fn same_fields(
    old: &CompiledRules,
    new: &CompiledRules,
) -> HashMap<(usize, usize), (usize, usize)> {
    let mut places: HashMap<(&str, &str), (usize, usize)> = HashMap::new();
    for (event, at) in new.events.iter().zip(0..) {
        for (field, to) in event.contract.iter().zip(0..) {
            places.insert((&event.name, &field.name), (at, to));
        }
    }
    let mut same = HashMap::new();
    for (event, at) in old.events.iter().zip(0..) {
        for (field, from) in event.contract.iter().zip(0..) {
            if let Some(place) = places.get(&(&*event.name, &*field.name)) {
                same.insert((at, from), *place);
            }
        }
    }
    same
}
