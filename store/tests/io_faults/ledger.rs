//! What the store said, against which everything it shows later is held.

use crate::faults;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tidegate_store::{CommitError, DeadLetter, DeadLetterError, OpenError, Sequence, Store};

/// Records of an item.
pub(crate) const PARTS: u64 = 3;

/// The bytes of one record: they name its item, the attempt to store it, and its place in the commit. Some are so large
/// that they go to the value log.
pub(crate) fn record(item: u64, attempt: u64, part: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in [item, attempt, part] {
        bytes.extend_from_slice(&n.to_le_bytes());
    }
    let fill = item * 31 + attempt * 7 + part;
    let count = match (item % 4, part) {
        (2, 1) => 40_000,
        _ => 300,
    };
    bytes.extend((0..count).map(|at: u64| (fill * 13 + at * at) as u8));
    bytes
}

fn named(bytes: &[u8]) -> Option<(u64, u64, u64)> {
    let n = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let found = (n(0)?, n(8)?, n(16)?);
    (record(found.0, found.1, found.2) == bytes).then_some(found)
}

/// What is known of a dead letter.
#[derive(Default)]
struct Letter {
    bytes: Vec<u8>,
    may_be_there: bool,
    may_be_absent: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Ledger {
    attempts: u64,
    /// Item → attempt and first sequence of what was acknowledged.
    accepted: BTreeMap<u64, (u64, Sequence)>,
    refused: BTreeSet<(u64, u64)>,
    pub(crate) confirmed: BTreeSet<Sequence>,
    letters: BTreeMap<u64, Letter>,
    pub(crate) has_lane: bool,
    /// Items that were refused as often as they were offered.
    pub(crate) given_up: Vec<u64>,
    /// What was refused and why, in the order of the calls.
    pub(crate) errors: Vec<String>,
    pub(crate) faults: Vec<String>,
    mark: usize,
}

impl Ledger {
    pub(crate) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// An opening may fail while the disk does, but must say where.
    pub(crate) fn not_opened(&mut self, dir: &Path, error: &OpenError) {
        let said = error.to_string();
        if !said.contains(&dir.display().to_string()) {
            self.faults
                .push(format!("an opening failed without saying where: {said}"));
        }
        self.errors.push(said);
    }

    pub(crate) fn begin_ack(&mut self) {
        self.mark = faults::position();
    }

    /// Something was acknowledged: since the call began the disk must have said done, for a file that never failed.
    pub(crate) fn acked(&mut self, what: &str) {
        if let Some(synced) = faults::unsynced_since(self.mark) {
            self.faults.push(format!(
                "{what} was acknowledged without a sync that worked, only {synced:?}"
            ));
        }
    }

    pub(crate) fn accepted(&mut self, item: u64, attempt: u64, first: Sequence, _: &[Vec<u8>]) {
        self.accepted.insert(item, (attempt, first));
    }

    pub(crate) fn refused(&mut self, item: u64, attempt: u64, error: &CommitError) {
        if matches!(
            error,
            CommitError::Invalid { .. } | CommitError::Full { .. }
        ) {
            self.faults.push(format!("a failing disk gave {error:?}"));
        }
        self.refused.insert((item, attempt));
        self.errors.push(error.to_string());
    }

    /// A record came out of the store: it must be one that was acknowledged, unaltered; or one that was refused by a
    /// process that has ended since, and was not repeated.
    pub(crate) fn delivered(&mut self, sequence: Sequence, bytes: &[u8]) {
        let Some((item, attempt, part)) = named(bytes) else {
            return self.faults.push(format!("record {sequence} was altered"));
        };
        let known = match self.accepted.get(&item) {
            Some((acked, first)) => (*acked, first + part) == (attempt, sequence),
            None => self.refused.contains(&(item, attempt)),
        };
        if !known {
            self.faults.push(format!(
                "record {sequence} is attempt {attempt} at item {item}, not what was acknowledged"
            ));
        }
    }

    pub(crate) fn letter_put(
        &mut self,
        item: u64,
        bytes: Vec<u8>,
        put: Result<(), DeadLetterError>,
    ) {
        let letter = self.letters.entry(item).or_default();
        letter.bytes = bytes;
        letter.may_be_there = true;
        letter.may_be_absent = put.is_err();
        self.errors.extend(put.err().map(|error| error.to_string()));
    }

