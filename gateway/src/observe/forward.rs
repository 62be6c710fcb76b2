//! What happens on the way to the upstreams.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Happening, Observe, SystemEvent};
use crate::clock;
use crate::forward::lane::Settled;

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
            registry.register("upstream_up", "1 while connected", f.up.clone());
        });
        families
    }

    /// The metrics of one upstream.
    pub fn of(&self, upstream: &str, waiting_at_start: u64) -> LaneMetrics {
        let label = UpstreamLabel {
            upstream: upstream.into(),
        };
        LaneMetrics {
            delivered: self.delivered.get_or_create_owned(&label),
            dead_lettered: self.dead_lettered.get_or_create_owned(&label),
            retried: self.retried.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            up: self.up.get_or_create_owned(&label),
            waiting_at_start,
            routed: AtomicU64::new(0),
            state: Mutex::new(State {
                word: "connecting",
                since: clock::monotonic(),
                last_error: None,
            }),
        }
    }
}

struct State {
    word: &'static str,
    since: Instant,
    last_error: Option<String>,
}

/// Counts and state of one upstream's lane.
pub struct LaneMetrics {
    delivered: Counter,
    dead_lettered: Counter,
    retried: Counter,
    refused: Counter,
    in_flight: Gauge<i64, AtomicI64>,
    up: Gauge<i64, AtomicI64>,
    waiting_at_start: u64,
    routed: AtomicU64,
    state: Mutex<State>,
}

impl LaneMetrics {
    /// Adds what settling led to.
    pub fn count(&self, settled: Settled) {
        self.delivered.inc_by(settled.delivered);
        self.dead_lettered.inc_by(settled.dead_lettered);
        self.retried.inc_by(settled.retried);
        self.refused.inc_by(settled.refused);
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
    pub fn up(&self) {
        self.up.set(1);
        self.change("up", None);
    }

    /// The connection is gone or did not come; tells whether that is news.
    pub fn down(&self, why: &str) -> bool {
        self.up.set(0);
        self.change("down", Some(why))
    }

    fn change(&self, word: &'static str, why: Option<&str>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let news = state.word != word || (why.is_some() && state.last_error.as_deref() != why);
        if state.word != word {
            state.word = word;
            state.since = clock::monotonic();
        }
        if why.is_some() {
            state.last_error = why.map(str::to_owned);
        }
        news
    }

    /// Everything but what the store knows, for `tidegate status`.
    pub fn status(&self, name: &str, kind: &str) -> crate::status::UpstreamStatus {
        let state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        crate::status::UpstreamStatus {
            name: name.into(),
            kind: kind.into(),
            state: state.word.into(),
            since_ms: state.since.elapsed().as_millis() as u64,
            in_flight: self.in_flight.get().max(0) as u64,
            waiting_at_start: self.waiting_at_start,
            routed: self.routed.load(Ordering::Relaxed),
            delivered: self.delivered.get(),
            dead_lettered: self.dead_lettered.get(),
            retried: self.retried.get(),
            last_error: state.last_error.clone(),
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
