//! The lane of one upstream: what to send next, what is under way, what becomes of it.
//!
//! Higher classes are read first, so they overtake; within a class the order of the log is the
//! order of first delivery. A delivery leaves the lane confirmed, or as a durable dead letter.
//! No clock and no network: time comes in, deliveries go out.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tidegate_rules::decision::Priority;
use tidegate_store::{LaneId, ReadError, Sequence, Store};

use super::budget::Budget;
use super::reader::{Part, Reader};
use crate::backoff;
use crate::config::{self, Backfill};
use crate::dead_letter::DeadLetter;
use crate::upstream::{Delivery, Outcome, Token};

/// How often the connection must die over one event alone before the event is set aside.
const DEATHS_MAX: u32 = 5;
/// How often it may die with everything under way before events are sent one by one.
const DEATHS_TOGETHER_MAX: u32 = 2;

/// What settling led to, for counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Records done with every output confirmed.
    pub delivered: u64,
    /// Records done with an output set aside.
    pub dead_lettered: u64,
    /// Deliveries to be sent again.
    pub retried: u64,
    /// Definite refusals.
    pub refused: u64,
}

/// Most urgent first, then the order of the log.
type Place = (std::cmp::Reverse<Priority>, Token);

struct Record {
    outputs_left: usize,
    dead: bool,
}

/// One upstream's lane.
pub struct Lane {
    name: String,
    id: LaneId,
    config: config::Lane,
    store: Store,
    readers: Vec<Reader>,
    under_way: HashMap<Token, (Delivery, Instant)>,
    under_way_bytes: usize,
    again: BTreeMap<Place, (Delivery, Instant)>,
    records: HashMap<(Sequence, Priority), Record>,
    rate: Option<Budget>,
    bandwidth: Option<Budget>,
    deaths: u32,
    alone: Option<(Token, u32)>,
    confirmed_since_up: bool,
}

impl Lane {
    /// A lane that goes on where its cursors stand.
    pub fn new(name: &str, id: LaneId, config: config::Lane, store: Store, now: Instant) -> Lane {
        let reader = |class: Priority| Reader::new(id, class, store.cursor(id, class as u8));
        Lane {
            name: name.into(),
            id,
            readers: Priority::DESCENDING.into_iter().map(reader).collect(),
            rate: config.rate_max.map(|rate| Budget::new(rate, now)),
            bandwidth: config
                .bandwidth_bytes_max
                .map(|rate| Budget::new(rate, now)),
            config,
            store,
            under_way: HashMap::new(),
            under_way_bytes: 0,
            again: BTreeMap::new(),
            records: HashMap::new(),
            deaths: 0,
            alone: None,
            confirmed_since_up: false,
        }
    }

    /// The connection is up: under `live_first`, what is in the log now is backlog.
    pub fn up(&mut self) {
        self.confirmed_since_up = false;
        if self.config.backfill == Backfill::LiveFirst {
            let end = self.store.end();
            for reader in &mut self.readers {
                reader.split(end);
            }
        }
    }

    /// How many deliveries are under way.
    pub fn in_flight(&self) -> usize {
        self.under_way.len()
    }

