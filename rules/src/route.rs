//! What is to be done with events of one topic, worked out once and remembered.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::json::Wanted;

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

/// How much all remembered routes may weigh, in rules and topics.
const WEIGHT_MAX: usize = 65_536;

/// Recently used routes by topic. When the young ones are half of what is allowed, they become the
/// old ones and the old ones are forgotten: near enough to least recently used, at no cost.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    young: HashMap<Arc<str>, Arc<Route>>,
    old: HashMap<Arc<str>, Arc<Route>>,
    weight: usize,
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
        self.weight += 4 + route.rules.len();
        if self.weight > WEIGHT_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.weight = 4 + route.rules.len();
        }
        self.young.insert(Arc::clone(topic), Arc::clone(&route));
        route
    }
}
