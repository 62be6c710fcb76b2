//! What happens at the sources, counted and told.

pub mod device;
pub mod lines;
pub mod link;
pub mod login;
pub mod port;
mod readings;
mod refused;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::refusing::Refusing;
use super::trouble::health::{Health, HealthState, Kind};
use super::{Happening, Observe, SystemEvent};
use crate::time::clock::{self, Now};
use lines::Refusals;
use link::{LinkFamily, LinkMetrics};
use readings::Readings;

/// Labels of a source's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    source: String,
}

/// Labels of refused input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MalformedLabel {
    source: String,
    reason: String,
}

/// The metrics of all sources, registered once.
pub struct SourceFamilies {
    accepted: Family<SourceLabel, Counter>,
    bytes: Family<SourceLabel, Counter>,
    refused: Family<SourceLabel, Counter>,
    malformed: Family<MalformedLabel, Counter>,
    missed: Family<SourceLabel, Counter>,
    expired: Family<SourceLabel, Counter>,
    connections: Family<SourceLabel, Gauge<i64, AtomicI64>>,
    up: Family<SourceLabel, Gauge<i64, AtomicI64>>,
    ack_seconds: Family<SourceLabel, Histogram>,
    read_bytes: Family<SourceLabel, Counter>,
    failed_logins: Family<SourceLabel, Counter>,
    links: LinkFamily,
    refusing: Refusing,
}

impl SourceFamilies {
    /// Makes and registers them.
    pub fn register(observe: &Observe) -> SourceFamilies {
        let families = SourceFamilies {
            accepted: Family::default(),
            bytes: Family::default(),
            refused: Family::default(),
            malformed: Family::default(),
            missed: Family::default(),
            expired: Family::default(),
            connections: Family::default(),
            up: Family::default(),
            ack_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(100e-6, 2.0, 16))
            }),
            read_bytes: Family::default(),
            failed_logins: Family::default(),
            links: LinkFamily::register(observe),
            refusing: observe.refusing.clone(),
        };
        families.register_all(observe);
        families
    }

    fn register_all(&self, observe: &Observe) {
        observe.register(|registry| {
            for (name, help, counter) in self.counters() {
                registry.register(name, help, counter.clone());
            }
            let malformed = self.malformed.clone();
            registry.register("source_malformed", "Input refused, by reason", malformed);
            registry.register(
                "source_connections",
                "Connections open",
                self.connections.clone(),
            );
            registry.register(
                "source_up",
                "1 while it listens, is connected, or has its port",
                self.up.clone(),
            );
            registry.register(
                "source_ack_seconds",
                "From reading an event to acknowledging it",
                self.ack_seconds.clone(),
            );
        });
    }

    /// The counters by their names, with what they count.
    fn counters(&self) -> [(&'static str, &'static str, &Family<SourceLabel, Counter>); 7] {
        [
            (
                "source_events_accepted",
                "Events acknowledged",
                &self.accepted,
            ),
            (
                "source_bytes_accepted",
                "Payload bytes acknowledged",
                &self.bytes,
            ),
            (
                "source_events_refused",
                "Events not acknowledged because they could not be stored",
                &self.refused,
            ),
            (
                "source_missed",
                "Events that a subscriber missed: it lagged too far, or takes no packet so large",
                &self.missed,
            ),
            (
                "source_expired",
                "Events that a subscriber did not get: their message expiry interval was over",
                &self.expired,
            ),
            (
                "source_read_bytes",
                "Bytes that a serial port brought",
                &self.read_bytes,
            ),
            (
                "source_failed_logins",
                "Clients that were not let in: wrong or no password, certificate refused",
                &self.failed_logins,
            ),
        ]
    }

    /// A source is gone for good, and with it its series, but for what was wrong with its input.
    pub fn remove(&self, source: &str) {
        let label = SourceLabel {
            source: source.into(),
        };
        for (_, _, family) in self.counters() {
            family.remove(&label);
        }
        self.connections.remove(&label);
        self.up.remove(&label);
        self.ack_seconds.remove(&label);
    }

    /// The metrics of one source.
    pub fn of(&self, source: &str) -> SourceMetrics {
        let label = SourceLabel {
            source: source.into(),
        };
        SourceMetrics(Arc::new(Inner {
            accepted: self.accepted.get_or_create_owned(&label),
            bytes: self.bytes.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
            missed: self.missed.get_or_create_owned(&label),
            expired: self.expired.get_or_create_owned(&label),
            connections: self.connections.get_or_create_owned(&label),
            health: Health::new(
                Kind::Source,
                source,
                self.up.get_or_create_owned(&label),
                clock::monotonic(),
            ),
            refusing: self.refusing.clone(),
            ack_seconds: self.ack_seconds.get_or_create_owned(&label),
            malformed: self.malformed.clone(),
            malformed_total: AtomicU64::new(0),
            read_bytes: self.read_bytes.clone(),
            failed_logins: self.failed_logins.clone(),
            failed_since: AtomicU64::new(0),
            readings: Readings::default(),
            refusals: Refusals::default(),
            links: self.links.clone(),
            source: source.into(),
        }))
    }
}

