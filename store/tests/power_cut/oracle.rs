//! What an image must hold: opened with the real recovery and compared with what had been promised by the cut.

use crate::driver::{Account, Happened, bytes_of, class_of, letter_of, mark_of, options};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tidegate_store::{Append, Commit, LaneId, ReadLimit, Route, Store, open};

const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

/// What the check commits.
const AFTER: &[u8] = b"after the cut";

/// What was offered and promised up to a cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promised {
    offered: u64,
    acked: u64,
    delivered: BTreeSet<u64>,
    /// Records that may be missing, because something harmed them.
    harmed: BTreeSet<u64>,
    /// Accounts of what was given up, by their own sequences.
    accounts: BTreeMap<u64, Account>,
    /// First sequence of each marked commit, and its last.
    marked: BTreeMap<u64, u64>,
    /// Dead letters: number, and whether it must, may, or must not be there.
    letters: BTreeMap<u64, Presence>,
    /// A record of the check may be there.
    extra: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Must,
    May,
    MustNot,
}

impl Promised {
    pub(crate) fn add(&mut self, happened: &Happened) {
        match *happened {
            Happened::Offered {
                first,
                last,
                marked,
            } => {
                self.offered = last;
                if marked {
                    self.marked.insert(first, last);
                }
            }
            Happened::Acked { last } => self.acked = last,
            Happened::Delivered(sequence) => {
                self.delivered.insert(sequence);
            }
            Happened::Harmed { first, last } => self.harmed.extend(first..=last),
            Happened::GivingUp { sequence, account } => {
                self.offered = sequence;
                self.accounts.insert(sequence, account);
            }
            Happened::LetterOffered(number) | Happened::LetterLeaving(number) => {
                self.letters.insert(number, Presence::May);
            }
            Happened::LetterKept(number) => {
                self.letters.insert(number, Presence::Must);
            }
            Happened::LetterGone(number) => {
                self.letters.insert(number, Presence::MustNot);
            }
        }
    }

