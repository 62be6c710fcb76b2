//! What happens on the way to the upstreams, counted and told.

mod delivery;
mod histogram;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tidegate_store::{GapReason, Sequence};

use super::status::UpstreamStatus;
use super::{Happening, Observe, SystemEvent};
use delivery::DeliveryFamily;
pub use delivery::DeliveryTimes;

/// An upstream that for so long says nothing but "not now" is failing.
const FAILING_AFTER: Duration = Duration::from_secs(5);

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
            retried: Family::default(),
            refused: Family::default(),
            in_flight: Family::default(),
            up: Family::default(),
            unknown: Family::default(),
            disconnects: Family::default(),
            latency: Family::new_with_constructor(latency_buckets as fn() -> Histogram),
            deliveries: DeliveryFamily::register(observe),
        };
        observe.register(|registry| {
            let f = &families;
            registry.register(
                "upstream_delivered",
                "Events the upstream acknowledged",
                f.delivered.clone(),
            );
            registry.register(
                "upstream_dead_lettered",
                "Events set aside",
                f.dead_lettered.clone(),
            );
            registry.register(
                "upstream_dead_letters_dropped",
                "Events that would have been one dead letter too many",
                f.letters_dropped.clone(),
            );
            registry.register(
                "upstream_retried",
                "Deliveries sent more than once",
                f.retried.clone(),
            );
            registry.register("upstream_refused", "Definite refusals", f.refused.clone());
            registry.register(
                "upstream_in_flight",
                "Deliveries not settled yet",
                f.in_flight.clone(),
            );
            registry.register(
                "upstream_up",
                "1 while it is connected and takes events",
                f.up.clone(),
            );
            registry.register(
                "upstream_unknown_answers",
                "Answers to nothing that was in flight",
                f.unknown.clone(),
            );
            registry.register(
                "upstream_disconnects",
                "Connections that broke or did not come about",
                f.disconnects.clone(),
            );
            registry.register(
                "upstream_confirm_seconds",
                "From the offer to the acknowledgement",
                f.latency.clone(),
            );
        });
        families
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
            retried: self.retried.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            up: self.up.get_or_create_owned(&label),
            unknown: self.unknown.get_or_create_owned(&label),
            disconnects: self.disconnects.get_or_create_owned(&label),
            latency: self.latency.get_or_create_owned(&label),
            deliveries: self.deliveries.of(upstream, now),
            waiting_at_start,
            routed: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            state: Mutex::new(ConnectionState {
                word: "connecting",
                since: now,
                last_error: None,
                busy_since: None,
            }),
            confirmed: AtomicBool::new(false),
        }
    }
}

/// Since when the upstream has been up or not, and the last thing that went wrong.
struct ConnectionState {
    word: &'static str,
    since: Instant,
    last_error: Option<String>,
    /// The first "not now" since something was acknowledged.
    busy_since: Option<Instant>,
}

/// How an upstream's answers changed what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthChange {
    /// It is connected, and takes nothing for this reason.
    Failing(String),
    /// It takes events again.
    Recovered,
}

/// Counts and state of one upstream's lane.
pub struct LaneMetrics {
    delivered: Counter,
    dead_lettered: Counter,
    letters_dropped: Counter,
    retried: Counter,
    refused: Counter,
    in_flight: Gauge<i64, AtomicI64>,
    up: Gauge<i64, AtomicI64>,
    unknown: Counter,
    disconnects: Counter,
    latency: Histogram,
    /// From acceptance to acknowledgement.
    pub deliveries: DeliveryTimes,
    waiting_at_start: u64,
    routed: AtomicU64,
    shed: AtomicU64,
    expired: AtomicU64,
    state: Mutex<ConnectionState>,
    /// Something was acknowledged since the last look.
    confirmed: AtomicBool,
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

    /// How long an acknowledgement took.
    pub fn observe_confirm(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
        self.confirmed.store(true, Ordering::Relaxed);
    }

    /// The upstream said "not now".
    pub fn busy(&self, why: String, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        state.last_error = Some(why);
        state.busy_since.get_or_insert(now);
    }