struct Inner {
    accepted: Counter,
    bytes: Counter,
    refused: Counter,
    missed: Counter,
    expired: Counter,
    connections: Gauge<i64, AtomicI64>,
    health: Health,
    refusing: Refusing,
    ack_seconds: Histogram,
    malformed: Family<MalformedLabel, Counter>,
    malformed_total: AtomicU64,
    read_bytes: Family<SourceLabel, Counter>,
    failed_logins: Family<SourceLabel, Counter>,
    /// Of these, those since it became a trouble.
    failed_since: AtomicU64,
    readings: Readings,
    refusals: Refusals,
    links: LinkFamily,
    source: String,
}

/// Counts of one source; cheap to clone, and the hot paths touch only atomics.
#[derive(Clone)]
pub struct SourceMetrics(Arc<Inner>);

impl SourceMetrics {
    /// An event was acknowledged.
    pub fn accepted(&self, payload_bytes: usize) {
        self.0.accepted.inc();
        self.0.bytes.inc_by(payload_bytes as u64);
    }

    /// Input was refused for a reason of a few words.
    pub fn malformed(&self, reason: &str) {
        let label = MalformedLabel {
            source: self.0.source.clone(),
            reason: reason.into(),
        };
        self.0.malformed.get_or_create(&label).inc();
        self.0.malformed_total.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of its framed link.
    pub fn link(&self) -> LinkMetrics {
        self.0.links.of(&self.0.source)
    }

    /// Events did not reach a subscriber: it lagged too far, or takes no packet so large.
    pub fn missed(&self, count: u64) {
        self.0.missed.inc_by(count);
    }

    /// An event reached a subscriber too late to be worth sending.
    pub fn expired(&self) {
        self.0.expired.inc();
    }

    /// An ack left this long after its event was read.
    pub fn acknowledged_after(&self, took: Duration) {
        self.0.ack_seconds.observe(took.as_secs_f64());
    }

    /// The source is now up: `listening`, `connected`, `open`. `happening` is told if that is news.
    pub fn up(&self, observe: &Observe, state: &'static str, happening: &dyn Happening) {
        let now = clock::monotonic();
        self.0.health.up(Some(observe), state, now, happening);
    }

    /// The source is failing: `connecting`, `waiting`, and why. `happening` is told if that is news.
    pub fn down(
        &self,
        observe: &Observe,
        state: &'static str,
        why: &str,
        happening: &dyn Happening,
    ) {
        let now = clock::monotonic();
        self.0
            .health
            .down(Some(observe), state, why, now, happening);
    }

    /// It has ended, and begins anew in another shape.
    pub fn begin_anew(&self) {
        self.0.health.begin_anew(clock::monotonic());
        // One that was cut off left them as they were.
        self.0.connections.set(0);
    }

    /// How it is.
    pub fn state(&self) -> HealthState {
        self.0.health.state()
    }

    /// Its port is open at so many bits per second.
    pub fn port_opened(&self, baud: u32) {
        self.0.readings.opened(baud);
    }

    /// Its port brought bytes.
    pub fn read(&self, bytes: u64) {
        self.0.readings.bytes(bytes);
        let of_source = self.0.read_bytes.get_or_create(&self.label());
        of_source.inc_by(bytes);
    }

    /// Among the bytes was something that can be read.
    pub fn readable(&self) {
        self.0.readings.readable();
    }

    /// Among the bytes was something that cannot be read.
    pub fn unreadable(&self, why: &str) {
        self.0.readings.unreadable(why);
    }

    fn label(&self) -> SourceLabel {
        SourceLabel {
            source: self.0.source.clone(),
        }
    }

    /// What it is called in troubles.
    pub fn subject(&self) -> String {
        format!("source {}", self.0.source)
    }

    /// Looks at it once a second. `has_port` says that bytes come from a serial port.
    pub fn look(&self, observe: &Observe, has_port: bool, now: Now) {
        self.0.health.look(observe, now.instant);
        if has_port {
            let frames = self.0.links.frames(&self.0.source);
            let is_up = self.state().is_up;
            let (readings, subject) = (&self.0.readings, self.subject());
            readings.look(observe, &subject, is_up, frames, now.instant);
        }
    }

    /// A connection was opened (+1) or closed (-1).
    pub fn connections(&self, change: i64) {
        self.0.connections.inc_by(change);
    }

    /// Events accepted, events refused, inputs malformed, connections open.
    pub fn counts(&self) -> (u64, u64, u64, i64) {
        (
            self.0.accepted.get(),
            self.0.refused.get(),
            self.0.malformed_total.load(Ordering::Relaxed),
            self.0.connections.get(),
        )
    }
}

/// A client was disconnected for what it sent.
pub struct ClientRefused<'a> {
    /// The source.
    pub source: &'a str,
    /// Its address.
    pub peer: &'a str,
    /// Its client id, where it got so far.
    pub client: &'a str,
    /// Why.
    pub why: &'a str,
}

