//! Does for a lane what it asks for: keeps dead letters and confirms records, against the store.
//!
//! A record is confirmed only after its dead letter is durable. One that could not be kept goes
//! back to the lane, which offers it again.

use std::sync::Arc;
use std::time::Instant;

use tidegate_rules::event::Event;
use tidegate_store::StoredRecord;

use super::deliveries::delivery_of;
use super::lane::{Action, Fate, Lane, Undeliverable, UnknownLane};
use super::log::LaneStore;
use crate::event::dead_letter::DeadLetter;
use crate::event::dead_letter::letters::{Kept, Letter};
use crate::event::record;
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

    /// Does what the lane asks for; tells whether it asked for anything.
    fn act(&mut self, now: Now) -> bool {
        let mut acted = false;
        while let Some(action) = self.lane.next_action() {
            acted = true;
            match action {
                Action::KeepDeadLetter(undeliverable) => {
                    match self.keep_dead_letter(&undeliverable, now) {
                        Some(fate) => self.lane.kept(&undeliverable, fate),
                        None => self.lane.not_kept(undeliverable, now),
                    }
                }
                Action::Confirm {
                    class,
                    sequences,
                    fate,
                } => {
                    let counted = self.store.confirm(class, &sequences);
                    match fate {
                        Fate::Delivered => self.metrics.count_delivered(counted),
                        Fate::Dead => self.metrics.count_dead_letters(counted),
                        Fate::Dropped => self.metrics.count_dropped(counted),
                        Fate::Empty => {}
                    }
                }
            }
        }
        acted
    }

    /// The fate under which the delivery may be confirmed: its dead letter is durable or was one too many, or its record
    /// is gone, which the store reports.
    fn keep_dead_letter(&mut self, undeliverable: &Undeliverable, now: Now) -> Option<Fate> {
        let Undeliverable { entry, stored, .. } = undeliverable;
        let stored = match stored {
            Some(stored) => stored.clone(),
            None => match self.store.record(entry.class, entry.token.sequence) {
                Ok(Some(stored)) => stored,
                Ok(None) => return Some(Fate::Dead),
                Err(error) => {
                    self.metrics.failed(error.to_string());
                    return None;
                }
            },
        };
        let (letter, event) = self.letter(undeliverable, &stored, now);
        let Token { sequence, output } = entry.token;
        let happened = DeadLettered {
            upstream: letter.upstream.clone(),
            sequence,
            output,
            event_id: event
                .as_ref()
                .map_or_else(String::new, |event| event.id.to_string()),
            reason: letter.reason.clone(),
            attempts: letter.attempts,
        };
        let kept = self.store.keep(Letter {
            id: (sequence, output),
            letter,
            source: event.as_ref().map_or("", |event| &event.source),
            untold: event.as_ref().is_some_and(|event| &*event.kind == GAP_KIND),
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

    /// The letter, and its event if that can be read.
    fn letter(
        &self,
        undeliverable: &Undeliverable,
        stored: &StoredRecord,
        now: Now,
    ) -> (DeadLetter, Option<Arc<Event>>) {
        let (entry, name) = (&undeliverable.entry, &self.name);
        let (cause, reason) = (undeliverable.cause, undeliverable.reason.clone());
        match delivery_of(entry, stored) {
            Some((_, delivery)) => {
                let letter = DeadLetter::of(&delivery, name, cause, reason, now.unix_ms);
                (letter, Some(delivery.event))
            }
            None => {
                let letter = DeadLetter {
                    upstream: name.clone(),
                    cause,
                    reason,
                    rule: None,
                    attempts: entry.attempts,
                    time_ms: now.unix_ms,
                    record: stored.bytes.to_vec(),
                };
                let decoded = record::decode(&stored.bytes).ok();
                (letter, decoded.map(|record| record.event))
            }
        }
    }
}
