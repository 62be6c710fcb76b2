//! Does for a lane what it asks for: keeps dead letters and confirms records, against the store.
//!
//! A record is confirmed only after its dead letter is durable. One that could not be kept goes
//! back to the lane, which offers it again.

use std::sync::Arc;
use std::time::Instant;

use super::deliveries::delivery_of;
use super::lane::{Action, Fate, Lane, Undeliverable, UnknownLane};
use super::log::LaneStore;
use crate::event::dead_letter::DeadLetter;
use crate::event::record;
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
                        true => self.lane.kept(&undeliverable),
                        false => self.lane.not_kept(undeliverable, now),
                    }
                }
                Action::Confirm {
                    class,
                    sequences,
                    fate,
                } => {
                    let counted = self.store.confirm(class, &sequences);
                    if fate != Fate::Empty {
                        self.metrics.count_fates(fate == Fate::Dead, counted);
                    }
                }
            }
        }
        acted
    }

    /// Whether the delivery may be confirmed: its dead letter is durable, or its record is gone,
    /// which the store reports.
    fn keep_dead_letter(&mut self, undeliverable: &Undeliverable, now: Now) -> bool {
        let Undeliverable { entry, stored, .. } = undeliverable;
        let stored = match stored {
            Some(stored) => stored.clone(),
            None => match self.store.record(entry.class, entry.token.sequence) {
                Ok(Some(stored)) => stored,
                Ok(None) => return true,
                Err(error) => {
                    self.metrics.failed(error.to_string());
                    return false;
                }
            },
        };
        let (cause, reason) = (undeliverable.cause, undeliverable.reason.clone());
        let (dead_letter, event_id) = match delivery_of(entry, &stored) {
            Some((_, delivery)) => {
                let name = &self.name;
                let dead_letter = DeadLetter::of(&delivery, name, cause, reason, now.unix_ms);
                (dead_letter, delivery.event.id.to_string())
            }
            None => {
                let dead_letter = DeadLetter {
                    upstream: self.name.clone(),
                    cause,
                    reason,
                    rule: None,
                    attempts: entry.attempts,
                    time_ms: now.unix_ms,
                    record: stored.bytes.to_vec(),
                };
                let decoded = record::decode(&stored.bytes);
                (
                    dead_letter,
                    decoded.map_or_else(|_| String::new(), |of| of.event.id.to_string()),
                )
            }
        };
        let Token { sequence, output } = entry.token;
        let kept = self
            .store
            .put_dead_letter((sequence, output), &dead_letter.encode());
        if let Err(error) = kept {
            self.metrics.failed(error.to_string());
            return false;
        }
        self.happened.push(DeadLettered {
            upstream: dead_letter.upstream,
            sequence,
            output,
            event_id,
            reason: dead_letter.reason,
            attempts: dead_letter.attempts,
        });
        true
    }
}