impl Happening for ClientRefused<'_> {
    fn log(&self) {
        tracing::warn!(
            source = self.source,
            peer = self.peer,
            client = self.client,
            "connection closed: {}",
            self.why
        );
    }
}

/// A client with a will is gone without saying goodbye.
pub struct ClientLost<'a> {
    /// The source.
    pub source: &'a str,
    /// Its client id.
    pub client: &'a str,
    /// Where its will was published.
    pub topic: &'a str,
}

impl Happening for ClientLost<'_> {
    fn log(&self) {
        tracing::info!(
            source = self.source,
            client = self.client,
            topic = self.topic,
            "client lost, its will is published"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.client.lost",
            subject: self.client.into(),
            data: serde_json::json!({ "source": self.source, "will": self.topic }),
        })
    }
}

/// A source listens.
pub struct Listening<'a> {
    /// The source.
    pub source: &'a str,
    /// Where.
    pub address: std::net::SocketAddr,
}

impl Happening for Listening<'_> {
    fn log(&self) {
        tracing::info!(source = self.source, address = %self.address, "listening");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.source.up",
            subject: self.source.into(),
            data: serde_json::json!({ "address": self.address }),
        })
    }
}

/// A source has its subscriptions at a broker.
pub struct Subscribed<'a> {
    /// The source.
    pub source: &'a str,
    /// The broker.
    pub url: &'a str,
    /// Whether the broker kept the session, and with it what came meanwhile.
    pub resumed: bool,
}

impl Happening for Subscribed<'_> {
    fn log(&self) {
        tracing::info!(
            source = self.source,
            url = self.url,
            resumed = self.resumed,
            "subscribed"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.source.up",
            subject: self.source.into(),
            data: serde_json::json!({ "url": self.url, "resumed": self.resumed }),
        })
    }
}

/// A source lost its broker, or did not reach it.
pub struct Disconnected<'a> {
    /// The source.
    pub source: &'a str,
    /// Why.
    pub why: &'a str,
}

impl Happening for Disconnected<'_> {
    fn log(&self) {
        tracing::warn!(source = self.source, "disconnected: {}", self.why);
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.source.down",
            subject: self.source.into(),
            data: serde_json::json!({ "why": self.why }),
        })
    }
}

/// A source cannot listen yet.
pub struct CannotListen<'a> {
    /// The source.
    pub source: &'a str,
    /// Why.
    pub why: &'a str,
}

impl Happening for CannotListen<'_> {
    fn log(&self) {
        tracing::warn!(source = self.source, "{}; it is tried again", self.why);
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.source.down",
            subject: self.source.into(),
            data: serde_json::json!({ "why": self.why }),
        })
    }
}
