//! The core of forwarding, pure: what to offer next, and what each answer means.
//!
//! The log is the only queue. A lane holds a small read-ahead, the tokens in flight and the
//! tokens that wait to be offered again; when the connection breaks it forgets what was in
//! flight and reads on from its cursors. Promised is the order of *first* offers: within a
//! class, records are offered as they lie in the log, and higher classes overtake lower ones.
//! A refused delivery waits for its next try without holding up the others.
//!
//! A lane changes nothing but itself. The time, the seed of its randomness and a view of the log
//! come in; what is to be done to the store comes out as an [`Action`], one after the other.

mod acceptance;
mod action;
mod failing;
mod outstanding;
mod pause;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_store::{LaneId, ReadError, Sequence};

pub(super) use action::{Action, Fate, Undeliverable};

use super::budget::Budget;
use super::log::LaneLog;
use super::poison_detector::{PoisonDetector, Verdict};
use super::reader::{CLASSES, DoneRanges, Readers};
use super::retry_queue::RetryQueue;
use super::window::{InFlight, Window};
use crate::config::{Backfill, LaneSettings};
use crate::event::dead_letter::Cause;
use crate::event::record::SharedTexts;
use crate::observe::forward::LaneMetrics;
use crate::time::backoff::{Backoff, Jitter};
use crate::time::clock::Now;
use crate::upstream::{Delivery, Outcome, Token, Trouble};
use acceptance::Acceptance;
use outstanding::Outstanding;

/// The pause after the log could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The lane is no longer in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownLane;

/// One lane between the log and an upstream.
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// The mark of this start, for what leaves.
    pub(super) mark: Option<Arc<str>>,
    pub(super) retry_queue: RetryQueue,
    pub(super) ready: VecDeque<(InFlight, Delivery)>,
    pub(super) seen: HashMap<Token, u32>,
    /// Of the record read last.
    pub(super) texts: SharedTexts,
    pub(super) settings: LaneSettings,
    metrics: Arc<LaneMetrics>,
    pub(super) outstanding: BTreeMap<(u8, Sequence), Outstanding>,
    /// Outputs of one record that are given up for one cause.
    undeliverable: VecDeque<Vec<Undeliverable>>,
    pub(super) has_actions: bool,
    finished: [[Vec<Sequence>; CLASSES]; Fate::ALL.len()],
    window: Window,
    readers: Readers,
    pub(super) poison: PoisonDetector,
    /// What the upstream said last of an event that it failed over.
    failed_because: String,
    acceptance: Acceptance,
    events: Budget,
    bytes: Budget,
    busy: Backoff,
    paused_until: Option<Instant>,
    read_again: Option<Instant>,
    hungry: bool,
    pub(super) jitter: Jitter,
}

impl Lane {
    pub(super) fn new(
        id: LaneId,
        settings: LaneSettings,
        metrics: Arc<LaneMetrics>,
        now: Instant,
        seed: u64,
    ) -> Lane {
        Lane {
            id,
            mark: None,
            metrics,
            retry_queue: RetryQueue::default(),
            ready: VecDeque::new(),
            seen: HashMap::new(),
            texts: SharedTexts::default(),
            outstanding: BTreeMap::new(),
            undeliverable: VecDeque::new(),
            has_actions: false,
            finished: Default::default(),
            window: Window::new(settings.inflight_max, settings.inflight_bytes_max),
            readers: Readers::default(),
            acceptance: Acceptance::default(),
            poison: PoisonDetector::default(),
            failed_because: String::new(),
            events: Budget::new(settings.rate_max, now),
            bytes: Budget::new(settings.bandwidth_bytes_max, now),
            busy: Backoff::new(settings.retry_min, settings.retry_max),
            paused_until: None,
            read_again: None,
            hungry: false,
            jitter: Jitter::seeded(seed),
            settings,
        }
    }

    /// The same lane, whose deliveries leave the start with this mark.
    pub(super) fn of_start(self, mark: Option<Arc<str>>) -> Lane {
        Lane { mark, ..self }
    }

