//! What is to be done with events of one topic, worked out once and remembered.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::compile::rule::CompiledRules;
use crate::event::json::{FieldId, Wanted};
use crate::ir::{Rule, RuleSource};
use crate::topic::index::TopicIndex;

/// Finds the rules of a topic.
#[derive(Debug)]
pub(crate) struct Router {
    /// (rule, source of that rule)
    index: TopicIndex<(u32, u32)>,
    /// By rule.
    sources: Vec<Vec<RuleSource>>,
}

/// The rules that accept a topic, and what they read.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) rules: Vec<RouteRule>,
    /// Declared events whose promises are checked.
    pub(crate) events: Vec<usize>,
    pub(crate) wanted: Wanted,
}

/// One rule of a route.
#[derive(Debug)]
pub(crate) struct RouteRule {
    pub(crate) rule: usize,
    /// The declared event by which it accepts the topic.
    pub(crate) event: Option<usize>,
    /// Where its captures are in this topic.
    pub(crate) captures: Vec<Option<Range<usize>>>,
}

/// How much memory remembered routes may take, roughly, in bytes.
const WEIGHT_MAX: usize = 8 << 20;

/// Recently used routes by topic. When the young ones are half of what is allowed, they become the
/// old ones and the old ones are forgotten: near enough to least recently used, at no cost.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    young: HashMap<Arc<str>, Arc<Route>>,
    old: HashMap<Arc<str>, Arc<Route>>,
    /// Of the young ones.
    weight: usize,
}

impl Router {
    pub(crate) fn new(rules: &[Rule]) -> Router {
        let mut index = TopicIndex::new();
        for (rule, at) in rules.iter().zip(0u32..) {
            for (source, place) in rule.sources.iter().zip(0u32..) {
                index.insert(&source.filter, (at, place));
            }
        }
        let sources = rules.iter().map(|rule| rule.sources.clone()).collect();
        Router { index, sources }
    }

    /// The rules that accept `topic`. A rule that accepts it in several ways runs once, by the
    /// first of its sources.
    pub(crate) fn find(&self, rules: &CompiledRules, topic: &str) -> Route {
        let mut found: Vec<(u32, u32)> = Vec::new();
        self.index.matching(topic, |hit| found.push(*hit));
        found.sort_unstable();
        found.dedup_by_key(|(rule, _)| *rule);
        let mut route = Route::default();
        let mut reads: Vec<FieldId> = Vec::new();
        for (rule, source) in found {
            let (rule, source) = (rule as usize, source as usize);
            let source = &self.sources[rule][source];
            reads.extend(&rules.rules[rule].reads);
            if let Some(event) = source.event
                && !route.events.contains(&event)
            {
                route.events.push(event);
                let contract = rules.events[event].contract.iter();
                reads.extend(contract.filter(|f| f.promises()).map(|f| f.id));
            }
            route.rules.push(RouteRule {
                rule,
                event: source.event,
                captures: source
                    .captures
                    .iter()
                    .map(|capture| capture.as_ref().map(|capture| capture.find(topic)))
                    .collect(),
            });
        }
        route.wanted = rules.wanted(reads);
        route
    }
}

impl Route {
    /// What remembering it under `topic` costs, roughly, in bytes.
    fn weight(&self, topic: &str) -> usize {
        let captures: usize = self.rules.iter().map(|rule| rule.captures.len()).sum();
        200 + topic.len() + 64 * self.rules.len() + 24 * captures + 96 * self.wanted.len()
    }
}

impl RouteCache {
    /// The route for `topic`, worked out by `find` if it is not remembered.
    pub(crate) fn get(&mut self, topic: &Arc<str>, find: impl FnOnce() -> Route) -> Arc<Route> {
        if let Some(route) = self.young.get(topic) {
            return Arc::clone(route);
        }
        let route = match self.old.remove(topic) {
            Some(route) => route,
            None => Arc::new(find()),
        };
        let weight = route.weight(topic);
        self.weight += weight;
        if self.weight > WEIGHT_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.weight = weight;
        }
        self.young.insert(Arc::clone(topic), Arc::clone(&route));
        route
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_routes_is_bounded_and_used_ones_stay() {
        let mut cache = RouteCache::default();
        let often: Arc<str> = "often".into();
        let mut found = 0;
        for at in 0..40_000 {
            let topic: Arc<str> = format!("{at}/{}", "x".repeat(1_000)).into();
            cache.get(&topic, Route::default);
            cache.get(&often, || {
                found += 1;
                Route::default()
            });
        }
        let topics = cache.young.keys().chain(cache.old.keys());
        let bytes: usize = topics.map(|topic| topic.len()).sum();
        assert!(bytes < WEIGHT_MAX, "{bytes}");
        assert_eq!(found, 1);
    }
}
