//! Changes that are not in the log as events yet: kept beside it, so that neither a kill nor a full store loses them.

use serde::{Deserialize, Serialize};
use tidegate_store::{ReadLimit, Search, Sequence, Store};

use crate::event::record::{self, tags};
use crate::observe::Happening;
use crate::observe::audit::Change;

/// Changes that are kept one by one.
const CHANGES_MAX: usize = 100;
/// What those beyond are told as, with their count.
const BEYOND: &str = "changes beyond those that are kept";
/// Records looked at in one piece.
const PIECE: ReadLimit = ReadLimit {
    records: 1024,
    bytes: 1 << 20,
};

/// One change, and where the log ended when it was made: its event is nowhere before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) change: Change,
    pub(super) from: Sequence,
}

impl Waiting {
    /// Whether its event is in the log already, where a kill came between that and its being struck off here.
    pub(super) fn is_told(&self, store: &Store) -> bool {
        let Some(event) = self.change.system_event() else {
            return true;
        };
        let data = event.data.to_string();
        let tags = [tags::of_kind(event.kind)];
        let search = Search {
            tags: &tags,
            from_ms: 0,
            to_ms: u64::MAX,
        };
        let (mut at, end) = (self.from.max(store.first()), store.end());
        while at < end {
            let Ok(batch) = store.search(&search, at, end, PIECE) else {
                return false;
            };
            let mut records = batch.records.iter();
            let is_it = records.any(|stored| {
                record::decode(&stored.bytes).is_ok_and(|record| {
                    let told = &record.event;
                    *told.kind == *event.kind
                        && told.subject.as_deref() == Some(&*event.subject)
                        && *told.data == *data.as_bytes()
                })
            });
            if is_it {
                return true;
            }
            at = batch.next.max(at + 1);
        }
        false
    }
}

/// Adds a change to those that wait; of more than are kept there is the count.
pub(super) fn add(all: &mut Vec<Waiting>, change: Change, from: Sequence) {
    if all.len() < CHANGES_MAX {
        return all.push(Waiting { change, from });
    }
    match all.last_mut() {
        Some(last) if last.change.action == BEYOND => last.change.count += 1,
        _ => all.push(Waiting {
            change: Change::new(change.what, change.subject, BEYOND, &change.who),
            from,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::audit::What;
    use crate::observe::audit::who::Who;

    #[test]
    fn what_waits_is_bounded_and_counted() {
        let mut all = Vec::new();
        let change = || Change::new(What::Lane, "old", "dropped", &Who::file("f"));
        for from in 0..1000 {
            add(&mut all, change(), from);
        }
        assert_eq!(all.len(), CHANGES_MAX + 1);
        let counted: u64 = all.iter().map(|one| one.change.count).sum();
        assert_eq!(counted, 1000);
    }
}