    /// A connection stands: everything not confirmed is read again from the cursors.
    pub(super) fn connected(&mut self, log: &impl LaneLog) {
        self.poison.connected();
        let retry_queue = &self.retry_queue;
        let done = |class| -> DoneRanges {
            let mut done = log.cursor(class).above;
            let queued = retry_queue.sequences(class);
            done.extend(queued.map(|sequence| sequence..=sequence));
            done.sort_by_key(|range| *range.start());
            done
        };
        self.readers = match self.settings.backfill {
            Backfill::InOrder => Readers::in_order(log, done),
            Backfill::LiveFirst => Readers::live_first(log, self.settings.live_weight, done),
        };
    }

    /// The deliveries to offer now, at most `room`. Stops early where an action is due: it is to
    /// be called again after that.
    pub(super) fn take(
        &mut self,
        log: &impl LaneLog,
        now: Now,
        room: usize,
    ) -> Result<Vec<Delivery>, UnknownLane> {
        let mut batch = Vec::new();
        self.hungry = false;
        let end = log.end();
        self.share_link(end, now.instant);
        while batch.len() < room && !self.has_actions && self.blocked_until(now.instant).is_none() {
            match self.next(log, now) {
                Ok(Some((entry, delivery))) if !self.window.fits(entry.size_bytes) => {
                    self.ready.push_front((entry, delivery));
                    break;
                }
                Ok(Some((entry, delivery))) => {
                    let accepted = self.acceptance.of(log, &delivery, now);
                    self.offer(InFlight { accepted, ..entry }, now);
                    batch.push(delivery);
                }
                Ok(None) => {
                    self.hungry = !self.has_actions;
                    if self.hungry {
                        self.acceptance.caught_up(end);
                    }
                    break;
                }
                Err(ReadError::UnknownLane) => return Err(UnknownLane),
                Err(error) => {
                    self.metrics.failed(error.to_string());
                    self.read_again = Some(now.instant + READ_AGAIN);
                }
            }
        }
        self.metrics.in_flight(self.window.len());
        Ok(batch)
    }

    fn offer(&mut self, entry: InFlight, now: Now) {
        self.events.spend(1);
        self.bytes.spend(entry.size_bytes);
        if entry.attempts > 0 {
            self.metrics.count_retry();
        }
        self.window.push(InFlight {
            offered: now.instant,
            ..entry
        });
    }

    /// The next delivery; `None` where there is none, or where an action is due before it.
    fn next(
        &mut self,
        log: &impl LaneLog,
        now: Now,
    ) -> Result<Option<(InFlight, Delivery)>, ReadError> {
        if let Some(ready) = self.ready.pop_front() {
            return Ok(Some(ready));
        }
        let is_held = |token| self.poison.holds(token);
        if self.poison.is_proven() && self.retry_queue.has_due(now.instant, is_held) {
            // It is tried alone.
            return match self.window.is_empty() {
                true => self.next_again(log, now, true),
                false => Ok(None),
            };
        }
        for class in (0..CLASSES as u8).rev() {
            let again = self.next_again_of(log, class, now, false)?;
            if again.is_some() || self.has_actions {
                return Ok(again);
            }
            if self.retry_queue.len().saturating_sub(self.poison.held())
                >= self.settings.inflight_max
            {
                continue;
            }
            while let Some(pending) = self.readers.pop(log, class)? {
                self.read(class, pending, now);
                let ready = self.ready.pop_front();
                if ready.is_some() || self.has_actions {
                    return Ok(ready);
                }
            }
        }
        match self.window.is_empty() {
            true => self.next_again(log, now, true),
            false => Ok(None),
        }
    }

    /// Whether everything the log holds has been offered: then only a commit brings more.
    pub(super) fn is_hungry(&self) -> bool {
        self.hungry
    }

    /// When to look again although nothing was settled and nothing committed.
    pub(super) fn next_wake(&mut self, now: Instant, room: usize) -> Option<Instant> {
        let deadline = self.window.deadline(self.settings.ack_timeout);
        let more = match self.blocked_until(now) {
            _ if room == 0 => None,
            Some(until) => until,
            None => {
                let held = |token| self.poison.holds(token);
                self.retry_queue.next_due(now, held)
            }
        };
        deadline.into_iter().chain(more).min()
    }