    /// The next deliveries, at most `room`. Empty when there is nothing to send now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next(&mut self, room: usize, now: Instant) -> Result<Vec<Delivery>, ReadError> {
        let full = self.under_way_bytes >= self.config.inflight_bytes_max;
        if full || !self.pause(now).is_zero() {
            return Ok(Vec::new());
        }
        let window = self.window();
        let slots = room.min(window.saturating_sub(self.under_way.len()));
        let mut batch = self.due(slots, now);
        // What waits for its next attempt counts too: the lane never holds more than its window.
        let held = self.under_way.len() + batch.len() + self.again.len();
        let fresh = (slots - batch.len()).min(window.saturating_sub(held));
        self.fresh(fresh, &mut batch)?;
        for delivery in &batch {
            self.sent(delivery, now);
        }
        Ok(batch)
    }

    /// Reads up to `count` new records, the most urgent class first.
    fn fresh(&mut self, count: usize, batch: &mut Vec<Delivery>) -> Result<(), ReadError> {
        let end = self.store.end();
        let mut left = count;
        for class in 0..self.readers.len() {
            while left > 0 && self.has(class, end) {
                let found = self.read(class, left, end)?;
                left = left.saturating_sub(found.len());
                batch.extend(found);
            }
        }
        Ok(())
    }

    /// Deliveries that may be under way at once.
    fn window(&self) -> usize {
        match self.deaths >= DEATHS_TOGETHER_MAX {
            true => 1,
            false => self.config.inflight_max,
        }
    }

    fn has(&self, class: usize, end: Sequence) -> bool {
        self.readers[class].has(Part::Live, end) || self.readers[class].has(Part::Backlog, end)
    }

    /// Deliveries whose next attempt is due.
    fn due(&mut self, room: usize, now: Instant) -> Vec<Delivery> {
        let places: Vec<Place> = self
            .again
            .iter()
            .filter(|(_, (_, due))| *due <= now)
            .map(|(place, _)| *place)
            .take(room)
            .collect();
        let taken = places.iter().filter_map(|place| self.again.remove(place));
        taken.map(|(delivery, _)| delivery).collect()
    }

    /// Reads one class: the backlog and live events by weight, or whichever there is.
    fn read(
        &mut self,
        class: usize,
        room: usize,
        end: Sequence,
    ) -> Result<Vec<Delivery>, ReadError> {
        let reader = &mut self.readers[class];
        let (live, backlog) = (reader.has(Part::Live, end), reader.has(Part::Backlog, end));
        let weight = self.config.live_weight.max(1) as usize;
        let for_backlog = match (live, backlog) {
            (_, false) => 0,
            (false, true) => room,
            (true, true) => (room / (weight + 1)).max(1),
        };
        let mut found = Vec::new();
        if for_backlog > 0 {
            found.extend(reader.read(&self.store, Part::Backlog, for_backlog)?);
        }
        if live && room > for_backlog {
            found.extend(reader.read(&self.store, Part::Live, room - for_backlog)?);
        }
        let mut deliveries = Vec::new();
        for record in found {
            self.begin(
                record.sequence,
                Priority::DESCENDING[class],
                record.deliveries,
                &mut deliveries,
            );
        }
        Ok(deliveries)
    }

    fn begin(
        &mut self,
        sequence: Sequence,
        class: Priority,
        outputs: Vec<Delivery>,
        into: &mut Vec<Delivery>,
    ) {
        if outputs.is_empty() {
            // Routed here and yet nothing to send: a record that cannot be decoded.
            self.store.confirm(self.id, class as u8, &[sequence]);
            return;
        }
        let record = Record {
            outputs_left: outputs.len(),
            dead: false,
        };
        self.records.insert((sequence, class), record);
        into.extend(outputs);
    }

    fn sent(&mut self, delivery: &Delivery, now: Instant) {
        let bytes = delivery.size_bytes();
        self.under_way_bytes += bytes;
        if let Some(rate) = &mut self.rate {
            rate.spend(1);
        }
        if let Some(bandwidth) = &mut self.bandwidth {
            bandwidth.spend(bytes);
        }
        self.under_way
            .insert(delivery.token, (delivery.clone(), now));
    }

    /// How long the budgets of rate and bandwidth make the lane wait.
    fn pause(&mut self, now: Instant) -> Duration {
        let rate = self
            .rate
            .as_mut()
            .map_or(Duration::ZERO, |budget| budget.wait(now));
        let bandwidth = self
            .bandwidth
            .as_mut()
            .map_or(Duration::ZERO, |budget| budget.wait(now));
        rate.max(bandwidth)
    }

    /// When the lane should be asked again although nothing happened.
    pub fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let pause = self.pause(now);
        let again = self.again.values().map(|(_, due)| *due).min();
        match (pause.is_zero(), again) {
            (false, _) => Some(now + pause),
            (true, due) => due,
        }
    }

    /// When the oldest delivery under way was sent.
    pub fn oldest_sent(&self) -> Option<Instant> {
        self.under_way.values().map(|(_, sent)| *sent).min()
    }

    /// What the upstream said of deliveries.
    pub fn settle(
        &mut self,
        outcomes: Vec<(Token, Outcome)>,
        now: Instant,
        random: &mut dyn FnMut() -> f64,
    ) -> Settled {
        let mut settled = Settled::default();
        let mut done: BTreeMap<Priority, Vec<Sequence>> = BTreeMap::new();
        for (token, outcome) in outcomes {
            let Some((delivery, _)) = self.under_way.remove(&token) else {
                continue;
            };
            self.under_way_bytes -= delivery.size_bytes();
            let class = delivery.priority;
            if self.settle_one(delivery, outcome, now, random, &mut settled)
                && let Some(sequence) = self.finish(token.sequence, class, &mut settled)
            {
                done.entry(class).or_default().push(sequence);
            }
        }
        for (class, sequences) in done {
            self.store.confirm(self.id, class as u8, &sequences);
        }
        settled
    }

    /// Whether the delivery is done with.
    fn settle_one(
        &mut self,
        delivery: Delivery,
        outcome: Outcome,
        now: Instant,
        random: &mut dyn FnMut() -> f64,
        settled: &mut Settled,
    ) -> bool {
        match outcome {
            Outcome::Confirmed => {
                self.confirmed_since_up = true;
                self.deaths = 0;
                self.alone = None;
                true
            }
            Outcome::Busy(_) => {
                settled.retried += 1;
                self.send_again(delivery, now, random());
                false
            }
            Outcome::Refused(reason) => {
                settled.refused += 1;
                if delivery.attempts + 1 >= self.config.refusals_max {
                    return self.set_aside(&delivery, &reason, now);
                }
                settled.retried += 1;
                let mut delivery = delivery;
                delivery.attempts += 1;
                self.send_again(delivery, now, random());
                false
            }
        }
    }

    fn send_again(&mut self, delivery: Delivery, now: Instant, random: f64) {
        let ceiling = backoff::ceiling(
            self.config.retry_min,
            self.config.retry_max,
            delivery.attempts,
        );
        let place = (std::cmp::Reverse(delivery.priority), delivery.token);
        self.again
            .insert(place, (delivery, now + ceiling.mul_f64(random)));
    }

    /// Makes a durable dead letter; only then the delivery counts as done.
    fn set_aside(&mut self, delivery: &Delivery, reason: &str, now: Instant) -> bool {
        let letter = DeadLetter::of(delivery, &self.name, reason);
        let id = (delivery.token.sequence, delivery.token.output);
        match self.store.put_dead_letter(id, &letter.encode()) {
            Ok(()) => {
                tracing::warn!(upstream = self.name, sequence = id.0, reason, "dead letter");
                if let Some(record) = self.records.get_mut(&(id.0, delivery.priority)) {
                    record.dead = true;
                }
                true
            }
            Err(error) => {
                tracing::error!(upstream = self.name, %error, "a dead letter could not be stored; the event stays in the lane");
                self.send_again(delivery.clone(), now, 1.0);
                false
            }
        }
    }

    /// One output of a record is done; tells whether the record is.
    fn finish(
        &mut self,
        sequence: Sequence,
        class: Priority,
        settled: &mut Settled,
    ) -> Option<Sequence> {
        let record = self.records.get_mut(&(sequence, class))?;
        record.outputs_left -= 1;
        if record.outputs_left > 0 {
            return None;
        }
        if record.dead {
            settled.dead_lettered += 1;
        } else {
            settled.delivered += 1;
        }
        self.records.remove(&(sequence, class));
        Some(sequence)
    }

    /// The connection is gone: everything under way is sent again, in order.
    ///
    /// A broken connection is no refusal. But one that dies over and over with nothing
    /// confirmed is tried with one event at a time, and an event that kills it five times alone
    /// is set aside.
    pub fn down(&mut self, was_up: bool, now: Instant) -> Settled {
        let mut settled = Settled::default();
        let poison = if was_up { self.suspect() } else { None };
        let under_way = std::mem::take(&mut self.under_way);
        self.under_way_bytes = 0;
        settled.retried = under_way.len() as u64;
        for (token, (delivery, _)) in under_way {
            if poison == Some(token) {
                let class = delivery.priority;
                let reason = format!(
                    "the connection closed {DEATHS_MAX} times with this event alone under way"
                );
                if self.set_aside(&delivery, &reason, now)
                    && let Some(sequence) = self.finish(token.sequence, class, &mut settled)
                {
                    self.store.confirm(self.id, class as u8, &[sequence]);
                }
                continue;
            }
            let place = (std::cmp::Reverse(delivery.priority), token);
            self.again.insert(place, (delivery, now));
        }
        settled
    }

    fn suspect(&mut self) -> Option<Token> {
        if self.confirmed_since_up || self.under_way.is_empty() {
            return None;
        }
        self.deaths += 1;
        let only = (self.under_way.len() == 1).then(|| self.under_way.keys().next().copied());
        let only = only.flatten()?;
        let deaths = match self.alone {
            Some((token, deaths)) if token == only => deaths + 1,
            _ => 1,
        };
        self.alone = Some((only, deaths));
        if deaths < DEATHS_MAX {
            return None;
        }
        self.alone = None;
        self.deaths = 0;
        Some(only)
    }
}