    /// Looks at what the answers since the last look say of the upstream.
    pub fn judge(&self, now: Instant) -> Option<HealthChange> {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let (word, change) = if self.confirmed.swap(false, Ordering::Relaxed) {
            state.busy_since = None;
            (state.word == "failing").then_some(("up", HealthChange::Recovered))?
        } else {
            let busy = now.saturating_duration_since(state.busy_since?);
            let failing = state.word == "up" && busy >= FAILING_AFTER;
            let why = state.last_error.clone().unwrap_or_default();
            failing.then_some(("failing", HealthChange::Failing(why)))?
        };
        self.up.set(i64::from(word == "up"));
        state.word = word;
        state.since = now;
        Some(change)
    }

    /// Remembers what went wrong last.
    pub fn failed(&self, why: String) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        state.last_error = Some(why);
    }

    /// Records that a commit routed here.
    pub fn routed(&self, records: u64) {
        self.routed.fetch_add(records, Ordering::Relaxed);
    }

    /// Deliveries under way now.
    pub fn in_flight(&self, deliveries: usize) {
        self.in_flight.set(deliveries as i64);
    }

    /// The connection is up.
    pub fn up(&self, now: Instant) {
        self.up.set(1);
        self.change("up", None, now);
    }

    /// The connection is gone or did not come; tells whether that is news.
    pub fn down(&self, why: &str, now: Instant) -> bool {
        self.up.set(0);
        self.disconnects.inc();
        self.change("down", Some(why), now)
    }

    fn change(&self, word: &'static str, why: Option<&str>, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let news = state.word != word || (why.is_some() && state.last_error.as_deref() != why);
        if state.word != word {
            state.word = word;
            state.since = now;
        }
        if why.is_some() {
            state.last_error = why.map(str::to_owned);
        }
        news
    }

    /// Everything but what the store knows, for `tidegate status`.
    pub fn status(&self, name: &str, kind: &str, now: Instant) -> UpstreamStatus {
        let state = self.state.lock().unwrap_or_else(|e| e.into_inner());
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
            expired: self.expired.load(Ordering::Relaxed),
            retried: self.retried.get(),
            last_error: state.last_error.clone(),
            delivery: self.deliveries.status(now),
            ..Default::default()
        }
    }
}

/// An upstream is connected.
pub struct UpstreamUp<'a> {
    /// Its name.
    pub upstream: &'a str,
}

impl Happening for UpstreamUp<'_> {
    fn log(&self) {
        tracing::info!(upstream = self.upstream, "upstream up");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.upstream.up",
            subject: self.upstream.into(),
            data: serde_json::json!({}),
        })
    }
}

/// An upstream is not connected; told once for each reason.
pub struct UpstreamDown<'a> {
    /// Its name.
    pub upstream: &'a str,
    /// What happened.
    pub why: &'a str,
}

impl Happening for UpstreamDown<'_> {
    fn log(&self) {
        tracing::warn!(upstream = self.upstream, "upstream down: {}", self.why);
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.upstream.down",
            subject: self.upstream.into(),
            data: serde_json::json!({ "why": self.why }),
        })
    }
}

/// An event became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettered {
    /// The upstream it was meant for.
    pub upstream: String,
    /// Its record.
    pub sequence: Sequence,
    /// Which output of the record.
    pub output: u16,
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
            attempts = self.attempts,
            "dead letter: {}",
            self.reason
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_takes_nothing_for_a_while_is_failing_until_it_takes_something() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let lane = LaneFamilies::register(&Observe::default()).of("cloud", 0, start);
        lane.up(start);
        lane.busy("503".into(), at(0));
        assert_eq!(lane.judge(at(0)), None, "one is no sign");
        lane.observe_confirm(Duration::ZERO);
        assert_eq!(lane.judge(at(4_000)), None);
        lane.busy("503".into(), at(4_500));
        assert_eq!(lane.judge(at(9_000)), None, "counted anew");
        lane.busy("401: log in".into(), at(9_500));
        let failing = HealthChange::Failing("401: log in".into());
        assert_eq!(lane.judge(at(9_500)), Some(failing));
        assert_eq!(lane.judge(at(9_600)), None, "told once");
        let status = lane.status("cloud", "http", at(10_000));
        assert_eq!((&*status.state, status.since_ms), ("failing", 500));
        assert_eq!(lane.up.get(), 0);
        lane.observe_confirm(Duration::ZERO);
        assert_eq!(lane.judge(at(11_000)), Some(HealthChange::Recovered));
        assert_eq!(lane.up.get(), 1);
        assert_eq!(lane.status("cloud", "http", at(11_000)).state, "up");
    }
}