    pub(crate) fn letter_removed(&mut self, item: u64, removed: Result<bool, DeadLetterError>) {
        let letter = self.letters.entry(item).or_default();
        match removed {
            Ok(true) => (letter.may_be_there, letter.may_be_absent) = (false, true),
            Ok(false) if letter.may_be_absent => letter.may_be_there = false,
            Ok(false) => self.faults.push(format!("letter {item} was not found")),
            Err(error) => {
                letter.may_be_absent = true;
                self.errors.push(error.to_string());
            }
        }
    }

    pub(crate) fn letters_listed(&mut self, found: Vec<DeadLetter>) {
        let there: BTreeMap<_, _> = found
            .into_iter()
            .map(|letter| (letter.id.0, letter.bytes))
            .collect();
        for (item, letter) in &mut self.letters {
            match there.get(item) {
                Some(bytes) if !letter.may_be_there || *bytes != letter.bytes => {
                    self.faults
                        .push(format!("letter {item} is there again, or altered"));
                }
                None if !letter.may_be_absent => self.faults.push(format!("letter {item} is gone")),
                _ => {}
            }
        }
    }

    /// After all faults: the whole store, as a later process finds it.
    pub(crate) fn check(&mut self, store: &Store) {
        self.check_report(store);
        self.check_log(store);
        match store.dead_letters((0, 0), 1000) {
            Ok(found) => self.letters_listed(found),
            Err(error) => self.faults.push(format!("dead letters: {error}")),
        }
        let verified = store.verify(|_, _| ());
        if !verified.is_sound() {
            self.faults.push(format!("{verified:?}"));
        }
        if self.has_lane {
            self.check_lane(store);
        }
    }

    /// The disk failed, but nothing on it was damaged.
    pub(crate) fn check_report(&mut self, store: &Store) {
        let report = store.open_report();
        if !report.quarantined.is_empty() || !report.damage.is_empty() {
            self.faults.push(format!("{report:?}"));
        }
    }

    fn check_log(&mut self, store: &Store) {
        let limit = tidegate_store::ReadLimit {
            records: usize::MAX,
            bytes: usize::MAX,
        };
        let batch = match store.scan(1, u64::MAX, limit) {
            Ok(batch) => batch,
            Err(error) => return self.faults.push(format!("scan: {error}")),
        };
        let mut seen = BTreeMap::<u64, u64>::new();
        for found in &batch.records {
            self.delivered(found.sequence, &found.bytes);
            let (item, ..) = named(&found.bytes).unwrap_or_default();
            *seen.entry(item).or_default() += 1;
        }
        let sequences = batch.records.iter().map(|found| found.sequence);
        if !sequences.eq(store.first()..store.end()) {
            self.faults.push("the sequences have a gap".into());
        }
        for (item, parts) in seen {
            let cut_by_deletion = self
                .accepted
                .get(&item)
                .is_some_and(|(_, at)| *at < store.first());
            if parts > PARTS || (parts < PARTS && !cut_by_deletion) {
                self.faults.push(format!("{parts} parts of item {item}"));
            }
        }
        for (item, (attempt, first)) in &self.accepted {
            let lost = |at: u64| {
                at >= store.end() || (at < store.first() && !self.confirmed.contains(&at))
            };
            if (*first..first + PARTS).any(lost) {
                self.faults.push(format!("item {item} at {first} is lost"));
            }
            if store.mark(&item.to_le_bytes()) != Some(attempt.to_le_bytes().to_vec()) {
                self.faults
                    .push(format!("the mark of item {item} is wrong"));
            }
        }
    }

    fn check_lane(&mut self, store: &Store) {
        let Ok(lane) = store.lane("cloud") else {
            return self.faults.push("the lane cannot be opened".into());
        };
        let cursor = store.cursor(lane, 1);
        let above = cursor.above.iter().cloned().flatten();
        for at in (1..cursor.low).chain(above) {
            if !self.confirmed.contains(&at) {
                self.faults
                    .push(format!("{at} counts as confirmed and was not"));
            }
        }
    }
}
