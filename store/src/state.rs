//! Everything the store keeps in memory, behind one lock that is held for microseconds and never across a disk access:
//! the generations, the tail, the lanes with their cursors, the marks, and what was found damaged.

use crate::age::Clock;
use crate::commit::{Mark, Packed};
use crate::cursor::{self, Backlog, Position};
use crate::generation::Generation;
use crate::interval::Acknowledged;
use crate::kept::Ranges;
use crate::layout::{CLASSES, LANES_MAX};
use crate::status::{Counters, Damage, Quarantined};
use crate::tail::Tail;
use crate::write::Claim;
use crate::{LaneId, Sequence};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A lane in memory.
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) positions: [Position; CLASSES],
}

/// See the module.
pub(crate) struct State {
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
    pub(crate) newest: Option<(u64, Instant)>,
    /// The clock that undelivered records expire by.
    pub(crate) clock: Clock,
    /// Ranges that went from the middle of the log.
    pub(crate) holes: Ranges,
}

impl State {
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
        let State {
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

    /// Records that could not be read will never be acknowledged: a damaged generation is done when its range is.
    fn settle_damaged(&mut self, lane: LaneId, class: u8) {
        let State {
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
                generation.set_pending(lane, class, 0);
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
            generation.set_pending(lane, class, 0);
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
                .filter(|generation| generation.pending(lane, class) > 0);
            let Some(oldest) = held.clone().next() else {
                continue;
            };
            backlog.events += held
                .clone()
                .map(|generation| generation.pending(lane, class))
                .sum::<u64>();
            backlog.bytes += held
                .map(|generation| generation.pending_bytes(lane, class))
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
    pub(crate) fn publish(&mut self, packed: Packed, marks: &[Mark]) {
        self.note_first_times(&packed);
        self.next = self.next.max(packed.summary.end);
        if !packed.summary.is_empty() {
            self.newest = Some((packed.summary.time_max_ms, Instant::now()));
        }
        let now_ms = self.clock.now_ms();
        if let Some(generation) = self.generations.back_mut()
            && !packed.summary.is_empty()
        {
            generation.extend(&packed.summary);
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
    fn note_first_times(&mut self, packed: &Packed) {
        for share in packed.summary.shares() {
            let (lane, class) = crate::layout::route_parts(share.route);
            let idle = self
                .generations
                .iter()
                .all(|generation| generation.pending(lane, class) == 0);
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
    pub(crate) fn claimed_cursor(&self, claim: &Claim, current: Option<u64>) -> Option<Vec<u8>> {
        let mut done = self.position(claim.lane, claim.class)?.done.clone();
        done.insert(done.low(), claim.end.saturating_sub(1));
        Some(self.encoded(claim.lane, claim.class, &done, current))
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
            generation.summary.end > done.low() && generation.pending(lane, class) != whole
        });
        let pending = partly
            .map(|generation| (generation.id, generation.pending(lane, class)))
            .collect();
        cursor::encode(done, &pending)
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
    pub(crate) fn now_ms(&self) -> Option<u64> {
        let (time_ms, committed) = self.newest?;
        Some(
            time_ms
                .saturating_add(u64::try_from(committed.elapsed().as_millis()).unwrap_or(u64::MAX)),
        )
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
