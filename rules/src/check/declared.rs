//! The declared events: by their places, their names and their topics.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};

use super::event::DeclaredEvent;
use crate::topic::TopicPattern;
use crate::topic::index::TopicIndex;

/// All events declared so far.
#[derive(Default)]
pub(super) struct DeclaredEvents {
    all: Vec<DeclaredEvent>,
    names: HashMap<String, usize>,
    topics: TopicIndex<usize>,
}

impl DeclaredEvents {
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The first declared event that shares a topic with `pattern`.
    pub(super) fn sharing(&self, pattern: &TopicPattern) -> Option<usize> {
        let mut first: Option<usize> = None;
        self.topics.overlapping(&pattern.filter, |at| {
            first = Some(first.map_or(*at, |first| first.min(*at)));
        });
        first
    }

    pub(super) fn add(&mut self, event: DeclaredEvent) {
        let at = self.all.len();
        self.names.insert(event.name.clone(), at);
        if let Some(pattern) = &event.pattern {
            self.topics.insert(&pattern.filter, at);
        }
        self.all.push(event);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DeclaredEvent> {
        self.all.iter()
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

impl Index<usize> for DeclaredEvents {
    type Output = DeclaredEvent;

    fn index(&self, at: usize) -> &DeclaredEvent {
        &self.all[at]
    }
}

impl IndexMut<usize> for DeclaredEvents {
    fn index_mut(&mut self, at: usize) -> &mut DeclaredEvent {
        &mut self.all[at]
    }
}