    /// Opens the image and looks for broken promises; says the first one.
    pub(crate) fn check(&self, dir: &Path) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| self.check_open(dir)))
            .unwrap_or_else(|_| Err("a panic".into()))
    }

    fn check_open(&self, dir: &Path) -> Result<(), String> {
        let opened = open(options(dir)).map_err(|error| format!("not opened: {error}"))?;
        let (mut writer, store) = opened;
        let held = self.records(&store)?;
        let lane = store.lane("cloud").map_err(|error| error.to_string())?;
        let given_up = self.given_up(&held);
        self.undelivered(&store, lane, &given_up)?;
        self.marks(&store, &held, &given_up)?;
        self.letters(&store)?;
        // And it goes on.
        let next = writer.next_sequence();
        let mut commit = Commit::new();
        commit.push(Append {
            routes: &[Route { lane, class: 1 }],
            time_ms: next,
            bytes: AFTER,
        });
        let committed = writer
            .commit(&commit)
            .map_err(|error| format!("accepts nothing: {error}"))?;
        let found = store.read(lane, 1, committed.first, ALL);
        match found.map(|batch| batch.records.first().map(|record| record.bytes.to_vec())) {
            Ok(Some(bytes)) if bytes == AFTER => Ok(()),
            other => Err(format!("what it accepts is not read: {other:?}")),
        }
    }

    /// Nothing invented, nothing altered, nothing out of order.
    fn records(&self, store: &Store) -> Result<BTreeSet<u64>, String> {
        let mut held = BTreeSet::new();
        let mut at = 1;
        while at < store.end() {
            let batch = store
                .scan(at, u64::MAX, ALL)
                .map_err(|error| error.to_string())?;
            at = batch.next.max(at + 1);
            for record in batch.records {
                let sequence = record.sequence;
                if self.extra && &*record.bytes == AFTER {
                    continue;
                }
                if sequence > self.offered {
                    return Err(format!("record {sequence} was never offered"));
                }
                if record.bytes != self.bytes_of(sequence) {
                    return Err(format!("record {sequence} was altered"));
                }
                if held.last().is_some_and(|last| *last >= sequence) {
                    return Err(format!("record {sequence} is out of order"));
                }
                held.insert(sequence);
            }
        }
        Ok(held)
    }

    fn bytes_of(&self, sequence: u64) -> Vec<u8> {
        let account = self.accounts.get(&sequence);
        account.map_or_else(|| bytes_of(sequence), |account| account.bytes())
    }

    fn class_of(&self, sequence: u64) -> u8 {
        match self.accounts.contains_key(&sequence) {
            true => Account::CLASS,
            false => class_of(sequence),
        }
    }

    /// What the accounts say that are there, were delivered, or were given up themselves by later ones.
    fn given_up(&self, held: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut given_up = BTreeSet::new();
        for (at, account) in self.accounts.iter().rev() {
            let harmed = self.harmed.contains(at);
            let there = held.contains(at) || self.delivered.contains(at);
            if there || harmed || given_up.contains(at) {
                let covered = |at: &u64| account.covers(*at, self.class_of(*at));
                given_up.extend((account.first..=account.last).filter(covered));
            }
        }
        given_up
    }

    /// What was acknowledged and is neither delivered nor given up is read, and no cursor has passed it; what was given
    /// up is not read.
    fn undelivered(
        &self,
        store: &Store,
        lane: LaneId,
        given_up: &BTreeSet<u64>,
    ) -> Result<(), String> {
        for class in [0, 2, Account::CLASS] {
            let cursor = store.cursor(lane, class);
            let mut found = BTreeSet::new();
            let mut at = cursor.low.max(1);
            while at < store.end() {
                let batch = store
                    .read(lane, class, at, ALL)
                    .map_err(|error| error.to_string())?;
                at = batch.next.max(at + 1);
                let open =
                    |sequence: &u64| !cursor.above.iter().any(|done| done.contains(sequence));
                let sequences = batch.records.iter().map(|record| record.sequence);
                found.extend(sequences.filter(open));
            }
            if let Some(again) = found.intersection(given_up).next() {
                return Err(format!("record {again} was given up, and is read"));
            }
            let wanted = (1..=self.acked).filter(|sequence| self.class_of(*sequence) == class);
            let excused = |at: &u64| given_up.contains(at) || self.harmed.contains(at);
            let wanted = wanted.filter(|sequence| !excused(sequence));
            for sequence in wanted.filter(|sequence| !self.delivered.contains(sequence)) {
                if !found.contains(&sequence) {
                    let why = match sequence < cursor.low || self.is_above(&cursor.above, sequence)
                    {
                        true => "its cursor has passed it",
                        false => "it is missing",
                    };
                    return Err(format!("record {sequence} is acknowledged, but {why}"));
                }
            }
        }
        Ok(())
    }

    fn is_above(&self, above: &[std::ops::RangeInclusive<u64>], sequence: u64) -> bool {
        above.iter().any(|done| done.contains(&sequence))
    }

    /// A mark and its records are there together.
    fn marks(
        &self,
        store: &Store,
        held: &BTreeSet<u64>,
        given_up: &BTreeSet<u64>,
    ) -> Result<(), String> {
        for (&first, &last) in &self.marked {
            let marked = store.mark(&mark_of(first)).is_some();
            if !marked && last <= self.acked {
                return Err(format!("the mark of {first} is missing"));
            }
            let gone = |sequence: u64| {
                !held.contains(&sequence)
                    && !self.delivered.contains(&sequence)
                    && !self.harmed.contains(&sequence)
                    && !given_up.contains(&sequence)
            };
            if let Some(missing) = (first..=last).find(|sequence| marked && gone(*sequence)) {
                return Err(format!("the mark of {first} is there without {missing}"));
            }
        }
        Ok(())
    }

    fn letters(&self, store: &Store) -> Result<(), String> {
        for (&number, &presence) in &self.letters {
            let found = store
                .dead_letter((number, 0))
                .map_err(|error| error.to_string())?;
            if found
                .as_ref()
                .is_some_and(|found| *found != letter_of(number))
            {
                return Err(format!("dead letter {number} was altered"));
            }
            match (presence, found.is_some()) {
                (Presence::Must, false) => return Err(format!("dead letter {number} is missing")),
                (Presence::MustNot, true) => {
                    return Err(format!("dead letter {number} came back"));
                }
                _ => {}
            }
        }
        let aside = store.stats().quarantined;
        if aside.iter().any(|it| it.name.starts_with("dead-letters")) {
            return Err("dead letters are in quarantine".into());
        }
        let known = self.letters.len() as u64;
        match store.dead_letter_count() > known {
            true => Err("a dead letter was invented".into()),
            false => Ok(()),
        }
    }
}

impl Promised {
    /// The check itself commits a record of its own, which may be there after a cut during it.
    pub(crate) fn allow_one_more(&mut self) {
        self.extra = true;
    }
}