    /// Whether an acknowledgement is overdue: the connection counts as dead.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.window
            .deadline(self.settings.ack_timeout)
            .is_some_and(|deadline| deadline <= now)
    }

    /// Deliveries in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.window.len()
    }

    /// Takes the upstream's answers.
    pub(super) fn settle(&mut self, now: Now, answers: Vec<(Token, Outcome)>) {
        let mut failed = Vec::new();
        for (token, outcome) in answers {
            let Some(entry) = self.window.take(token, now.instant) else {
                self.metrics.count_unknown();
                continue;
            };
            match &outcome {
                // It never left.
                Outcome::Undeliverable(_) | Outcome::Expired => self.poison.forgive(token),
                Outcome::Failed { .. } => {}
                _ => self.poison.settled(token),
            }
            match outcome {
                Outcome::Dropped => self.finish(entry.class, token, Fate::Dropped),
                Outcome::Expired => self.finish(entry.class, token, Fate::Expired),
                Outcome::Confirmed => {
                    self.busy.reset();
                    self.measure(&entry, now.instant);
                    self.finish(entry.class, token, Fate::Delivered);
                }
                Outcome::Refused(reason) => self.refused(entry, reason, now),
                Outcome::Undeliverable(reason) => {
                    self.metrics.count_refusal();
                    self.give_up(entry, Cause::Refused, reason, None);
                }
                Outcome::Busy { reason, retry_ms } => self.busy(&entry, reason, retry_ms, now),
                Outcome::Failed { reason, broke } => failed.push((entry, reason, broke)),
            }
        }
        self.failed(failed, now);
        self.metrics.in_flight(self.window.len());
    }

    fn refused(&mut self, entry: InFlight, reason: String, now: Now) {
        self.metrics.count_refusal();
        match entry.refusals + 1 >= self.settings.refusals_max {
            true => self.give_up(entry, Cause::Refused, reason, None),
            false => self.retry_refused(&entry, reason, now),
        }
    }

    fn retry_refused(&mut self, entry: &InFlight, reason: String, now: Now) {
        self.metrics.failed(reason);
        let due = now.instant + self.pause_after(entry.refusals + 1);
        self.retry(entry, entry.attempts + 1, due, entry.refusals + 1);
    }

    /// The connection is gone: what was in flight is forgotten and read again, but for what
    /// carries a count of refusals or is one of several outputs of a record.
    pub(super) fn broken(&mut self, now: Now, trouble: &Trouble) {
        let in_flight = self.window.len();
        let verdict = self.poison.broken(
            self.window.oldest(),
            in_flight,
            now.instant,
            self.settings.refusals_max,
        );
        for entry in self.window.drain() {
            match verdict {
                Verdict::None => self.forget(&entry, entry.attempts + 1, now),
                Verdict::Suspect { strikes } => {
                    let pause = self.pause_after(strikes);
                    let due = now.instant + pause;
                    self.retry(&entry, entry.attempts + 1, due, entry.refusals);
                }
                Verdict::Poison => {
                    self.give_up_poison(entry, &trouble.message);
                }
            }
        }
        self.begin_anew(now);
    }

    /// The connection was given up in order: what was still in flight on it is offered again, and
    /// nothing is held against it.
    pub(super) fn parted(&mut self, now: Now) {
        for entry in self.window.drain() {
            self.forget(&entry, entry.attempts + 1, now);
        }
        self.begin_anew(now);
    }

    /// What is left to be offered is read from the log again.
    fn begin_anew(&mut self, now: Now) {
        while let Some((entry, _)) = self.ready.pop_front() {
            if self.is_remembered(&entry) {
                self.retry(&entry, entry.attempts, now.instant, entry.refusals);
            }
        }
        self.readers = Readers::default();
        self.acceptance.interrupted();
        self.paused_until = None;
        self.metrics.in_flight(0);
    }

    pub(super) fn is_remembered(&self, entry: &InFlight) -> bool {
        let place = (entry.class, entry.token.sequence);
        entry.refusals > 0 || self.outstanding.contains_key(&place)
    }

    /// What is to be done to the store next: dead letters before what they allow to confirm.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        if let Some(together) = self.undeliverable.pop_front() {
            return Some(Action::KeepDeadLetter(together));
        }
        for (fate, classes) in Fate::ALL.into_iter().zip(&mut self.finished) {
            for (class, sequences) in (0..).zip(classes) {
                if !sequences.is_empty() {
                    let sequences = std::mem::take(sequences);
                    return Some(Action::Confirm {
                        class,
                        sequences,
                        fate,
                    });
                }
            }
        }
        self.has_actions = false;
        None
    }
}
