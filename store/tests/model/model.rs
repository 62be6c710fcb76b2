//! What a store is, said plainly: maps and sets, no disk. Whatever the real one shows must equal this.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use tidegate_store::{Cursor, DeadLetterId, LaneId, Sequence};

/// A record as it was appended.
pub(crate) struct Record {
    pub(crate) time_ms: u64,
    pub(crate) routes: BTreeSet<(LaneId, u8)>,
    pub(crate) bytes: Vec<u8>,
}

/// The acknowledged sequences of a lane in a class.
#[derive(Clone)]
pub(crate) struct Position {
    pub(crate) low: Sequence,
    above: BTreeSet<Sequence>,
}

impl Position {
    fn below(low: Sequence) -> Position {
        Position {
            low,
            above: BTreeSet::new(),
        }
    }

    pub(crate) fn of(cursor: &Cursor) -> Position {
        Position {
            low: cursor.low,
            above: cursor.above.iter().cloned().flatten().collect(),
        }
    }

    pub(crate) fn contains(&self, sequence: Sequence) -> bool {
        sequence < self.low || self.above.contains(&sequence)
    }

    pub(crate) fn insert(&mut self, range: RangeInclusive<Sequence>) {
        self.above.extend(range.filter(|at| *at >= self.low));
        while self.above.remove(&self.low) {
            self.low += 1;
        }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        let mut above: Vec<RangeInclusive<Sequence>> = Vec::new();
        for &at in &self.above {
            match above.last_mut() {
                Some(last) if *last.end() + 1 == at => *last = *last.start()..=at,
                _ => above.push(at..=at),
            }
        }
        Cursor {
            low: self.low,
            above,
        }
    }
}

/// A lane: where it is, where it surely is after a crash, and its books.
pub(crate) struct Lane {
    pub(crate) slot: u8,
    pub(crate) positions: [Position; 4],
    /// The positions as they were last written for certain.
    pub(crate) written: [Position; 4],
    /// Records routed here since the lane is there; one in two classes counts twice.
    pub(crate) accepted: u64,
    /// Those of them that were acknowledged.
    pub(crate) settled: u64,
    /// Those that were given up.
    pub(crate) shed: u64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<Sequence, Record>,
    pub(crate) next: Sequence,
    pub(crate) lanes: BTreeMap<LaneId, Lane>,
    pub(crate) marks: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) letters: BTreeMap<DeadLetterId, Vec<u8>>,
    /// The clock that retention goes by: time of the newest commit; `None` when it is not known.
    pub(crate) now_ms: Option<u64>,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model {
            next: 1,
            ..Model::default()
        }
    }

    pub(crate) fn lane_in(&self, slot: u8) -> Option<LaneId> {
        let found = self.lanes.iter().find(|(_, lane)| lane.slot == slot);
        found.map(|(id, _)| *id)
    }

    pub(crate) fn add_lane(&mut self, id: LaneId, slot: u8) {
        let positions = [(); 4].map(|()| Position::below(self.next));
        let lane = Lane {
            slot,
            written: positions.clone(),
            positions,
            accepted: 0,
            settled: 0,
            shed: 0,
        };
        self.lanes.insert(id, lane);
    }

    pub(crate) fn append(&mut self, record: Record) {
        for (lane, _) in &record.routes {
            self.lanes.get_mut(lane).unwrap().accepted += 1;
        }
        self.records.insert(self.next, record);
        self.next += 1;
    }

    /// Sequences held that are routed to the lane in the class, from `from` on.
    pub(crate) fn routed(
        &self,
        lane: LaneId,
        class: u8,
        from: Sequence,
    ) -> impl Iterator<Item = Sequence> + '_ {
        let routed = move |record: &Record| record.routes.contains(&(lane, class));
        let found = self.records.range(from..);
        found
            .filter(move |(_, record)| routed(record))
            .map(|(at, _)| *at)
    }

    /// Records of the lane that are not acknowledged, in a class.
    pub(crate) fn pending_in(&self, lane: LaneId, class: u8) -> u64 {
        let position = &self.lanes[&lane].positions[usize::from(class)];
        let open = self
            .routed(lane, class, 0)
            .filter(|at| !position.contains(*at));
        open.count() as u64
    }

    /// Records of the lane that are not acknowledged.
    pub(crate) fn pending(&self, lane: LaneId) -> u64 {
        (0..4).map(|class| self.pending_in(lane, class)).sum()
    }

    /// Acknowledges `range` as far as the log goes, and counts what was open in it.
    pub(crate) fn settle(&mut self, lane: LaneId, class: u8, range: RangeInclusive<Sequence>) {
        let before = self.pending_in(lane, class);
        let range = *range.start()..=(*range.end()).min(self.next - 1);
        let found = self.lanes.get_mut(&lane).unwrap();
        found.positions[usize::from(class)].insert(range);
        let settled = before - self.pending_in(lane, class);
        self.lanes.get_mut(&lane).unwrap().settled += settled;
    }

    /// True if some lane has still to acknowledge this record.
    pub(crate) fn is_wanted(&self, at: Sequence) -> bool {
        let open = |(lane, class): &(LaneId, u8)| {
            let lane = self.lanes.get(lane);
            lane.is_some_and(|lane| !lane.positions[usize::from(*class)].contains(at))
        };
        let record = self.records.get(&at);
        record.is_some_and(|record| record.routes.iter().any(open))
    }

    /// A generation was written anew with what is still wanted of it.
    pub(crate) fn keep_wanted(&mut self, range: std::ops::Range<Sequence>) {
        let gone: Vec<_> = range.filter(|at| !self.is_wanted(*at)).collect();
        gone.iter().for_each(|at| drop(self.records.remove(at)));
    }

    /// What lanes have still to acknowledge of a class, in a range.
    pub(crate) fn open_in_class(
        &self,
        class: u8,
        range: std::ops::Range<Sequence>,
    ) -> Vec<(LaneId, Sequence)> {
        let mut found = Vec::new();
        for (lane, of) in &self.lanes {
            let position = &of.positions[usize::from(class)];
            let routed = self.routed(*lane, class, range.start);
            let open = routed
                .take_while(|at| *at < range.end)
                .filter(|at| !position.contains(*at));
            found.extend(open.map(|at| (*lane, at)));
        }
        found
    }

    /// Gives up what a lane has of a class below `end`; no crash undoes that.
    pub(crate) fn give_up(&mut self, lane: LaneId, class: u8, end: Sequence) {
        let before = self.pending_in(lane, class);
        let of = self.lanes.get_mut(&lane).unwrap();
        of.positions[usize::from(class)].insert(0..=end - 1);
        of.written[usize::from(class)].insert(0..=end - 1);
        let shed = before - self.pending_in(lane, class);
        self.lanes.get_mut(&lane).unwrap().shed += shed;
    }

    /// All positions are on the disk now.
    pub(crate) fn note_written(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.written.clone_from(&lane.positions);
        }
    }

    /// Takes over the positions that the store came back with, after they were found to be allowed.
    pub(crate) fn adopt(&mut self, lane: LaneId, class: u8, cursor: &Cursor) {
        self.lanes.get_mut(&lane).unwrap().positions[usize::from(class)] = Position::of(cursor);
        let pending = self.pending(lane);
        let lane = self.lanes.get_mut(&lane).unwrap();
        lane.settled = lane.accepted - pending - lane.shed;
    }
}
