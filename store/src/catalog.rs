//! Everything the store keeps in memory, behind one lock that is held for moments and never across a disk access:
//! the generations, the tail, the lanes with their cursors, the marks, and what was found damaged.
//!
//! Locks are taken in this order: the appender's, then that of opening or of confirming, then the catalog's.

pub(crate) mod acknowledged;
pub(crate) mod cursor;
pub(crate) mod lane;
pub(crate) mod open_generations;
pub(crate) mod packed_commit;
pub(crate) mod quarantine;
pub(crate) mod small_keys;
pub(crate) mod tail;

use crate::api::lane::Backlog;
use crate::api::limits::LANES_MAX;
use crate::api::status::{Counters, Damage, Quarantined};
use crate::catalog::acknowledged::Acknowledged;
use crate::catalog::lane::{Lane, Position};
use crate::catalog::packed_commit::{MarkChange, PackedCommit};
use crate::catalog::tail::Tail;
use crate::engine::clock;
use crate::generation::Generation;
use crate::generation::ranges::Ranges;
use crate::generation::running_time::RunningTime;
use crate::{LaneId, Sequence};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Everything below `end` that the lane has not acknowledged in the class is given up with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CursorAdvance {
    pub(crate) lane: LaneId,
    pub(crate) class: u8,
    pub(crate) end: Sequence,
}

/// See the module.
pub(crate) struct Catalog {
    /// By age; ranges do not overlap, the last one is written to.
    pub(crate) generations: VecDeque<Generation>,
    pub(crate) tail: Tail,
    /// The sequence that the next record gets; everything below is durable.
    pub(crate) next: Sequence,
    pub(crate) lanes: BTreeMap<LaneId, Lane>,
    pub(crate) marks: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) quarantined: Vec<Quarantined>,
    pub(crate) counters: Counters,
    /// Time of the newest record and when it was committed: the clock that retention goes by.
    pub(crate) newest_record: Option<(u64, Instant)>,
    /// The clock that undelivered records expire by.
    pub(crate) running_time: RunningTime,
    /// Ranges that went from the middle of the log.
    pub(crate) holes: Ranges,
}

impl Catalog {
    /// The oldest sequence still held.
    pub(crate) fn first(&self) -> Sequence {
        self.generations
            .front()
            .map_or(self.next, |generation| generation.summary.first)
    }

    /// Index of the last generation that starts at or before `sequence`.
    pub(crate) fn generation_at(&self, sequence: Sequence) -> Option<usize> {
        index_at(&self.generations, sequence)
    }

    pub(crate) fn generation_mut(&mut self, id: u64) -> Option<&mut Generation> {
        self.generations
            .iter_mut()
            .find(|generation| generation.id == id)
    }

    pub(crate) fn position(&self, lane: LaneId, class: u8) -> Option<&Position> {
        self.lanes.get(&lane)?.positions.get(usize::from(class))
    }

    pub(crate) fn position_mut(&mut self, lane: LaneId, class: u8) -> Option<&mut Position> {
        self.lanes
            .get_mut(&lane)?
            .positions
            .get_mut(usize::from(class))
    }

    /// The lowest lane number that is free.
    pub(crate) fn free_lane(&self) -> Option<LaneId> {
        (0..LANES_MAX as LaneId).find(|id| !self.lanes.contains_key(id))
    }

    pub(crate) fn lane_named(&self, name: &str) -> Option<LaneId> {
        self.lanes
            .iter()
            .find(|(_, lane)| lane.name == name)
            .map(|(id, _)| *id)
    }

    /// Acknowledges single records routed to the lane. Those not written yet are ignored, repeats count once. Gives how
    /// many are new.
    pub(crate) fn confirm(&mut self, lane: LaneId, class: u8, sequences: &[Sequence]) -> u64 {
        let Catalog {
            generations,
            lanes,
            next,
            ..
        } = self;
        let Some(position) = lanes
            .get_mut(&lane)
            .and_then(|lane| lane.positions.get_mut(usize::from(class)))
        else {
            return 0;
        };
        let mut new = 0;
        for &sequence in sequences {
            if sequence >= *next || position.done.contains(sequence) {
                continue;
            }
            new += 1;
            position.done.insert(sequence, sequence);
            position.dirty = true;
            if let Some(generation) =
                index_at(generations, sequence).and_then(|at| generations.get_mut(at))
            {
                generation.settle(lane, class, 1);
            }
        }
        self.settle_damaged(lane, class);
        new
    }

