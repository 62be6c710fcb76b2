//! Builds one commit: records and marks that become durable together, or not at all.

use crate::codec::Compressor;
use crate::layout::{self, Place};
use crate::pack::{self, RecordIn};
use crate::summary::Summary;
use crate::tail::TailBlock;
use crate::{CommitError, LaneId, Sequence};
use bytes::Bytes;

/// Upper bound of one record.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// Upper bound of a mark's key and value together.
pub const MARK_BYTES_MAX: usize = 1024;

/// A lane that must see a record, and how urgent it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// From [`crate::Store::lane`].
    pub lane: LaneId,
    /// 0 to 3, 3 is the most urgent.
    pub class: u8,
}

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

/// One durable change of the small keys: a value to set, or `None` to forget the key.
pub(crate) type Mark = (Vec<u8>, Option<Vec<u8>>);

/// Records and marks for one commit. Reuse it: `clear` keeps the memory.
#[derive(Default)]
pub struct Commit {
    entries: Vec<Entry>,
    routes: Vec<u8>,
    tags: Vec<u64>,
    bytes: Vec<u8>,
    marks: Vec<Mark>,
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
        for route in append.routes.iter().take(layout::ROUTES_MAX) {
            let route = layout::route_byte(route.lane, route.class & 3);
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

    /// True if some record must be stored in parts.
    pub(crate) fn has_large(&self) -> bool {
        self.records().any(|record| record.is_large())
    }

    pub(crate) fn check(&self) -> Result<(), CommitError> {
        self.invalid.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    fn records(&self) -> impl Iterator<Item = RecordIn<'_>> {
        let (mut routes, mut tags, mut bytes) = (0, 0, 0);
        self.entries.iter().map(move |entry| RecordIn {
            time_ms: entry.time_ms,
            routes: &self.routes
                [std::mem::replace(&mut routes, entry.routes_end)..entry.routes_end],
            tags: &self.tags[std::mem::replace(&mut tags, entry.tags_end)..entry.tags_end],
            bytes: &self.bytes[std::mem::replace(&mut bytes, entry.bytes_end)..entry.bytes_end],
        })
    }

    fn different_tags(&self) -> Vec<u64> {
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
    if append.routes.len() > layout::ROUTES_MAX {
        return Some("a record has at most 255 routes");
    }
    let known = |route: &Route| {
        usize::from(route.lane) < layout::LANES_MAX && usize::from(route.class) < layout::CLASSES
    };
    (!append.routes.iter().all(known)).then_some("a route has a lane below 64 and a class below 4")
}

/// A commit as blocks.
pub(crate) struct Packed {
    pub(crate) blocks: Vec<TailBlock>,
    pub(crate) summary: Summary,
    /// The tags of the records, each once.
    pub(crate) tags: Vec<u64>,
}

/// Packs the records of a commit whose first one gets `first`, and gives each key and value to `put`.
pub(crate) fn pack(
    commit: &Commit,
    first: Sequence,
    with_meta: bool,
    compressor: &mut Compressor,
    mut put: impl FnMut(&[u8], &[u8]),
) -> Packed {
    let mut packed = Packed {
        blocks: Vec::new(),
        summary: Summary::empty(first),
        tags: commit.different_tags(),
    };
    let records: Vec<RecordIn<'_>> = commit.records().collect();
    let mut index = 0;
    while let Some(rest) = records.get(index..).filter(|rest| !rest.is_empty()) {
        let sequence = first + index as u64;
        let place = Place {
            first: sequence,
            commit_offset: index as u32,
            with_meta,
        };
        let (block, large) = if rest[0].is_large() {
            let large = pack::large_block(place, &rest[0]);
            let stored = large.stored.as_deref().unwrap_or(rest[0].bytes);
            packed.summary.payload_bytes += put_parts(sequence, stored, &mut put);
            (large.head, Some(Bytes::copy_from_slice(rest[0].bytes)))
        } else {
            (pack::packed_block(place, rest, compressor), None)
        };
        put(&sequence.to_be_bytes(), &block.value);
        packed.summary.payload_bytes += block.value.len() as u64;
        let taken = &rest[..block.count];
        taken.iter().for_each(|record| packed.summary.add(record));
        index += block.count;
        packed.blocks.push(TailBlock {
            header: block.header,
            body: block.body.into(),
            large,
        });
    }
    packed
}

fn put_parts(first: Sequence, bytes: &[u8], put: &mut impl FnMut(&[u8], &[u8])) -> u64 {
    let mut written = 0;
    for (part, chunk) in (0..).zip(bytes.chunks(layout::PART_BYTES)) {
        let value = pack::part_block(first, part, chunk);
        put(&layout::part_key(first, part), &value);
        written += value.len() as u64;
    }
    written
}
