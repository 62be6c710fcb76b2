//! Builds one commit: records and marks that become durable together, or not at all.

use crate::Sequence;
use crate::api::error::CommitError;
use crate::api::lane::Route;
use crate::api::limits::{self, MARK_BYTES_MAX, RECORD_BYTES_MAX};
use crate::catalog::packed_commit::MarkChange;
use crate::format::pack::RecordIn;
use crate::format::route;

/// One record to append.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Who must see it; at most 255. A record without routes is kept for replay only.
    pub routes: &'a [Route],
    /// Its time, milliseconds; retention goes by it.
    pub time_ms: u64,
    /// Its bytes, opaque to the store.
    pub bytes: &'a [u8],
}

struct Entry {
    time_ms: u64,
    routes_end: usize,
    tags_end: usize,
    bytes_end: usize,
}

/// Records and marks for one commit. Reuse it: `clear` keeps the memory.
#[derive(Default)]
pub struct Commit {
    entries: Vec<Entry>,
    routes: Vec<u8>,
    tags: Vec<u64>,
    bytes: Vec<u8>,
    marks: Vec<MarkChange>,
    invalid: Option<CommitError>,
}

impl Commit {
    /// An empty commit.
    pub fn new() -> Commit {
        Commit::default()
    }

    /// Adds a record and gives its index: its sequence will be the commit's first plus this. A limit that it breaks is
    /// reported by the commit itself.
    pub fn push(&mut self, append: Append<'_>) -> usize {
        let index = self.entries.len();
        if let Some(why) = broken_limit(&append) {
            self.invalid.get_or_insert(CommitError::Invalid {
                index: Some(index),
                why,
            });
        }
        let start = self.routes.len();
        for route in append.routes.iter().take(limits::ROUTES_MAX) {
            let route = route::route_byte(route.lane, route.class & 3);
            // The same route twice is one delivery: it is confirmed once.
            if !self.routes.iter().skip(start).any(|known| *known == route) {
                self.routes.push(route);
            }
        }
        self.bytes.extend_from_slice(append.bytes);
        self.entries.push(Entry {
            time_ms: append.time_ms,
            routes_end: self.routes.len(),
            tags_end: self.tags.len(),
            bytes_end: self.bytes.len(),
        });
        index
    }

    /// As [`Commit::push`], with tags by which [`crate::Store::search`] passes over what is not wanted: 64-bit hashes of
    /// whatever the record shall be found by, such as of each level of its topic. A few are enough.
    pub fn push_tagged(&mut self, append: Append<'_>, tags: &[u64]) -> usize {
        self.tags.extend_from_slice(tags);
        self.push(append)
    }

    /// Sets a small durable key: dedup marks, a boot counter. The last one for a key counts.
    pub fn mark(&mut self, key: &[u8], value: &[u8]) {
        if key.len() + value.len() > MARK_BYTES_MAX {
            let why = "key and value of a mark exceed 1024 bytes";
            self.invalid
                .get_or_insert(CommitError::Invalid { index: None, why });
        }
        self.marks.push((key.to_vec(), Some(value.to_vec())));
    }

    /// Forgets a small durable key.
    pub fn unmark(&mut self, key: &[u8]) {
        self.marks.push((key.to_vec(), None));
    }

    /// Empties the commit and keeps its memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.routes.clear();
        self.tags.clear();
        self.bytes.clear();
        self.marks.clear();
        self.invalid = None;
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without records; there may be marks.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the records that do not fit into a block.
    pub(super) fn large_bytes(&self) -> usize {
        let large = self.records().filter(RecordIn::is_large);
        large.map(|record| record.bytes.len()).sum()
    }

    pub(crate) fn check(&self) -> Result<(), CommitError> {
        self.invalid.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn marks(&self) -> &[MarkChange] {
        &self.marks
    }

    pub(super) fn records(&self) -> impl Iterator<Item = RecordIn<'_>> {
        let (mut routes, mut tags, mut bytes) = (0, 0, 0);
        self.entries.iter().map(move |entry| RecordIn {
            time_ms: entry.time_ms,
            routes: &self.routes
                [std::mem::replace(&mut routes, entry.routes_end)..entry.routes_end],
            tags: &self.tags[std::mem::replace(&mut tags, entry.tags_end)..entry.tags_end],
            bytes: &self.bytes[std::mem::replace(&mut bytes, entry.bytes_end)..entry.bytes_end],
        })
    }

    pub(super) fn different_tags(&self) -> Vec<u64> {
        let mut tags = self.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

fn broken_limit(append: &Append<'_>) -> Option<&'static str> {
    if append.bytes.len() > RECORD_BYTES_MAX {
        return Some("a record has at most 64 MiB");
    }
    if append.routes.len() > limits::ROUTES_MAX {
        return Some("a record has at most 255 routes");
    }
    let known = |route: &Route| {
        usize::from(route.lane) < limits::LANES_MAX && usize::from(route.class) < limits::CLASSES
    };
    (!append.routes.iter().all(known)).then_some("a route has a lane below 64 and a class below 4")
}

/// A commit that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Sequence of the first record; equals the next sequence if the commit had none.
    pub first: Sequence,
    /// Sequence of the last record; below `first` if the commit had none.
    pub last: Sequence,
    /// Bytes of the blocks written.
    pub bytes: u64,
    /// Microseconds from the start of the write until the disk said done.
    pub sync_micros: u64,
}
