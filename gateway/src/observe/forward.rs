//! What happens on the way to the upstreams, counted and told.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tidegate_store::{GapReason, Sequence};

use super::status::UpstreamStatus;
use super::trouble::health::{Health, Kind};
use super::{Happening, Observe, SystemEvent};

/// An upstream that for so long says nothing but "not now" is failing.
const FAILING_AFTER: Duration = Duration::from_secs(5);
/// A connection that stood for so long with nothing to be acknowledged is a good one.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// Labels of an upstream's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpstreamLabel {
    upstream: String,
}

/// The metrics of all upstreams, registered once.
pub struct LaneFamilies {
    delivered: Family<UpstreamLabel, Counter>,
    dead_lettered: Family<UpstreamLabel, Counter>,
    retried: Family<UpstreamLabel, Counter>,
    refused: Family<UpstreamLabel, Counter>,
    in_flight: Family<UpstreamLabel, Gauge<i64, AtomicI64>>,
    up: Family<UpstreamLabel, Gauge<i64, AtomicI64>>,
    unknown: Family<UpstreamLabel, Counter>,
    disconnects: Family<UpstreamLabel, Counter>,
    latency: Family<UpstreamLabel, Histogram, fn() -> Histogram>,
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
            retried: Family::default(),
            refused: Family::default(),
            in_flight: Family::default(),
            up: Family::default(),
            unknown: Family::default(),
            disconnects: Family::default(),
            latency: Family::new_with_constructor(latency_buckets as fn() -> Histogram),
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
            retried: self.retried.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            unknown: self.unknown.get_or_create_owned(&label),
            disconnects: self.disconnects.get_or_create_owned(&label),
            latency: self.latency.get_or_create_owned(&label),
            waiting_at_start,
            routed: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            health: Health::new(
                Kind::Upstream,
                upstream,
                self.up.get_or_create_owned(&label),
                now,
            ),
            name: upstream.into(),
            proof: Mutex::default(),
            last_letter: Mutex::default(),
            confirmed: AtomicBool::new(false),
        }
    }
}

/// What the present connection has shown so far.
#[derive(Default)]
struct Proof {
    connected_since: Option<Instant>,
    /// Something was acknowledged on it, or nothing was to be for a while.
    is_good: bool,
    /// The one before broke without having shown that: this one must, before it counts as up.
    is_suspect: bool,
    /// The first "not now" since something was acknowledged, and the last one's words.
    busy: Option<(Instant, String)>,
}

/// Counts and state of one upstream's lane.
pub struct LaneMetrics {
    delivered: Counter,
    dead_lettered: Counter,
    retried: Counter,
    refused: Counter,
    in_flight: Gauge<i64, AtomicI64>,
    unknown: Counter,
    disconnects: Counter,
    latency: Histogram,
    waiting_at_start: u64,
    routed: AtomicU64,
    shed: AtomicU64,
    expired: AtomicU64,
    health: Health,
    name: String,
    proof: Mutex<Proof>,
    last_letter: Mutex<String>,
    /// Something was acknowledged since the last look.
    confirmed: AtomicBool,
}

impl LaneMetrics {
    /// Records are done: every output of them was acknowledged, or one is a dead letter.
    pub fn count_fates(&self, dead: bool, records: u64) {
        match dead {
            true => self.dead_lettered.inc_by(records),
            false => self.delivered.inc_by(records),
        };
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
        self.health.failed(why.clone());
        let mut proof = self.proof();
        let since = proof.busy.as_ref().map_or(now, |(since, _)| *since);
        proof.busy = Some((since, why));
    }

    fn proof(&self) -> MutexGuard<'_, Proof> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what the answers since the last look, and the time without any, say of the upstream.
    pub fn judge(&self, observe: Option<&Observe>, now: Instant) {
        let mut proof = self.proof();
        let Some(since) = proof.connected_since else {
            return;
        };
        let idle = proof.busy.is_none() && self.in_flight.get() == 0;
        let stood = now.saturating_duration_since(since) >= GOOD_AFTER;
        if self.confirmed.swap(false, Ordering::Relaxed) || (idle && stood) {
            (proof.is_good, proof.is_suspect, proof.busy) = (true, false, None);
            drop(proof);
            return self.is_up(observe, now);
        }
        let busy = proof
            .busy
            .take_if(|(since, _)| now.saturating_duration_since(*since) >= FAILING_AFTER);
        let Some((since, why)) = busy else { return };
        proof.busy = Some((since, why.clone()));
        drop(proof);
        let upstream = &self.name;
        let told = UpstreamDown {
            upstream,
            why: &why,
        };
        self.health.down(observe, "failing", &why, now, &told);
    }

