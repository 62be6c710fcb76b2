//! Runs a script against a store and the model, and compares them after every step.

use crate::check;
use crate::model::{Model, Record};
use crate::op::{Limit, Op, Pick, Piece, Script, Settings, read_limit};
use crate::shed;
use crate::side_by_side::{Done, Run, name};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidegate_store::{
    Append, Commit, CommitError, DeadLetterError, Options, Route, WhenFull, open,
};

/// Memory where there is some, for a case opens many stores.
fn home() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

fn options(dir: PathBuf, settings: &Settings) -> Options {
    Options {
        generation_bytes: settings.generation_bytes,
        max_size_bytes: settings.max_size_bytes,
        keep_for_ms: settings.keep_for_ms,
        tail_bytes: settings.tail_bytes,
        when_full: match settings.sheds {
            true => WhenFull::Shed,
            false => WhenFull::Refuse,
        },
        expire_after_ms: settings.expires.then_some(0),
        ballast_bytes: 0,
        free_bytes_min: 0,
        cache_bytes: 1 << 18,
        ..Options::new(dir)
    }
}

/// Runs a whole script; panics where store and model differ.
pub(crate) fn run(script: &Script) -> Done {
    let home = home();
    let opened = open(options(home.path().join("0"), &script.settings)).unwrap();
    let mut run = Run {
        home,
        copies: 0,
        settings: script.settings.clone(),
        open: Some(opened),
        model: Model::new(),
        now_before_ms: None,
        generations: Vec::new(),
        time_ms: 1_000_000_000,
        tag: 0,
        done: Done::default(),
    };
    run.generations = run.store().stats().generations;
    for op in &script.ops {
        run.step(op);
        check::state(&mut run, op);
        run.done.steps += 1;
    }
    check::content(&run);
    run.step(&Op::Reopen(None));
    check::state(&mut run, &Op::Reopen(None));
    check::content(&run);
    assert!(run.store().verify(|_, _| ()).is_sound());
    run.done.cases = 1;
    run.done
}

impl Run {
    fn dir(&self) -> PathBuf {
        self.home.path().join(self.copies.to_string())
    }

    fn step(&mut self, op: &Op) {
        self.now_before_ms = self.model.now_ms;
        match op {
            Op::Commit { pieces, marks } => self.commit(pieces, marks),
            Op::Lane(slot) => self.lane(*slot),
            Op::DropLane(slot) => self.drop_lane(*slot),
            Op::Read {
                slot,
                class,
                from,
                limit,
            } => self.read(*slot, *class, *from, *limit),
            Op::Scan { from, to, limit } => self.scan(*from, *to, *limit),
            Op::Confirm { slot, class, pick } => self.confirm(*slot, *class, pick),
            Op::Advance {
                slot,
                class,
                through,
            } => self.advance(*slot, *class, *through),
            Op::Drain(slot) => self.drain(*slot),
            Op::PutLetter { key, bytes } => self.put_letter(*key, *bytes),
            Op::ListLetters { from, limit } => check::letters(self, *from, *limit),
            Op::RemoveLetter(key) => drop(self.remove_letter(*key)),
            Op::Retry { key, slot, class } => self.retry(*key, *slot, *class),
            Op::Persist => self.persist(),
            Op::Shed(bytes) => shed::give_up(self, |run, gap_writer| {
                run.writer().shed(*bytes, gap_writer)
            }),
            Op::Expire => shed::give_up(self, |run, gap_writer| run.writer().expire(gap_writer)),
            Op::Reopen(change) => self.reopen(change.as_ref()),
            Op::Crash(change) => self.crash(change.as_ref(), false),
            Op::LoseNewest => self.crash(None, true),
        }
    }

