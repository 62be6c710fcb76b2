//! A log in memory that the tests of the lane run against. It checks every confirmation: nothing
//! may be confirmed before all its outputs were acknowledged or kept as dead letters.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_rules::decision::{Output, Priority};
use tidegate_rules::event::Event;
use tidegate_store::{
    Cursor, DeadLetterError, DeadLetterId, ReadBatch, ReadError, ReadLimit, Sequence, StoredRecord,
};

use super::lane::Lane;
use super::lane_driver::LaneDriver;
use super::log::{LaneLog, LaneStore};
use crate::config::{Backfill, LaneSettings};
use crate::event::committed_log::CommitTime;
use crate::event::dead_letter::DeadLetter;
use crate::event::dead_letter::letters::{Kept, Letter};
use crate::event::dead_letter::outputs::numbers;
use crate::event::record::{self, Routed};
use crate::observe::Observe;
use crate::observe::forward::LaneFamilies;
use crate::time::clock::Now;
use crate::upstream::Token;

/// The lane under test; another one gets some outputs too.
pub(super) const LANE: u16 = 3;
const OTHER: u16 = 4;

/// A lane's settings as small as the tests need them.
pub(super) fn settings(inflight_max: usize, backfill: Backfill) -> LaneSettings {
    LaneSettings {
        backfill,
        live_weight: 4,
        inflight_max,
        inflight_bytes_max: 100_000,
        rate_max: None,
        bandwidth_bytes_max: None,
        retry_min: Duration::from_millis(10),
        retry_max: Duration::from_millis(500),
        refusals_max: 5,
        ack_timeout: Duration::from_secs(30),
    }
}

#[derive(Default)]
pub(super) struct Held {
    /// Classes and bytes; the first record has sequence 1.
    pub(super) records: Vec<(BTreeSet<u8>, Vec<u8>)>,
    /// Every output to the lane, with its class.
    pub(super) outputs: BTreeMap<Token, u8>,
    pub(super) confirmed: BTreeSet<(u8, Sequence)>,
    pub(super) persisted: BTreeSet<(u8, Sequence)>,
    pub(super) letters: BTreeMap<DeadLetterId, Vec<u8>>,
    /// The outputs that these hold.
    pub(super) in_letters: BTreeSet<Token>,
    pub(super) letter_bytes_max: Option<usize>,
    /// What the upstream acknowledged.
    pub(super) acked: BTreeSet<Token>,
    pub(super) letters_full: bool,
    /// There are as many as are kept; what is dropped counts as acknowledged.
    pub(super) letters_dropped: bool,
    pub(super) reads_fail: bool,
    /// When records of this run became durable.
    pub(super) times: Vec<(Sequence, Instant)>,
}

/// Shared with the lane, so that it outlives a crash.
#[derive(Clone, Default)]
pub(super) struct ListLog(pub(super) Rc<RefCell<Held>>);

impl ListLog {
    /// Appends a record with one output to the lane per class given, and one to another lane.
    pub(super) fn append(&self, classes: &[u8]) -> Sequence {
        let mut held = self.0.borrow_mut();
        let sequence = held.records.len() as u64 + 1;
        let mut outputs = vec![routed(OTHER, 1)];
        outputs.extend(classes.iter().map(|class| routed(LANE, *class)));
        let mut bytes = Vec::new();
        record::encode(&event(sequence), &outputs, &mut bytes);
        for (output, class) in (1..).zip(classes) {
            held.outputs.insert(Token { sequence, output }, *class);
        }
        held.records
            .push((classes.iter().copied().collect(), bytes));
        sequence
    }

    pub(super) fn lane(&self, settings: LaneSettings, now: Instant) -> LaneDriver<ListLog> {
        let families = LaneFamilies::register(&Observe::default());
        let metrics = Arc::new(families.of("cloud", 0, now));
        let lane = Lane::new(LANE, settings, Arc::clone(&metrics), now, 7);
        LaneDriver::new(lane, self.clone(), "cloud", metrics)
    }

    /// The process dies: cursors fall back to what was written.
    pub(super) fn crash(&self) {
        let mut held = self.0.borrow_mut();
        held.confirmed = held.persisted.clone();
    }

    pub(super) fn persist(&self) {
        let mut held = self.0.borrow_mut();
        held.persisted = held.confirmed.clone();
    }

    /// Whether every output was acknowledged or kept, and every record confirmed.
    pub(super) fn is_done(&self) -> bool {
        let held = self.0.borrow();
        held.outputs.iter().all(|(token, class)| {
            let kept = held.in_letters.contains(token);
            (held.acked.contains(token) || kept)
                && held.confirmed.contains(&(*class, token.sequence))
        })
    }
}

