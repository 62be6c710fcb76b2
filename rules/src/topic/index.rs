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
