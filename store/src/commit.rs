//! Builds one commit: records and marks that become durable together, or not at all.

use crate::layout::{self, Place, RecordIn};
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
    bytes_end: usize,
}

/// One durable change of the small keys: a value to set, or `None` to forget the key.
pub(crate) type Mark = (Vec<u8>, Option<Vec<u8>>);

/// Records and marks for one commit. Reuse it: `clear` keeps the memory.
#[derive(Default)]
pub struct Commit {
    entries: Vec<Entry>,
    routes: Vec<u8>,
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
        let (routes_end, bytes_end) = (self.routes.len(), self.bytes.len());
        self.entries.push(Entry {
            time_ms: append.time_ms,
            routes_end,
            bytes_end,
        });
        index
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

    pub(crate) fn check(&self) -> Result<(), CommitError> {
        self.invalid.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    fn record(&self, index: usize) -> Option<RecordIn<'_>> {
        let entry = self.entries.get(index)?;
        let (routes_start, bytes_start) =
            match index.checked_sub(1).and_then(|i| self.entries.get(i)) {
                Some(before) => (before.routes_end, before.bytes_end),
                None => (0, 0),
            };
        Some(RecordIn {
            time_ms: entry.time_ms,
            routes: self.routes.get(routes_start..entry.routes_end)?,
            bytes: self.bytes.get(bytes_start..entry.bytes_end)?,
        })
    }

    fn records_from(&self, index: usize) -> impl Iterator<Item = RecordIn<'_>> {
        (index..self.entries.len()).map_while(|index| self.record(index))
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
}

/// Packs the records of a commit whose first one gets `first`, and gives each key and value to `put`.
pub(crate) fn pack(
    commit: &Commit,
    first: Sequence,
    with_meta: bool,
    mut put: impl FnMut(&[u8], &[u8]),
) -> Packed {
    let mut packed = Packed {
        blocks: Vec::new(),
        summary: Summary::empty(first),
    };
    let mut batch: Vec<RecordIn<'_>> = Vec::new();
    let mut index = 0;
    while let Some(record) = commit.record(index) {
        let sequence = first + index as u64;
        let place = Place {
            first: sequence,
            commit_offset: index as u32,
            with_meta,
        };
        batch.clear();
        let (value, large) = if layout::is_large(&record) {
            batch.push(record);
            (
                layout::large_head(place, &record),
                Some(Bytes::copy_from_slice(record.bytes)),
            )
        } else {
            batch.extend(
                commit
                    .records_from(index)
                    .take(layout::fitting(commit.records_from(index))),
            );
            (layout::packed_block(place, &batch), None)
        };
        put(&sequence.to_be_bytes(), &value);
        packed.summary.payload_bytes += value.len() as u64;
        if let Some(bytes) = &large {
            packed.summary.payload_bytes += put_parts(sequence, bytes, &mut put);
        }
        batch.iter().for_each(|record| packed.summary.add(record));
        index += batch.len();
        if let Ok(header) = layout::read_header(sequence, &value) {
            packed.blocks.push(TailBlock {
                header,
                value: value.into(),
                large,
            });
        }
    }
    packed
}

fn put_parts(first: Sequence, bytes: &[u8], put: &mut impl FnMut(&[u8], &[u8])) -> u64 {
    let mut written = 0;
    for (part, chunk) in (0..).zip(bytes.chunks(layout::PART_BYTES)) {
        let value = layout::part_block(first, part, chunk);
        put(&layout::part_key(first, part), &value);
        written += value.len() as u64;
    }
    written
}