    /// These could not be read in a generation. What was let go there on purpose is no damage; `true` if anything is.
    pub(crate) fn note_missing(&mut self, id: u64, missing: &[(Sequence, Sequence)]) -> bool {
        let mut lost = missing.to_vec();
        if let Some(generation) = self.generation_mut(id) {
            let parts = missing.iter();
            lost = parts
                .flat_map(|(first, last)| generation.missing_in(*first, *last))
                .collect();
            generation.damaged |= !lost.is_empty();
        }
        for &(first, last) in &lost {
            let damage = Damage {
                generation: id,
                first,
                last,
            };
            if !self.damage.contains(&damage) && self.damage.len() < 1000 {
                self.damage.push(damage);
            }
        }
        !lost.is_empty()
    }

    /// Records that could not be read will never be acknowledged: a damaged generation is done when its range is.
    fn settle_damaged(&mut self, lane: LaneId, class: u8) {
        let Catalog {
            generations, lanes, ..
        } = self;
        let Some(position) = lanes
            .get(&lane)
            .and_then(|lane| lane.positions.get(usize::from(class)))
        else {
            return;
        };
        for generation in generations
            .iter_mut()
            .filter(|generation| generation.damaged)
        {
            if position.done.covers(
                generation.summary.first,
                generation.summary.end.saturating_sub(1),
            ) {
                generation.set_unacknowledged(lane, class, 0);
            }
        }
    }

    /// Acknowledges everything below `end`, whatever is routed there.
    pub(crate) fn advance(&mut self, lane: LaneId, class: u8, end: Sequence) {
        let end = end.min(self.next);
        let Some(position) = self.position_mut(lane, class) else {
            return;
        };
        if position.done.low() >= end {
            return;
        }
        position
            .done
            .insert(position.done.low(), end.saturating_sub(1));
        position.dirty = true;
        let low = position.done.low();
        for generation in self
            .generations
            .iter_mut()
            .filter(|generation| generation.summary.end <= low)
        {
            generation.set_unacknowledged(lane, class, 0);
        }
    }

    /// Acknowledges the generations that lie whole below `end`; gives the low-water mark from which the rest is to be
    /// acknowledged.
    pub(crate) fn advance_generations(
        &mut self,
        lane: LaneId,
        class: u8,
        end: Sequence,
    ) -> Sequence {
        let whole = self
            .generations
            .iter()
            .map(|generation| generation.summary.end);
        let through = whole
            .take_while(|generation_end| *generation_end <= end)
            .last()
            .unwrap_or(0);
        self.advance(lane, class, through);
        self.position(lane, class)
            .map_or(end, |position| position.done.low())
    }

    /// A reader saw `from..next` and found `wanted` in it, all that is routed to the lane: the rest needs no
    /// acknowledgement.
    pub(crate) fn skip_unrouted(
        &mut self,
        lane: LaneId,
        class: u8,
        seen: std::ops::Range<Sequence>,
        wanted: impl Iterator<Item = (Sequence, u64)>,
    ) {
        let Some(position) = self.position_mut(lane, class) else {
            return;
        };
        let mut at = seen.start;
        let mut noted = false;
        for (sequence, time_ms) in wanted {
            position.done.insert(at, sequence.saturating_sub(1));
            at = sequence + 1;
            if !std::mem::replace(&mut noted, true) {
                position.note_time(sequence, time_ms);
            }
        }
        position.done.insert(at, seen.end.saturating_sub(1));
        self.settle_damaged(lane, class);
    }

    /// What the lane has still to deliver, over all classes.
    pub(crate) fn backlog(&self, lane: LaneId) -> Backlog {
        let Some(found) = self.lanes.get(&lane) else {
            return Backlog::default();
        };
        let mut backlog = Backlog::default();
        for (class, position) in (0..).zip(&found.positions) {
            let held = self
                .generations
                .iter()
                .filter(|generation| generation.unacknowledged(lane, class) > 0);
            let Some(oldest) = held.clone().next() else {
                continue;
            };
            backlog.events += held
                .clone()
                .map(|generation| generation.unacknowledged(lane, class))
                .sum::<u64>();
            backlog.bytes += held
                .map(|generation| generation.unacknowledged_bytes(lane, class))
                .sum::<u64>();
            let known = position.time_at_low().unwrap_or(oldest.summary.time_min_ms);
            let time_ms = known.max(oldest.summary.time_min_ms);
            backlog.oldest_time_ms = Some(
                backlog
                    .oldest_time_ms
                    .map_or(time_ms, |other| other.min(time_ms)),
            );
        }
        backlog
    }