    /// Bytes that no other record of the case has.
    fn bytes(&mut self, size: usize) -> Vec<u8> {
        self.tag += 1;
        let mut state = self.tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut out = self.tag.to_le_bytes().to_vec();
        while out.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Half of it repeats, as text does.
            out.extend_from_slice(&state.to_le_bytes());
            out.extend_from_slice(b"reading=");
        }
        out.truncate(size);
        out
    }

    fn commit(&mut self, pieces: &[Piece], marks: &[(u8, Option<u8>)]) {
        let records: Vec<_> = pieces.iter().map(|piece| self.record(piece)).collect();
        let repeated: Vec<_> = pieces.iter().map(|piece| self.routes(piece)).collect();
        let mut commit = Commit::new();
        for (record, routes) in records.iter().zip(&repeated) {
            commit.push(Append {
                routes,
                time_ms: record.time_ms,
                bytes: &record.bytes,
            });
        }
        for (key, value) in marks {
            match value {
                Some(value) => commit.mark(&[*key], &[*value; 3]),
                None => commit.unmark(&[*key]),
            }
        }
        let bytes = commit.bytes() as u64;
        match self.writer().commit(&commit) {
            Ok(committed) => {
                assert_eq!(committed.first, self.model.next);
                let count = records.len() as u64;
                assert_eq!(committed.last + 1, self.model.next + count);
                self.accepted(records, marks);
            }
            Err(CommitError::Full {
                disk_bytes,
                max_size_bytes,
            }) => {
                self.done.full += 1;
                assert_eq!(max_size_bytes, self.settings.max_size_bytes);
                let mut slack = (2 << 20).min(max_size_bytes / 8);
                if self.settings.sheds {
                    // Room to rewrite any generation in.
                    let held = self
                        .store()
                        .stats()
                        .generations
                        .into_iter()
                        .map(|held| held.payload_bytes);
                    let least = self.settings.generation_bytes.min(max_size_bytes / 8);
                    slack += held.max().unwrap_or(0).max(least);
                }
                assert!(disk_bytes + 2 * bytes + slack > max_size_bytes);
                check::nothing_could_go(self);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn accepted(&mut self, records: Vec<Record>, marks: &[(u8, Option<u8>)]) {
        self.done.records += records.len() as u64;
        let newest = records.iter().map(|record| record.time_ms).max();
        self.model.now_ms = newest.or(self.model.now_ms);
        for record in records {
            self.model.append(record);
        }
        for (key, value) in marks {
            match value {
                Some(value) => self.model.marks.insert(vec![*key], vec![*value; 3]),
                None => self.model.marks.remove(&vec![*key]),
            };
        }
    }

    /// The routes of a piece as they are asked for: the same one may be there twice.
    fn routes(&self, piece: &Piece) -> Vec<Route> {
        let route = |&(slot, class): &(u8, u8)| {
            let lane = self.model.lane_in(slot)?;
            Some(Route { lane, class })
        };
        piece.routes.iter().filter_map(route).collect()
    }

    fn record(&mut self, piece: &Piece) -> Record {
        self.time_ms = self.time_ms.saturating_add_signed(piece.time_step_ms);
        let routes: BTreeSet<_> = self
            .routes(piece)
            .iter()
            .map(|route| (route.lane, route.class))
            .collect();
        Record {
            time_ms: self.time_ms,
            routes,
            bytes: self.bytes(piece.bytes),
        }
    }

    fn lane(&mut self, slot: u8) {
        let id = self.store().lane(&name(slot)).unwrap();
        match self.model.lane_in(slot) {
            Some(known) => assert_eq!(id, known),
            None => {
                assert!(!self.model.lanes.contains_key(&id), "a lane number in use");
                self.model.add_lane(id, slot);
            }
        }
    }

    fn drop_lane(&mut self, slot: u8) {
        let known = self.model.lane_in(slot);
        assert_eq!(self.store().drop_lane(&name(slot)), Ok(known.is_some()));
        if let Some(id) = known {
            self.model.lanes.remove(&id);
        }
    }

    /// A place in the log, from 256ths of it.
    fn place(&self, part: u8) -> u64 {
        let (first, next) = (self.store().first(), self.model.next);
        match part {
            0 => 0,
            255 => next + 3,
            _ => first + (next - first) * u64::from(part) / 254,
        }
    }

    fn read(&mut self, slot: u8, class: u8, from: u8, limit: Limit) {
        let Some(lane) = self.model.lane_in(slot) else {
            return;
        };
        let from = self.place(from);
        let batch = self
            .store()
            .read(lane, class, from, read_limit(limit))
            .unwrap();
        check::batch(self, &batch, from..self.model.next, limit, |record| {
            record.routes.contains(&(lane, class))
        });
        let seen: Vec<_> = (from..batch.next)
            .filter(|at| {
                let routed = |record: &Record| record.routes.contains(&(lane, class));
                !self.model.records.get(at).is_some_and(routed)
            })
            .collect();
        let position = &mut self.model.lanes.get_mut(&lane).unwrap().positions[usize::from(class)];
        seen.into_iter().for_each(|at| position.insert(at..=at));
    }

    fn scan(&mut self, from: u8, to: u8, limit: Limit) {
        let (from, to) = (self.place(from), self.place(to));
        let batch = self.store().scan(from, to, read_limit(limit)).unwrap();
        check::batch(self, &batch, from..to.min(self.model.next), limit, |_| true);
    }

    fn confirm(&mut self, slot: u8, class: u8, pick: &Pick) {
        let Some(lane) = self.model.lane_in(slot) else {
            return;
        };
        let routed: Vec<_> = self.model.routed(lane, class, 0).collect();
        let begin = routed.len() * usize::from(pick.from) / 256;
        let chosen = routed[begin..].iter().step_by(pick.step).take(pick.count);
        let mut chosen: Vec<u64> = chosen.copied().collect();
        if pick.backwards {
            chosen.reverse();
        }
        if pick.future {
            chosen.push(self.model.next + 2);
        }
        self.store().confirm(lane, class, &chosen);
        let next = self.model.next;
        for at in chosen.into_iter().filter(|at| *at < next) {
            self.model.settle(lane, class, at..=at);
        }
    }

    fn advance(&mut self, slot: u8, class: u8, through: u8) {
        let Some(lane) = self.model.lane_in(slot) else {
            return;
        };
        let through = self.place(through);
        self.store().advance(lane, class, through);
        self.model.settle(lane, class, 0..=through);
    }

    fn drain(&mut self, slot: u8) {
        let limit = Limit {
            records: usize::MAX,
            bytes: usize::MAX,
        };
        let pick = Pick {
            from: 0,
            count: usize::MAX,
            step: 1,
            backwards: false,
            future: false,
        };
        for class in 0..4 {
            self.read(slot, class, 0, limit);
            self.confirm(slot, class, &pick);
        }
    }

    fn put_letter(&mut self, key: u8, size: usize) {
        let bytes = self.bytes(size);
        let id = (u64::from(key) * 300, u16::from(key));
        match self.store().put_dead_letter(id, &bytes) {
            Ok(()) => drop(self.model.letters.insert(id, bytes)),
            Err(DeadLetterError::Full {
                disk_bytes,
                max_bytes,
            }) => {
                assert_eq!(max_bytes, self.settings.max_size_bytes / 8);
                assert!(disk_bytes + size as u64 > max_bytes);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn remove_letter(&mut self, key: u8) -> Option<Vec<u8>> {
        let id = (u64::from(key) * 300, u16::from(key));
        let held = self.model.letters.remove(&id);
        assert_eq!(self.store().remove_dead_letter(id), Ok(held.is_some()));
        held
    }

    /// As an operator does it: the letter becomes a record first, and is removed when that is durable.
    fn retry(&mut self, key: u8, slot: u8, class: u8) {
        let id = (u64::from(key) * 300, u16::from(key));
        let held = self.store().dead_letter(id).unwrap();
        assert_eq!(held.as_ref(), self.model.letters.get(&id));
        let piece = Piece {
            bytes: held.map_or(0, |bytes| bytes.len()),
            routes: vec![(slot, class)],
            time_step_ms: 0,
        };
        let next = self.model.next;
        self.commit(&[piece], &[]);
        if self.model.next > next {
            self.remove_letter(key);
        }
    }

    fn persist(&mut self) {
        self.writer().persist_cursors_if_dirty().unwrap();
        self.model.note_written();
    }

    fn reopen(&mut self, change: Option<&Settings>) {
        self.open = None;
        self.done.reopened += 1;
        self.model.note_written();
        self.begin_again(change);
    }

    /// What the process had written is copied as it is, without the orderly end.
    fn crash(&mut self, change: Option<&Settings>, lose_newest: bool) {
        let from = self.dir();
        self.copies += 1;
        copy_dir(&from, &self.dir());
        self.open = None;
        std::fs::remove_dir_all(from).unwrap();
        if lose_newest {
            let generations = std::fs::read_dir(self.dir().join("generations")).unwrap();
            let newest = generations.map(|entry| entry.unwrap().path()).max();
            std::fs::remove_dir_all(newest.unwrap()).unwrap();
        }
        self.done.crashed += 1;
        self.begin_again(change);
    }

    fn begin_again(&mut self, change: Option<&Settings>) {
        if let Some(change) = change {
            self.settings = change.clone();
        }
        self.open = Some(open(options(self.dir(), &self.settings)).unwrap());
        check::recovered(self);
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
