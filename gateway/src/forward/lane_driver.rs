//! Does for a lane what it asks for: keeps dead letters and confirms records, against the store.
//!
//! A record is confirmed only after its dead letter is durable. One that could not be kept goes
//! back to the lane, which offers it again.

use std::sync::Arc;
use std::time::Instant;

use tidegate_rules::event::Event;
use tidegate_store::StoredRecord;

use super::lane::{Action, Fate, Lane, Undeliverable, UnknownLane};
use super::log::LaneStore;
use crate::event::dead_letter::DeadLetter;
use crate::event::dead_letter::letters::{Kept, Letter};
use crate::event::dead_letter::outputs::Undelivered;
use crate::event::record::{self, Record};
use crate::event::system_topic::GAP_KIND;
use crate::observe::forward::{DeadLettered, LaneMetrics};
use crate::time::clock::Now;
use crate::upstream::{Delivery, Outcome, Token, Trouble};

/// A lane and the store it is forwarded from.
pub(super) struct LaneDriver<S> {
    pub(super) lane: Lane,
    pub(super) store: S,
    /// Dead letters that were kept and not told yet.
    pub(super) happened: Vec<DeadLettered>,
    /// Records that expired and were not told yet.
    pub(super) expired: u64,
    name: String,
    metrics: Arc<LaneMetrics>,
}

impl<S: LaneStore> LaneDriver<S> {
    /// `name` is the upstream's.
    pub(super) fn new(lane: Lane, store: S, name: &str, metrics: Arc<LaneMetrics>) -> Self {
        LaneDriver {
            lane,
            store,
            happened: Vec::new(),
            expired: 0,
            name: name.to_owned(),
            metrics,
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self) {
        self.lane.connected(&self.store);
    }

    /// The deliveries to offer now, at most `room`.
    pub(super) fn take(&mut self, now: Now, room: usize) -> Result<Vec<Delivery>, UnknownLane> {
        let mut batch = self.lane.take(&self.store, now, room)?;
        while self.act(now) {
            let more = room - batch.len();
            batch.extend(self.lane.take(&self.store, now, more)?);
        }
        Ok(batch)
    }

    /// Takes the upstream's answers.
    pub(super) fn settle(&mut self, now: Now, answers: Vec<(Token, Outcome)>) {
        self.lane.settle(now, answers);
        self.act(now);
    }

    /// The connection is gone.
    pub(super) fn broken(&mut self, now: Now, trouble: &Trouble) {
        self.lane.broken(now, trouble);
        self.act(now);
    }

    /// The connection was given up in order.
    pub(super) fn parted(&mut self, now: Now) {
        self.lane.parted(now);
        self.act(now);
    }

    /// Whether everything the log holds has been offered.
    pub(super) fn is_hungry(&self) -> bool {
        self.lane.is_hungry()
    }

    /// When to look again although nothing was settled and nothing committed.
    pub(super) fn next_wake(&mut self, now: Instant, room: usize) -> Option<Instant> {
        self.lane.next_wake(now, room)
    }

    /// Whether an acknowledgement is overdue.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.lane.is_overdue(now)
    }

