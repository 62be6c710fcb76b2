//! Which topic filters accept a topic: a trie over levels, so that the cost follows the depth of
//! the topic and the number of matches, not the number of filters.
//!
//! A rule set finds its rules with it.

use std::collections::HashMap;

use crate::topic::TopicFilter;

/// Values filed under topic filters.
#[derive(Debug, Clone)]
pub struct TopicIndex<T> {
    root: Node<T>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Node<T> {
    /// Next level by its exact text.
    exact: HashMap<Box<str>, Node<T>>,
    /// Next level is `+`.
    plus: Option<Box<Node<T>>>,
    /// The filter ends here.
    here: Vec<T>,
    /// The filter ends with `#` here, which also accepts this level itself.
    rest: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Node<T> {
        Node {
            exact: HashMap::new(),
            plus: None,
            here: Vec::new(),
            rest: Vec::new(),
        }
    }
}

impl<T> Default for TopicIndex<T> {
    fn default() -> TopicIndex<T> {
        TopicIndex {
            root: Node::default(),
            len: 0,
        }
    }
}

impl<T> TopicIndex<T> {
    /// An index with nothing in it.
    pub fn new() -> TopicIndex<T> {
        TopicIndex::default()
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Files `value` under `filter`; the same filter may hold many values.
    pub fn insert(&mut self, filter: &TopicFilter, value: T) {
        self.len += 1;
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = match level {
                "#" => return node.rest.push(value),
                "+" => node.plus.get_or_insert_default(),
                exact => node.exact.entry(exact.into()).or_default(),
            };
        }
        node.here.push(value);
    }

    /// Removes the values under `filter` that `unwanted` picks, and says how many they were.
    pub fn remove(&mut self, filter: &TopicFilter, mut unwanted: impl FnMut(&T) -> bool) -> usize {
        let levels: Vec<&str> = filter.levels().collect();
        let removed = self.root.remove(&levels, &mut unwanted);
        self.len -= removed;
        removed
    }

    /// Calls `found` for every value whose filter accepts `topic`, in no particular order.
    pub fn matching<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a T)) {
        let wildcards = !topic.starts_with('$');
        self.root.matching(Some(topic), wildcards, &mut found);
    }

    /// Calls `found` for every value whose filter shares a topic with `filter`, in no particular
    /// order.
    pub fn overlapping<'a>(&'a self, filter: &TopicFilter, mut found: impl FnMut(&'a T)) {
        let levels: Vec<&str> = filter.levels().collect();
        self.root.overlapping(&levels, true, &mut found);
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.plus.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    fn remove(&mut self, levels: &[&str], unwanted: &mut impl FnMut(&T) -> bool) -> usize {
        let Some((level, deeper)) = levels.split_first() else {
            return take_out(&mut self.here, unwanted);
        };
        let (removed, emptied) = match *level {
            "#" => return take_out(&mut self.rest, unwanted),
            "+" => self.plus.as_deref_mut(),
            exact => self.exact.get_mut(exact),
        }
        .map_or((0, false), |next| {
            (next.remove(deeper, unwanted), next.is_empty())
        });
        match *level {
            "+" if emptied => self.plus = None,
            exact if emptied => drop(self.exact.remove(exact)),
            _ => {}
        }
        removed
    }

    /// `levels` are those of the filter below this node; `first` is true at the first of all, where
    /// wildcards do not stand for what starts with `$`.
    fn overlapping<'a>(&'a self, levels: &[&str], first: bool, found: &mut impl FnMut(&'a T)) {
        let hidden = |level: &str| first && level.starts_with('$');
        let Some((level, deeper)) = levels.split_first() else {
            return self.here.iter().chain(&self.rest).for_each(found);
        };
        if *level == "#" {
            return self.all(&hidden, found);
        }
        if !hidden(level) {
            self.rest.iter().for_each(&mut *found);
        }
        if *level == "+" {
            let below = self.exact.iter().filter(|(level, _)| !hidden(level));
            below.for_each(|(_, next)| next.overlapping(deeper, false, found));
        } else if let Some(next) = self.exact.get(*level) {
            next.overlapping(deeper, false, found);
        }
        if let (Some(next), false) = (&self.plus, hidden(level)) {
            next.overlapping(deeper, false, found);
        }
    }

    /// All values here and below, but for those below a `hidden` level.
    fn all<'a>(&'a self, hidden: &dyn Fn(&str) -> bool, found: &mut impl FnMut(&'a T)) {
        self.here.iter().chain(&self.rest).for_each(&mut *found);
        let below = self.exact.iter().filter(|(level, _)| !hidden(level));
        let below = below.map(|(_, next)| next).chain(self.plus.as_deref());
        below.for_each(|next| next.all(&|_| false, found));
    }

    /// `remaining` is the part of the topic below this node; `None` at the end of the topic.
    /// `wildcards` is false only at the first level of a topic that starts with `$`.
    fn matching<'a>(
        &'a self,
        remaining: Option<&str>,
        wildcards: bool,
        found: &mut impl FnMut(&'a T),
    ) {
        if wildcards {
            self.rest.iter().for_each(&mut *found);
        }
        let Some(remaining) = remaining else {
            return self.here.iter().for_each(found);
        };
        let (level, deeper) = match remaining.split_once('/') {
            Some((level, deeper)) => (level, Some(deeper)),
            None => (remaining, None),
        };
        if let Some(next) = self.exact.get(level) {
            next.matching(deeper, true, found);
        }
        if let (Some(next), true) = (&self.plus, wildcards) {
            next.matching(deeper, true, found);
        }
    }
}

fn take_out<T>(values: &mut Vec<T>, unwanted: &mut impl FnMut(&T) -> bool) -> usize {
    let before = values.len();
    values.retain(|value| !unwanted(value));
    before - values.len()
}
