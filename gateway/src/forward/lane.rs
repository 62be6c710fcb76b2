//! The core of forwarding, pure: what to offer next, and what each answer means.
//!
//! The log is the only queue. A lane holds a small read-ahead, the tokens in flight and the
//! tokens that wait to be offered again; when the connection breaks it forgets what was in
//! flight and reads on from its cursors. Promised is the order of *first* offers: within a
//! class, records are offered as they lie in the log, and higher classes overtake lower ones.
//! A refused delivery waits for its next try without holding up the others.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_store::{LaneId, ReadError, Sequence};

use super::budget::Budget;
use super::log::Log;
use super::poison::Poison;
use super::reader::{CLASSES, Done, Readers};
use super::waiting::{Wait, Waiting};
use super::window::{InFlight, Window};
use crate::config::{self, Backfill};
use crate::event::dead_letter::Cause;
use crate::observe::forward::{DeadLettered, LaneMetrics};
use crate::time::backoff::Backoff;
use crate::upstream::{Delivery, Outcome, Token, Trouble};

/// Tokens remembered from broken connections, so that repeats are counted as such.
const SEEN_MAX: usize = 8192;

/// The pause after the log could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix_ms: i64,
}

/// A record with several outputs to this lane in one class: done when all of them are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    left: u16,
    dead: bool,
}

/// The lane is no longer in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// What became of one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Dead,
}

/// Records to confirm, by class.
#[derive(Default)]
pub(super) struct Finished {
    delivered: [Vec<Sequence>; CLASSES],
    dead: [Vec<Sequence>; CLASSES],
}

/// One lane between the log and an upstream.
pub(super) struct Lane<L> {
    pub(super) log: L,
    pub(super) id: LaneId,
    pub(super) settings: config::Lane,
    pub(super) name: String,
    pub(super) metrics: Arc<LaneMetrics>,
    pub(super) waiting: Waiting,
    pub(super) open: BTreeMap<(u8, Sequence), Open>,
    pub(super) ready: VecDeque<(InFlight, Delivery)>,
    pub(super) seen: HashMap<Token, u32>,
    pub(super) happened: Vec<DeadLettered>,
    window: Window,
    readers: Readers,
    poison: Poison,
    events: Budget,
    bytes: Budget,
    busy: Backoff,
    paused_until: Option<Instant>,
    read_again: Option<Instant>,
    hungry: bool,
    random: fastrand::Rng,
}

impl<L: Log> Lane<L> {
    pub(super) fn new(
        log: L,
        (name, id): (&str, LaneId),
        settings: config::Lane,
        metrics: Arc<LaneMetrics>,
        now: Instant,
        seed: u64,
    ) -> Lane<L> {
        Lane {
            log,
            id,
            name: name.to_owned(),
            metrics,
            waiting: Waiting::default(),
            open: BTreeMap::new(),
            ready: VecDeque::new(),
            seen: HashMap::new(),
            happened: Vec::new(),
            window: Window::new(settings.inflight_max, settings.inflight_bytes_max),
            readers: Readers::default(),
            poison: Poison::default(),
            events: Budget::new(settings.rate_max, now),
            bytes: Budget::new(settings.bandwidth_bytes_max, now),
            busy: Backoff::new(settings.retry_min, settings.retry_max),
            paused_until: None,
            read_again: None,
            hungry: false,
            random: fastrand::Rng::with_seed(seed),
            settings,
        }
    }

    /// A connection stands: everything not confirmed is read again from the cursors.
    pub(super) fn connected(&mut self) {
        let (log, waiting) = (&self.log, &self.waiting);
        let done = |class| -> Done {
            let mut done = log.cursor(class).above;
            done.extend(waiting.sequences(class).map(|sequence| sequence..=sequence));
            done.sort_by_key(|range| *range.start());
            done
        };
        self.readers = match self.settings.backfill {
            Backfill::InOrder => Readers::in_order(log, done),
            Backfill::LiveFirst => Readers::live_first(log, self.settings.live_weight, done),
        };
    }