    fn is_up(&self, observe: Option<&Observe>, now: Instant) {
        let upstream = &self.name;
        self.health.up(observe, "up", now, &UpstreamUp { upstream });
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

    /// There is a connection. After one that broke before it acknowledged anything it does not
    /// count as up until it does.
    pub fn connected(&self, observe: Option<&Observe>, now: Instant) {
        let is_suspect = {
            let mut proof = self.proof();
            proof.connected_since = Some(now);
            proof.is_good = false;
            proof.is_suspect
        };
        if !is_suspect {
            self.is_up(observe, now);
        }
    }

    /// The connection is gone or did not come.
    pub fn disconnected(&self, observe: Option<&Observe>, why: &str, now: Instant) {
        self.disconnects.inc();
        let mut proof = self.proof();
        if proof.connected_since.take().is_some() {
            proof.is_suspect = !proof.is_good && !self.confirmed.swap(false, Ordering::Relaxed);
        }
        proof.busy = None;
        drop(proof);
        let upstream = &self.name;
        let told = UpstreamDown { upstream, why };
        self.health.down(observe, "down", why, now, &told);
    }

    /// Looks at it once a second.
    pub fn look(&self, observe: &Observe, now: Instant) {
        self.judge(Some(observe), now);
        self.health.look(observe, now);
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
            shed: self.shed.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            retried: self.retried.get(),
            last_error: state.last_error,
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
    use crate::time::clock;

    /// A lane `cloud` that told of its changes.
    struct Told {
        observe: Observe,
        events: tokio::sync::mpsc::Receiver<SystemEvent>,
        lane: LaneMetrics,
    }

    impl Told {
        fn new(start: Instant) -> Told {
            let observe = Observe::default();
            let (sender, events) = tokio::sync::mpsc::channel(64);
            observe.route_system_events(sender);
            let lane = LaneFamilies::register(&observe).of("cloud", 0, start);
            Told {
                observe,
                events,
                lane,
            }
        }

        /// What is told once `happens` has, and once it was judged.
        fn after(
            &mut self,
            now: Instant,
            happens: impl FnOnce(&LaneMetrics, Option<&Observe>),
        ) -> Vec<String> {
            happens(&self.lane, Some(&self.observe));
            self.lane.look(&self.observe, now);
            let told = std::iter::from_fn(|| self.events.try_recv().ok());
            let told = told.map(|event| {
                let word = event.kind.rsplit('.').next().unwrap_or_default();
                let why = event.data["why"].as_str().unwrap_or_default();
                format!("{word} {why}").trim().to_owned()
            });
            told.collect()
        }

        fn up_metric(&self) -> bool {
            let text = self.observe.metrics_text();
            text.contains("tidegate_upstream_up{upstream=\"cloud\"} 1")
        }
    }

    const NOTHING: [String; 0] = [];

    #[test]
    fn an_upstream_that_takes_nothing_for_a_while_is_failing_until_it_takes_something() {
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut told = Told::new(start);
        let busy = |words: &'static str, ms| {
            move |lane: &LaneMetrics, _: Option<&Observe>| lane.busy(words.into(), at(ms))
        };
        let confirms = |lane: &LaneMetrics, _: Option<&Observe>| {
            lane.observe_confirm(Duration::ZERO);
        };
        let waits = |_: &LaneMetrics, _: Option<&Observe>| {};
        assert_eq!(told.lane.status("cloud", "http", start).state, "starting");
        assert_eq!(
            told.after(start, |lane, to| lane.connected(to, start)),
            ["up"]
        );
        assert_eq!(told.after(at(0), busy("503", 0)), NOTHING, "one is no sign");
        assert_eq!(told.after(at(4_000), confirms), NOTHING);
        let anew = told.after(at(9_000), busy("503", 4_500));
        assert_eq!(anew, NOTHING, "counted anew");
        // No further answer is needed: it may have asked for a pause.
        assert_eq!(told.after(at(9_500), waits), ["down 503"]);
        assert_eq!(told.after(at(9_600), waits), NOTHING, "told once");
        let status = told.lane.status("cloud", "http", at(10_000));
        assert_eq!((&*status.state, status.since_ms), ("failing", 500));
        assert!(!told.up_metric());
        let other = told.after(at(10_500), busy("401: log in", 10_500));
        assert_eq!(other, ["down 401: log in"], "another reason is told");
        assert_eq!(told.after(at(11_000), confirms), ["up"]);
        assert!(told.up_metric());
        assert_eq!(told.lane.status("cloud", "http", at(11_000)).state, "up");
    }

    #[test]
    fn a_connection_that_follows_one_that_never_worked_is_up_once_it_works() {
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut told = Told::new(start);
        let connects = |ms| {
            move |lane: &LaneMetrics, to: Option<&Observe>| {
                lane.connected(to, at(ms));
                lane.in_flight(1);
            }
        };
        let breaks = |ms| {
            move |lane: &LaneMetrics, to: Option<&Observe>| {
                lane.in_flight(0);
                lane.disconnected(to, "reset", at(ms));
            }
        };
        assert_eq!(told.after(at(0), connects(0)), ["up"]);
        assert_eq!(told.after(at(10), breaks(10)), ["down reset"]);
        for round in 1..10 {
            let ms = 100_000 * round;
            assert_eq!(told.after(at(ms), connects(ms)), NOTHING);
            assert_eq!(told.after(at(ms + 90_000), breaks(ms + 90_000)), NOTHING);
            assert!(!told.up_metric());
        }
        let ms = 1_000_000;
        assert_eq!(told.after(at(ms), connects(ms)), NOTHING);
        let confirms = |lane: &LaneMetrics, _: Option<&Observe>| {
            lane.observe_confirm(Duration::ZERO);
        };
        assert_eq!(told.after(at(ms + 10), confirms), ["up"]);
        let again = told.after(at(ms + 20), breaks(ms + 20));
        assert_eq!(again, ["down reset"]);
        let ms = ms + 100;
        assert_eq!(told.after(at(ms), connects(ms)), ["up"], "it worked before");
        assert_eq!(told.after(at(ms), breaks(ms)), ["down reset"]);
        let idles = |lane: &LaneMetrics, to: Option<&Observe>| lane.connected(to, at(ms));
        assert_eq!(told.after(at(ms + 4_900), idles), NOTHING);
        let stood = told.after(at(ms + 5_000), |_, _| {});
        assert_eq!(stood, ["up"], "nothing was to be acknowledged");
    }
}
