//! The small durable keys beside the records: lanes, cursors, marks, and how far the last commit with any of them went.
//! They live in a tree of their own in the newest generation and are copied whole when the next one begins.
//!
//! ```text
//! "c"                   complete: version u8, next sequence u64 LE; written last when a generation begins
//! "t"                   last sequence of the last commit that wrote here, u64 LE
//! "l" lane u8           name of the lane
//! "p" lane u8 class u8  cursor (see cursor.rs)
//! "m" key               a mark's value
//! ```

use crate::catalog::Catalog;
use crate::catalog::cursor::{self, StoredCursor};
use crate::catalog::lane::{Lane, Position};
use crate::engine::failure::EngineError;
use crate::engine::sled::{Engine, Writes};
use crate::{LaneId, Sequence};
use std::collections::BTreeMap;

const VERSION: u8 = 1;
const COMPLETE: &[u8] = b"c";
const THROUGH: &[u8] = b"t";

/// What a generation's small keys say.
#[derive(Default)]
pub(crate) struct SmallKeys {
    /// The generation was begun completely: everything below is to be trusted.
    pub(crate) complete: bool,
    pub(crate) through: Sequence,
    pub(crate) lanes: BTreeMap<LaneId, String>,
    pub(crate) cursors: BTreeMap<(LaneId, u8), StoredCursor>,
    pub(crate) marks: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl SmallKeys {
    /// Reads all of them; what does not decode is as if it were not there.
    pub(crate) fn read(engine: &Engine) -> Result<SmallKeys, EngineError> {
        let mut small_keys = SmallKeys::default();
        engine.small_keys(|key, value| small_keys.take(key, value))?;
        Ok(small_keys)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        match *key {
            [b'c'] => self.complete = value.first() == Some(&VERSION),
            [b't'] => self.through = value.try_into().map_or(0, u64::from_le_bytes),
            [b'l', lane] => {
                self.lanes
                    .insert(lane.into(), String::from_utf8_lossy(value).into_owned());
            }
            [b'p', lane, class] => {
                if let Some(stored) = cursor::decode(value) {
                    self.cursors.insert((lane.into(), class), stored);
                }
            }
            [b'm', ref key @ ..] => {
                self.marks.insert(key.to_vec(), value.to_vec());
            }
            _ => {}
        }
    }

    /// The lanes with their cursors; a lane without a stored cursor starts at `end`.
    pub(crate) fn lanes(&self, end: Sequence) -> BTreeMap<LaneId, Lane> {
        let position = |lane: LaneId, class: u8| match self.cursors.get(&(lane, class)) {
            Some(stored) => Position::at(stored.done.clone()),
            None => Position::below(end),
        };
        let lane = |id: LaneId, name: &String| Lane {
            name: name.clone(),
            positions: [0, 1, 2, 3].map(|class| position(id, class)),
        };
        self.lanes
            .iter()
            .map(|(id, name)| (*id, lane(*id, name)))
            .collect()
    }
}

/// Writes how far this commit goes.
pub(crate) fn put_through(writes: &mut Writes, last: Sequence) {
    writes.put_small_key(THROUGH, &last.to_le_bytes());
}

/// Writes a lane's name.
pub(crate) fn put_lane(writes: &mut Writes, lane: LaneId, name: &str) {
    writes.put_small_key(&[b'l', lane as u8], name.as_bytes());
}

/// Writes one cursor.
pub(crate) fn put_cursor(writes: &mut Writes, lane: LaneId, class: u8, stored: &[u8]) {
    writes.put_small_key(&[b'p', lane as u8, class], stored);
}

/// Forgets a lane and its cursors.
pub(crate) fn remove_lane(writes: &mut Writes, lane: LaneId) {
    writes.remove_small_key(&[b'l', lane as u8]);
    (0..4).for_each(|class| writes.remove_small_key(&[b'p', lane as u8, class]));
}

/// Sets or forgets a mark.
pub(crate) fn put_mark(writes: &mut Writes, key: &[u8], value: Option<&[u8]>) {
    let key = [b"m", key].concat();
    match value {
        Some(value) => writes.put_small_key(&key, value),
        None => writes.remove_small_key(&key),
    }
}

/// Everything that a new generation begins with.
pub(crate) fn all(catalog: &Catalog) -> Writes {
    let mut writes = Writes::default();
    for (id, lane) in &catalog.lanes {
        put_lane(&mut writes, *id, &lane.name);
        for class in 0..lane.positions.len() as u8 {
            if let Some(stored) = catalog.stored_cursor(*id, class, None) {
                put_cursor(&mut writes, *id, class, &stored);
            }
        }
    }
    for (key, value) in &catalog.marks {
        put_mark(&mut writes, key, Some(value));
    }
    put_through(&mut writes, catalog.next.saturating_sub(1));
    let mut complete = vec![VERSION];
    complete.extend_from_slice(&catalog.next.to_le_bytes());
    writes.put_small_key(COMPLETE, &complete);
    writes
}