    /// The deliveries to offer now, at most `room`.
    pub(super) fn take(&mut self, now: Now, room: usize) -> Result<Vec<Delivery>, Gone> {
        let mut batch = Vec::new();
        self.hungry = false;
        while batch.len() < room && self.blocked_until(now.instant).is_none() {
            match self.next(now) {
                Ok(Some((entry, delivery))) if !self.window.fits(entry.size_bytes) => {
                    self.ready.push_front((entry, delivery));
                    break;
                }
                Ok(Some((entry, delivery))) => {
                    self.offer(entry, now);
                    batch.push(delivery);
                }
                Ok(None) => {
                    self.hungry = true;
                    break;
                }
                Err(ReadError::UnknownLane) => return Err(Gone),
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

    /// Why nothing may be offered now: `Some(None)` until something is settled,
    /// `Some(Some(time))` until then.
    fn blocked_until(&mut self, now: Instant) -> Option<Option<Instant>> {
        let alone = self.poison.is_suspecting() && !self.window.is_empty();
        if self.window.is_full() || alone {
            return Some(None);
        }
        let pauses = [self.paused_until, self.read_again];
        let pause = pauses.into_iter().flatten().filter(|until| *until > now);
        let budgets = [self.events.ready_at(now), self.bytes.ready_at(now)];
        pause.chain(budgets.into_iter().flatten()).max().map(Some)
    }

    fn next(&mut self, now: Now) -> Result<Option<(InFlight, Delivery)>, ReadError> {
        if let Some(ready) = self.ready.pop_front() {
            return Ok(Some(ready));
        }
        for class in (0..CLASSES as u8).rev() {
            while let Some((token, wait)) = self.waiting.take_due(class, now.instant) {
                if let Some(again) = self.again(class, token, wait, now)? {
                    return Ok(Some(again));
                }
            }
            if self.waiting.len() >= self.settings.inflight_max {
                continue;
            }
            while let Some(found) = self.readers.pop(&self.log, class)? {
                self.unpack(class, &found, now);
                if let Some(ready) = self.ready.pop_front() {
                    return Ok(Some(ready));
                }
            }
        }
        Ok(None)
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
            None => self.waiting.next_due(),
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
        let mut finished = Finished::default();
        for (token, outcome) in answers {
            let Some(entry) = self.window.take(token, now.instant) else {
                self.metrics.count_unknown();
                continue;
            };
            self.poison.settled(token);
            match outcome {
                Outcome::Confirmed => {
                    self.busy.reset();
                    self.metrics
                        .observe_confirm(now.instant.saturating_duration_since(entry.offered));
                    self.finish(&mut finished, entry.class, token, Fate::Delivered);
                }
                Outcome::Refused(reason) => self.refused(&mut finished, &entry, reason, now),
                Outcome::Busy { reason, retry_ms } => self.busy(&entry, reason, retry_ms, now),
            }
        }
        self.confirm(&finished);
        self.metrics.in_flight(self.window.len());
    }

    fn refused(&mut self, finished: &mut Finished, entry: &InFlight, reason: String, now: Now) {
        self.metrics.count_refusal();
        let refusals = entry.refusals + 1;
        if refusals >= self.settings.refusals_max
            && self.bury(entry, Cause::Refused, reason.clone(), now)
        {
            return self.finish(finished, entry.class, entry.token, Fate::Dead);
        }
        self.metrics.failed(reason);
        let mut pause = Backoff::new(self.settings.retry_min, self.settings.retry_max);
        pause.skip(entry.refusals);
        let due = now.instant + pause.next(self.random.u64(..));
        self.wait(entry, entry.attempts + 1, due, refusals);
    }

    /// The whole lane pauses: the answer was about the upstream, not about this event.
    fn busy(&mut self, entry: &InFlight, reason: String, retry_ms: Option<u64>, now: Now) {
        self.metrics.failed(reason);
        let paused = self.paused_until.filter(|until| *until > now.instant);
        let asked = retry_ms.map(|ms| now.instant + Duration::from_millis(ms));
        let until = match paused {
            Some(until) => asked.map_or(until, |asked| asked.max(until)),
            None => {
                let pause = now.instant + self.busy.next(self.random.u64(..));
                asked.map_or(pause, |asked| asked.max(pause))
            }
        };
        self.paused_until = Some(until);
        self.wait(entry, entry.attempts + 1, until, entry.refusals);
    }

    fn wait(&mut self, entry: &InFlight, attempts: u32, due: Instant, refusals: u32) {
        let wait = Wait {
            due,
            refusals,
            attempts,
            historical: entry.historical,
        };
        self.waiting.insert(entry.class, entry.token, wait);
    }

    /// The connection is gone: what was in flight is forgotten and read again, but for what
    /// carries a count of refusals or is one of several outputs of a record.
    pub(super) fn broken(&mut self, now: Now, trouble: &Trouble) {
        let poison = self.poison.broken(self.window.oldest(), now.instant);
        let mut finished = Finished::default();
        for entry in self.window.drain() {
            let reason = || {
                format!(
                    "the connection broke each time this event was offered: {}",
                    trouble.message
                )
            };
            if poison == Some(entry.token) && self.bury(&entry, Cause::Poison, reason(), now) {
                self.poison.settled(entry.token);
                self.finish(&mut finished, entry.class, entry.token, Fate::Dead);
            } else if entry.refusals > 0 || self.is_open(&entry) {
                self.wait(&entry, entry.attempts + 1, now.instant, entry.refusals);
            } else if self.seen.len() < SEEN_MAX {
                self.seen.insert(entry.token, entry.attempts + 1);
            }
        }
        while let Some((entry, _)) = self.ready.pop_front() {
            if entry.refusals > 0 || self.is_open(&entry) {
                self.wait(&entry, entry.attempts, now.instant, entry.refusals);
            }
        }
        self.confirm(&finished);
        self.readers = Readers::default();
        self.paused_until = None;
        self.metrics.in_flight(0);
    }

    fn is_open(&self, entry: &InFlight) -> bool {
        self.open.contains_key(&(entry.class, entry.token.sequence))
    }

    pub(super) fn finish(&mut self, finished: &mut Finished, class: u8, token: Token, fate: Fate) {
        self.seen.remove(&token);
        let place = (class, token.sequence);
        let mut dead = fate == Fate::Dead;
        if let Some(open) = self.open.get_mut(&place) {
            open.left = open.left.saturating_sub(1);
            open.dead |= dead;
            dead = open.dead;
            if open.left > 0 {
                return;
            }
            self.open.remove(&place);
        }
        let of_fate = match dead {
            true => &mut finished.dead,
            false => &mut finished.delivered,
        };
        if let Some(finished) = of_fate.get_mut(usize::from(class)) {
            finished.push(token.sequence);
        }
    }

    pub(super) fn confirm(&self, finished: &Finished) {
        for (dead, of_fate) in [(false, &finished.delivered), (true, &finished.dead)] {
            for (class, sequences) in (0..).zip(of_fate) {
                if !sequences.is_empty() {
                    let counted = self.log.confirm(class, sequences);
                    self.metrics.count_fates(dead, counted);
                }
            }
        }
    }
}

impl Open {
    pub(super) fn of(outputs: usize) -> Open {
        Open {
            left: u16::try_from(outputs).unwrap_or(u16::MAX),
            dead: false,
        }
    }
}