    /// Takes in a commit that is on the disk.
    pub(crate) fn publish(&mut self, packed: PackedCommit, marks: &[MarkChange]) {
        self.note_first_times(&packed);
        self.next = self.next.max(packed.summary.end);
        if !packed.summary.is_empty() {
            self.newest_record = Some((packed.summary.time_max_ms, clock::now()));
        }
        let now_ms = self.running_time.now_ms();
        if let Some(generation) = self.generations.back_mut()
            && !packed.summary.is_empty()
        {
            generation.extend(&packed.summary);
            generation.large_bytes += packed.large_bytes;
            generation.summary.add_tags(&packed.tags);
            generation.begun_ms = generation.begun_ms.min(now_ms);
            generation.newest_ms = now_ms;
        }
        packed
            .blocks
            .into_iter()
            .for_each(|block| self.tail.push(block));
        for (key, value) in marks {
            match value {
                Some(value) => self.marks.insert(key.clone(), value.clone()),
                None => self.marks.remove(key),
            };
        }
    }

    /// A lane whose backlog was empty now has one as old as this commit.
    fn note_first_times(&mut self, packed: &PackedCommit) {
        for share in packed.summary.shares() {
            let (lane, class) = crate::format::route::route_parts(share.route);
            let idle = self
                .generations
                .iter()
                .all(|generation| generation.unacknowledged(lane, class) == 0);
            if let Some(position) = self.position_mut(lane, class).filter(|_| idle) {
                position.note_time(packed.summary.first, packed.summary.time_min_ms);
            }
        }
    }

    /// The cursor as it is to be written, with what is left in partly acknowledged generations other than `current`.
    pub(crate) fn stored_cursor(
        &self,
        lane: LaneId,
        class: u8,
        current: Option<u64>,
    ) -> Option<Vec<u8>> {
        Some(self.encoded(lane, class, &self.position(lane, class)?.done, current))
    }

    /// The cursor as it is to be written when everything below `end` is given up.
    pub(crate) fn advanced_cursor(
        &self,
        advance: &CursorAdvance,
        current: Option<u64>,
    ) -> Option<Vec<u8>> {
        let mut done = self.position(advance.lane, advance.class)?.done.clone();
        done.insert(done.low(), advance.end.saturating_sub(1));
        Some(self.encoded(advance.lane, advance.class, &done, current))
    }

    fn encoded(
        &self,
        lane: LaneId,
        class: u8,
        done: &Acknowledged,
        current: Option<u64>,
    ) -> Vec<u8> {
        let sealed = self
            .generations
            .iter()
            .filter(|generation| Some(generation.id) != current);
        let partly = sealed.filter(|generation| {
            let whole = generation.summary.share(lane, class).records;
            generation.summary.end > done.low() && generation.unacknowledged(lane, class) != whole
        });
        let unacknowledged = partly
            .map(|generation| (generation.id, generation.unacknowledged(lane, class)))
            .collect();
        cursor::encode(done, &unacknowledged)
    }

    /// True if some cursor changed since it was last written.
    pub(crate) fn has_dirty(&self) -> bool {
        let positions = self.lanes.values().flat_map(|lane| &lane.positions);
        positions.into_iter().any(|position| position.dirty)
    }

    /// All cursors that changed since they were last written, now counted as written.
    pub(crate) fn take_dirty(&mut self) -> Vec<(LaneId, u8)> {
        let mut dirty = Vec::new();
        for (lane, found) in &mut self.lanes {
            for (class, position) in (0..).zip(&mut found.positions) {
                if std::mem::take(&mut position.dirty) {
                    dirty.push((*lane, class));
                }
            }
        }
        dirty
    }

    /// The cursors could not be written after all.
    pub(crate) fn mark_dirty(&mut self, cursors: &[(LaneId, u8)]) {
        for &(lane, class) in cursors {
            if let Some(position) = self.position_mut(lane, class) {
                position.dirty = true;
            }
        }
    }

    /// Milliseconds on the clock of the records: the newest record's time plus what has passed since its commit. A step
    /// of the wall clock does not move it.
    pub(crate) fn record_time_ms(&self) -> Option<u64> {
        let (time_ms, committed) = self.newest_record?;
        Some(time_ms.saturating_add(clock::millis_since(committed)))
    }

    /// Bytes that the generations take on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.generations
            .iter()
            .map(|generation| generation.disk_bytes)
            .sum()
    }
}

/// Index of the last generation that starts at or before `sequence`.
fn index_at(generations: &VecDeque<Generation>, sequence: Sequence) -> Option<usize> {
    generations
        .partition_point(|generation| generation.summary.first <= sequence)
        .checked_sub(1)
}
