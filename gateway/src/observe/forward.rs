//! What happens on the way to the upstreams, counted and told.

mod delivery;
pub mod health;
mod histogram;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tidegate_store::{GapReason, Sequence};

use super::status::UpstreamStatus;
use super::{Happening, Observe};
use delivery::DeliveryFamily;
pub use delivery::DeliveryTimes;
use health::UpstreamHealth;

/// Labels of an upstream's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpstreamLabel {
    upstream: String,
}

/// The metrics of all upstreams, registered once.
pub struct LaneFamilies {
    delivered: Family<UpstreamLabel, Counter>,
    dead_lettered: Family<UpstreamLabel, Counter>,
    letters_dropped: Family<UpstreamLabel, Counter>,
    messages_expired: Family<UpstreamLabel, Counter>,
    retried: Family<UpstreamLabel, Counter>,
    refused: Family<UpstreamLabel, Counter>,
    in_flight: Family<UpstreamLabel, Gauge<i64, AtomicI64>>,
    up: Family<UpstreamLabel, Gauge<i64, AtomicI64>>,
    unknown: Family<UpstreamLabel, Counter>,
    disconnects: Family<UpstreamLabel, Counter>,
    latency: Family<UpstreamLabel, Histogram, fn() -> Histogram>,
    deliveries: DeliveryFamily,
}

/// Upper bounds in seconds: from a broker beside us to one behind a tired link.
fn latency_buckets() -> Histogram {
    Histogram::new([
        0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
    ])
}

impl LaneFamilies {
    /// Makes and registers them.
    pub fn register(observe: &Observe) -> LaneFamilies {
        let families = LaneFamilies {
            delivered: Family::default(),
            dead_lettered: Family::default(),
            letters_dropped: Family::default(),
            messages_expired: Family::default(),
            retried: Family::default(),
            refused: Family::default(),
            in_flight: Family::default(),
            up: Family::default(),
            unknown: Family::default(),
            disconnects: Family::default(),
            latency: Family::new_with_constructor(latency_buckets as fn() -> Histogram),
            deliveries: DeliveryFamily::register(observe),
        };
        families.register_all(observe);
        families
    }

    fn register_all(&self, observe: &Observe) {
        observe.register(|registry| {
            for (name, help, counter) in self.counters() {
                registry.register(name, help, counter.clone());
            }
            registry.register(
                "upstream_in_flight",
                "Deliveries not settled yet",
                self.in_flight.clone(),
            );
            registry.register(
                "upstream_up",
                "1 while it is connected and takes events",
                self.up.clone(),
            );
            registry.register(
                "upstream_confirm_seconds",
                "From the offer to the acknowledgement",
                self.latency.clone(),
            );
        });
    }

    /// The counters by their names, with what they count.
    fn counters(&self) -> [(&'static str, &'static str, &Family<UpstreamLabel, Counter>); 8] {
        [
            (
                "upstream_delivered",
                "Events the upstream acknowledged",
                &self.delivered,
            ),
            (
                "upstream_dead_lettered",
                "Events set aside",
                &self.dead_lettered,
            ),
            (
                "upstream_dead_letters_dropped",
                "Events that would have been one dead letter too many",
                &self.letters_dropped,
            ),
            (
                "upstream_messages_expired",
                "Events that were not sent: their message expiry interval was over",
                &self.messages_expired,
            ),
            (
                "upstream_retried",
                "Deliveries sent more than once",
                &self.retried,
            ),
            ("upstream_refused", "Definite refusals", &self.refused),
            (
                "upstream_unknown_answers",
                "Answers to nothing that was in flight",
                &self.unknown,
            ),
            (
                "upstream_disconnects",
                "Connections that broke or did not come about",
                &self.disconnects,
            ),
        ]
    }

    /// An upstream is gone for good, and with it its series.
    pub fn remove(&self, upstream: &str) {
        let label = UpstreamLabel {
            upstream: upstream.into(),
        };
        for (_, _, family) in self.counters() {
            family.remove(&label);
        }
        self.in_flight.remove(&label);
        self.up.remove(&label);
        self.latency.remove(&label);
        self.deliveries.remove(upstream);
    }

    /// The metrics of one upstream.
    pub fn of(&self, upstream: &str, waiting_at_start: u64, now: Instant) -> LaneMetrics {
        let label = UpstreamLabel {
            upstream: upstream.into(),
        };
        LaneMetrics {
            delivered: self.delivered.get_or_create_owned(&label),
            dead_lettered: self.dead_lettered.get_or_create_owned(&label),
            letters_dropped: self.letters_dropped.get_or_create_owned(&label),
            messages_expired: self.messages_expired.get_or_create_owned(&label),
            retried: self.retried.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            unknown: self.unknown.get_or_create_owned(&label),
            disconnects: self.disconnects.get_or_create_owned(&label),
            latency: self.latency.get_or_create_owned(&label),
            deliveries: self.deliveries.of(upstream, now),
            waiting_at_start,
            routed: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            health: UpstreamHealth::new(
                upstream,
                self.up.get_or_create_owned(&label),
                self.in_flight.get_or_create_owned(&label),
                now,
            ),
            last_letter: Mutex::default(),
        }
    }
}

