//! Troubles that are read off what is, each time anew, rather than raised by a room: they have their series and their
//! changes like all others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Cleared, Key, Raised};
use crate::observe::Observe;

/// A trouble as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What it is about, as a person calls it.
    pub subject: String,
    /// Its kind in a word.
    pub kind: &'static str,
    /// The whole line.
    pub line: String,
    /// Whether the room that it is in tells its changes.
    pub told_by_room: bool,
}

/// Those that there were at the last look: whether their changes are told here.
#[derive(Debug, Default, Clone)]
pub(super) struct StandingTroubles(Arc<Mutex<BTreeMap<Key, bool>>>);

impl StandingTroubles {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.all().keys().cloned().collect()
    }
}

impl Observe {
    /// These are all standing troubles there are now. What is new and what is over is told.
    pub fn stand(&self, now: &[Standing]) {
        let key = |one: &Standing| (one.subject.clone(), one.kind);
        let found: BTreeMap<Key, bool> =
            now.iter().map(|one| (key(one), one.told_by_room)).collect();
        let before = std::mem::replace(&mut *self.troubles.standing.all(), found.clone());
        for (subject, kind) in untold(&before).filter(|key| !found.contains_key(*key)) {
            self.emit_change(&Cleared { subject, kind });
        }
        for (subject, kind) in untold(&found).filter(|key| !before.contains_key(*key)) {
            let mut lines = now
                .iter()
                .filter(|one| key(one) == (subject.clone(), *kind));
            let what = lines.next().map_or("", |one| &one.line);
            self.emit_change(&Raised {
                subject,
                kind,
                what,
            });
        }
    }

    /// Whether such a trouble stood at the last look.
    pub fn stood(&self, subject: &str, kind: &'static str) -> bool {
        let key = (subject.to_owned(), kind);
        self.troubles.standing.all().contains_key(&key)
    }
}

fn untold(all: &BTreeMap<Key, bool>) -> impl Iterator<Item = &Key> {
    all.iter().filter(|(_, told)| !**told).map(|(key, _)| key)
}