    /// Deliveries in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.lane.in_flight()
    }

    /// How many events the upstream fails over while it takes others, and what it said last of one.
    pub(super) fn waiting_alone(&self) -> (usize, &str) {
        self.lane.waiting_alone()
    }

    /// Does what the lane asks for; tells whether it asked for anything.
    fn act(&mut self, now: Now) -> bool {
        let mut acted = false;
        while let Some(action) = self.lane.next_action() {
            acted = true;
            match action {
                Action::KeepDeadLetter(together) => self.keep_dead_letters(together, now),
                Action::Confirm {
                    class,
                    sequences,
                    fate,
                } => {
                    let counted = self.store.confirm(class, &sequences);
                    match fate {
                        Fate::Delivered => self.metrics.count_delivered(counted),
                        Fate::Expired => {
                            self.metrics.count_expired(counted);
                            self.expired += counted;
                        }
                        Fate::Dead => self.metrics.count_dead_letters(counted),
                        Fate::Dropped => self.metrics.count_dropped(counted),
                        Fate::Empty => {}
                    }
                }
            }
        }
        acted
    }

    /// Keeps outputs of one record that are given up for one cause: as one letter, or as several where they are too large.
    fn keep_dead_letters(&mut self, mut together: Vec<Undeliverable>, now: Now) {
        let stored = match self.stored(&mut together) {
            Ok(stored) => stored,
            Err(fate) => return self.answer(together, fate, now),
        };
        let record = record::decode(&stored.bytes).ok();
        let mut outputs = record.as_ref().and_then(|of| undelivered(of, &together));
        while !together.is_empty() {
            let these = outputs
                .as_ref()
                .map_or(together.len(), |of| self.fitting(of));
            let later = together.split_off(these);
            let letter = match (&record, &mut outputs) {
                (Some(record), Some(outputs)) => {
                    let later = outputs.split_off(these);
                    let these = std::mem::replace(outputs, later);
                    let cause = together[0].cause;
                    DeadLetter::of_outputs(&record.event, &self.name, cause, these, now.unix_ms)
                }
                _ => self.unreadable(&together[0], &stored, now),
            };
            let event = record.as_ref().map(|record| &*record.event);
            let fate = self.keep(&together, letter, event);
            self.answer(together, fate, now);
            together = later;
        }
    }

    /// The record of what is given up; else what becomes of it: the record is gone, which the store reports, or cannot be
    /// read now.
    fn stored(&self, together: &mut [Undeliverable]) -> Result<StoredRecord, Option<Fate>> {
        let Some(first) = together.first_mut() else {
            return Err(None);
        };
        if let Some(stored) = first.stored.take() {
            return Ok(stored);
        }
        let read = self
            .store
            .record(first.entry.class, first.entry.token.sequence);
        read.map_err(|error| {
            self.metrics.failed(error.to_string());
            None
        })?
        .ok_or(Some(Fate::Dead))
    }

    /// How many of the outputs make a letter, at least one.
    fn fitting(&self, outputs: &[Undelivered]) -> usize {
        let max = self.store.letter_bytes_max();
        let mut bytes = 0;
        let too_many = outputs.iter().position(|output| {
            bytes += output.size_bytes();
            bytes > max
        });
        too_many.unwrap_or(outputs.len()).max(1)
    }

    fn answer(&mut self, together: Vec<Undeliverable>, fate: Option<Fate>, now: Now) {
        for undeliverable in together {
            match fate {
                Some(fate) => self.lane.kept(&undeliverable, fate),
                None => self.lane.not_kept(undeliverable, now),
            }
        }
    }

    /// The fate under which the deliveries may be confirmed: their dead letter is durable or was one too many.
    fn keep(
        &mut self,
        together: &[Undeliverable],
        letter: DeadLetter,
        event: Option<&Event>,
    ) -> Option<Fate> {
        let Token { sequence, output } = together[0].entry.token;
        let happened = DeadLettered {
            upstream: letter.upstream.clone(),
            sequence,
            output,
            outputs: together.len(),
            event_id: event.map_or_else(String::new, |event| event.id.to_string()),
            reason: letter.reason.clone(),
            attempts: letter.attempts,
        };
        let kept = self.store.keep(Letter {
            id: (sequence, output),
            letter,
            source: event.map_or("", |event| &event.source),
            untold: event.is_some_and(|event| &*event.kind == GAP_KIND),
        });
        match kept {
            Ok(Kept::Held) => {
                self.happened.push(happened);
                Some(Fate::Dead)
            }
            Ok(Kept::Dropped) => Some(Fate::Dropped),
            Err(error) => {
                self.metrics.failed(error.to_string());
                None
            }
        }
    }

    /// The letter of a record that cannot be read, or does not have the output: as it is stored.
    fn unreadable(
        &self,
        undeliverable: &Undeliverable,
        stored: &StoredRecord,
        now: Now,
    ) -> DeadLetter {
        DeadLetter {
            upstream: self.name.clone(),
            cause: undeliverable.cause,
            reason: undeliverable.reason.clone(),
            rule: None,
            attempts: undeliverable.entry.attempts,
            time_ms: now.unix_ms,
            unknown: Vec::new(),
            record: stored.bytes.to_vec(),
        }
    }
}

/// What is given up, with what it says; `None` if the record does not have all of it.
fn undelivered(record: &Record, together: &[Undeliverable]) -> Option<Vec<Undelivered>> {
    let one = |one: &Undeliverable| {
        let number = one.entry.token.output;
        let routed = record.outputs.get(usize::from(number))?;
        Some(Undelivered {
            number,
            output: routed.output.clone(),
            reason: one.reason.clone(),
            attempts: one.entry.attempts + 1,
        })
    };
    together.iter().map(one).collect()
}