/// Counts and state of one upstream's lane.
pub struct LaneMetrics {
    delivered: Counter,
    dead_lettered: Counter,
    letters_dropped: Counter,
    messages_expired: Counter,
    retried: Counter,
    refused: Counter,
    in_flight: Gauge<i64, AtomicI64>,
    unknown: Counter,
    disconnects: Counter,
    latency: Histogram,
    /// From acceptance to acknowledgement.
    pub deliveries: DeliveryTimes,
    waiting_at_start: u64,
    routed: AtomicU64,
    shed: AtomicU64,
    expired: AtomicU64,
    /// How the upstream is.
    pub health: UpstreamHealth,
    last_letter: Mutex<String>,
}

impl LaneMetrics {
    /// Records are done: every output of them was acknowledged.
    pub fn count_delivered(&self, records: u64) {
        self.delivered.inc_by(records);
    }

    /// Records are done: an output of them is a dead letter.
    pub fn count_dead_letters(&self, records: u64) {
        self.dead_lettered.inc_by(records);
    }

    /// Records are done: an output of them would have been one dead letter too many.
    pub fn count_dropped(&self, records: u64) {
        self.letters_dropped.inc_by(records);
    }

    /// Records are done: an output of them was not worth sending any more, as their senders said.
    pub fn count_expired(&self, records: u64) {
        self.messages_expired.inc_by(records);
    }

    /// Records were given up undelivered.
    pub fn gave_up(&self, reason: GapReason, records: u64) {
        let count = match reason {
            GapReason::Shed => &self.shed,
            GapReason::Expired => &self.expired,
        };
        count.fetch_add(records, Ordering::Relaxed);
    }

    /// A delivery is offered once more.
    pub fn count_retry(&self) {
        self.retried.inc();
    }

    /// A definite refusal.
    pub fn count_refusal(&self) {
        self.refused.inc();
    }

    /// An answer to nothing that was in flight.
    pub fn count_unknown(&self) {
        self.unknown.inc();
    }

    /// A connection broke or did not come about.
    pub fn count_disconnect(&self) {
        self.disconnects.inc();
    }

    /// How long an acknowledgement took.
    pub fn observe_confirm(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
        self.health.acknowledged();
    }

    /// The upstream said "not now".
    pub fn busy(&self, why: String, now: Instant) {
        self.health.busy(why, now);
    }

    /// Remembers what went wrong last.
    pub fn failed(&self, why: String) {
        self.health.failed(why);
    }

    /// Records that a commit routed here.
    pub fn routed(&self, records: u64) {
        self.routed.fetch_add(records, Ordering::Relaxed);
    }

    /// Deliveries under way now.
    pub fn in_flight(&self, deliveries: usize) {
        self.in_flight.set(deliveries as i64);
    }

    /// Deliveries that became dead letters; where the lane leads to these (`is_aside`), all of them.
    pub fn dead_letters(&self, is_aside: bool) -> u64 {
        let dead = self.dead_lettered.get();
        if is_aside {
            dead + self.delivered.get()
        } else {
            dead
        }
    }

    /// Why the last of them became one.
    pub fn last_letter(&self) -> String {
        let last = self.last_letter.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One more became a dead letter.
    pub fn dead_lettered(&self, letter: &DeadLettered) {
        let last = self.last_letter.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        last.clone_from(&letter.reason);
    }

    /// Everything but what the store knows, for `tidegate status`.
    pub fn status(&self, name: &str, kind: &str, now: Instant) -> UpstreamStatus {
        let state = self.health.state();
        UpstreamStatus {
            name: name.into(),
            kind: kind.into(),
            state: state.word.into(),
            since_ms: now.saturating_duration_since(state.since).as_millis() as u64,
            in_flight: self.in_flight.get().max(0) as u64,
            waiting_at_start: self.waiting_at_start,
            routed: self.routed.load(Ordering::Relaxed),
            delivered: self.delivered.get(),
            dead_lettered: self.dead_lettered.get(),
            letters_dropped: self.letters_dropped.get(),
            shed: self.shed.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed) + self.messages_expired.get(),
            retried: self.retried.get(),
            last_error: state.last_error,
            delivery: self.deliveries.status(now),
            ..Default::default()
        }
    }
}

/// Events were not sent, because their time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagesExpired<'a> {
    /// The upstream they were meant for.
    pub upstream: &'a str,
    /// How many.
    pub events: u64,
}

impl Happening for MessagesExpired<'_> {
    fn log(&self) {
        tracing::warn!(
            upstream = self.upstream,
            events = self.events,
            "events are not sent: the message expiry interval that their senders gave them was over before they could be"
        );
    }
}

/// An event became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettered {
    /// The upstream it was meant for.
    pub upstream: String,
    /// Its record.
    pub sequence: Sequence,
    /// Which output of the record, the first of them.
    pub output: u16,
    /// How many outputs: those of several rules are one letter.
    pub outputs: usize,
    /// The event's id; empty when the record cannot be read.
    pub event_id: String,
    /// Why.
    pub reason: String,
    /// Times it was offered.
    pub attempts: u32,
}

impl Happening for DeadLettered {
    fn log(&self) {
        tracing::warn!(
            upstream = self.upstream,
            letter = format!("{}.{}", self.sequence, self.output),
            event_id = self.event_id,
            outputs = self.outputs,
            attempts = self.attempts,
            "dead letter: {}",
            self.reason
        );
    }
}