/// The outputs in a letter; of one that cannot be read, its first.
fn tokens(id: DeadLetterId, letter: &DeadLetter) -> Vec<Token> {
    let numbers = match record::decode(&letter.record) {
        Ok(record) => numbers(id, &record),
        Err(_) => vec![id.1],
    };
    let token = |output| Token {
        sequence: id.0,
        output,
    };
    numbers.into_iter().map(token).collect()
}

pub(super) fn event(sequence: Sequence) -> Event {
    Event {
        id: sequence.to_string().into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: "t".into(),
        publisher: "p".into(),
        time: None,
        received: 0,
        content_type: None,
        schema: None,
        extensions: Vec::new(),
        data: Bytes::from(vec![b'x'; (sequence % 5) as usize * 50]),
        ..Event::default()
    }
}

fn routed(lane: u16, class: u8) -> Routed {
    Routed {
        lane,
        output: Output {
            priority: Priority::from_byte(class).expect("a class"),
            rule: Some("a_rule".into()),
            ..Output::default()
        },
    }
}

pub(super) fn at(instant: Instant) -> Now {
    Now {
        instant,
        unix_ms: 1_700_000_000_000,
    }
}

impl LaneLog for ListLog {
    fn end(&self) -> Sequence {
        self.0.borrow().records.len() as u64 + 1
    }

    fn cursor(&self, class: u8) -> Cursor {
        let held = self.0.borrow();
        let waits = |sequence: &Sequence| {
            let (classes, _) = &held.records[*sequence as usize - 1];
            classes.contains(&class) && !held.confirmed.contains(&(class, *sequence))
        };
        let end = held.records.len() as u64 + 1;
        let low = (1..end).find(waits).unwrap_or(end);
        let above = (low..end).filter(|sequence| !waits(sequence));
        Cursor {
            low,
            above: above.map(|sequence| sequence..=sequence).collect(),
        }
    }

    fn read(&self, class: u8, from: Sequence, limit: ReadLimit) -> Result<ReadBatch, ReadError> {
        let held = self.0.borrow();
        if held.reads_fail {
            return Err(ReadError::Failed("the disk is tired".into()));
        }
        let mut batch = ReadBatch {
            records: Vec::new(),
            next: from,
        };
        for (classes, bytes) in held.records.iter().skip(from as usize - 1) {
            if batch.records.len() >= limit.records.min(3) {
                break;
            }
            if classes.contains(&class) {
                batch.records.push(StoredRecord {
                    sequence: batch.next,
                    time_ms: 0,
                    bytes: Bytes::copy_from_slice(bytes),
                });
            }
            batch.next += 1;
        }
        Ok(batch)
    }

    fn is_done(&self, class: u8, sequence: Sequence) -> bool {
        self.0.borrow().confirmed.contains(&(class, sequence))
    }

    fn commit_time(&self, sequence: Sequence, _: Instant) -> Option<CommitTime> {
        let held = self.0.borrow();
        let mut times = held.times.iter();
        let (first, durable) = *times.find(|(known, _)| *known == sequence)?;
        Some(CommitTime {
            sequences: first..first + 1,
            durable,
        })
    }
}

impl LaneStore for ListLog {
    fn confirm(&self, class: u8, sequences: &[Sequence]) -> u64 {
        let mut held = self.0.borrow_mut();
        let mut new = 0;
        for sequence in sequences {
            for (token, of_class) in &held.outputs {
                let kept = held.in_letters.contains(token);
                assert!(
                    token.sequence != *sequence
                        || *of_class != class
                        || kept
                        || held.acked.contains(token),
                    "{token:?} was confirmed before it was delivered or kept"
                );
            }
            new += u64::from(held.confirmed.insert((class, *sequence)));
        }
        new
    }

    fn letter_bytes_max(&self) -> usize {
        self.0.borrow().letter_bytes_max.unwrap_or(usize::MAX)
    }

    fn keep(&self, letter: Letter<'_>) -> Result<Kept, DeadLetterError> {
        let mut held = self.0.borrow_mut();
        if held.letters_full {
            return Err(DeadLetterError::NoSpace("full".into()));
        }
        let tokens = tokens(letter.id, &letter.letter);
        if held.letters_dropped {
            held.acked.extend(tokens);
            return Ok(Kept::Dropped);
        }
        held.in_letters.extend(tokens);
        held.letters.insert(letter.id, letter.letter.encode());
        Ok(Kept::Held)
    }
}
