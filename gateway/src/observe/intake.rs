//! What happens in the intake and on the commit thread, counted and told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tidegate_store::{CommitError, Gap, LaneId};

use super::forward::LaneMetrics;
use super::refusing::Refusing;
use super::status::Books;
use super::{Happening, Observe, SystemEvent};

/// A flag that several threads read.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Sets it and tells what it was.
    pub fn swap(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::Relaxed)
    }

    /// Reads it.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts and times of the commit pipeline.
pub struct IntakeMetrics {
    /// Events of sources made durable, repetitions not counted.
    pub accepted: Counter,
    /// Payload bytes of the accepted events.
    pub accepted_bytes: Counter,
    /// Repetitions that were recognised and acknowledged without storing them again.
    pub duplicates: Counter,
    /// Accepted events whose sender gave the id of another one.
    pub reused_ids: Counter,
    /// Accepted events that no rule sends anywhere.
    pub dropped: Counter,
    /// Events refused because they could not be stored.
    pub refused: Counter,
    /// Events per commit.
    pub commit_events: Histogram,
    /// Seconds per commit, from handing over to durable.
    pub commit_seconds: Histogram,
    /// Whether the latest commit was refused.
    pub refusing: Flag,
    refused_because: Refusing,
    beat: Mutex<Option<Instant>>,
    lanes: Mutex<LaneCounts>,
}

/// What the intake and the commit thread tell.
#[derive(Debug, Clone, Default)]
pub struct IntakeReport {
    /// `accepted`, `duplicates`, `refused` and `dropped_by_rule`; the rest is added up from the lanes.
    pub books: Books,
    /// How long ago the commit thread last came round; `None` before its first round.
    pub last_beat: Option<Duration>,
    /// Whether the latest commit was refused.
    pub refusing: bool,
    /// Why it was.
    pub refused_because: String,
}

/// What one commit made durable.
#[derive(Debug, Clone, Copy)]
pub struct CommitCounts<'a> {
    /// Events of sources.
    pub accepted: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// Of these, how many no rule sends anywhere.
    pub dropped: u64,
    /// Records, those of the gateway's own events among them.
    pub records: usize,
    /// Records routed, by lane.
    pub routed: &'a [(LaneId, u64)],
}

/// Where the routes of a lane are counted.
pub type LaneCounts = Vec<(LaneId, Arc<LaneMetrics>)>;

impl IntakeMetrics {
    /// Counts from zero; routes go to the lanes' own metrics, and why events are refused to `refused_because`.
    pub fn new(lanes: LaneCounts, refused_because: Refusing) -> IntakeMetrics {
        IntakeMetrics {
            lanes: Mutex::new(lanes),
            accepted: Counter::default(),
            accepted_bytes: Counter::default(),
            duplicates: Counter::default(),
            reused_ids: Counter::default(),
            dropped: Counter::default(),
            refused: Counter::default(),
            commit_events: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_seconds: Histogram::new(exponential_buckets(50e-6, 2.0, 16)),
            refusing: Flag::default(),
            refused_because,
            beat: Mutex::new(None),
        }
    }
}

impl IntakeMetrics {
    /// Registers everything once.
    pub fn register(&self, observe: &Observe) {
        let counters = [
            ("events_accepted", "Events made durable", &self.accepted),
            (
                "events_accepted_bytes",
                "Payload bytes of accepted events",
                &self.accepted_bytes,
            ),
            (
                "events_duplicate",
                "Repetitions recognised and acknowledged, not stored again",
                &self.duplicates,
            ),
            (
                "events_id_reused",
                "Events stored under an id of ours: their sender's stands for another event",
                &self.reused_ids,
            ),
            (
                "events_dropped_by_rule",
                "Accepted events that no rule sends anywhere",
                &self.dropped,
            ),
            (
                "events_refused",
                "Events refused because they could not be stored",
                &self.refused,
            ),
        ];
        let histograms = [
            ("commit_events", "Events per commit", &self.commit_events),
            ("commit_seconds", "Seconds per commit", &self.commit_seconds),
        ];
        observe.register(|registry| {
            for (name, help, counter) in counters {
                registry.register(name, help, counter.clone());
            }
            for (name, help, histogram) in histograms {
                registry.register(name, help, histogram.clone());
            }
        });
    }

    /// Routes are counted there from now on.
    pub fn count_lanes(&self, lanes: LaneCounts) {
        *self.lanes() = lanes;
    }

    fn lanes(&self) -> MutexGuard<'_, LaneCounts> {
        self.lanes.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A group became durable.
    pub fn committed(&self, counts: CommitCounts<'_>, took: Duration) {
        self.accepted.inc_by(counts.accepted);
        self.accepted_bytes.inc_by(counts.payload_bytes);
        self.dropped.inc_by(counts.dropped);
        for (lane, metrics) in self.lanes().iter() {
            let routed = counts.routed.iter().filter(|(id, _)| id == lane);
            metrics.routed(routed.map(|(_, count)| count).sum());
        }
        self.commit_events.observe(counts.records as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Events were given up; their gap records went to the lanes of `routed`, one for each record.
    pub fn gave_up(&self, gaps: &[Gap], routed: &[LaneId]) {
        for (lane, metrics) in self.lanes().iter() {
            let to_lane = routed.iter().filter(|id| *id == lane);
            metrics.routed(to_lane.count() as u64);
            for gap in gaps {
                let of_lane = gap.lanes.iter().filter(|of| of.lane == *lane);
                metrics.gave_up(gap.reason, of_lane.map(|of| of.events).sum());
            }
        }
    }

    /// What the status shows of the intake.
    pub fn report(&self, now: Instant) -> IntakeReport {
        IntakeReport {
            books: Books {
                accepted: self.accepted.get(),
                duplicates: self.duplicates.get(),
                refused: self.refused.get(),
                dropped_by_rule: self.dropped.get(),
                ..Books::default()
            },
            last_beat: self
                .last_beat()
                .map(|beat| now.saturating_duration_since(beat)),
            refusing: self.refusing.get(),
            refused_because: self.refused_because.because(),
        }
    }

    /// A commit was refused, for this reason; tells whether the one before it was, too.
    pub fn refused_for(&self, why: String) -> bool {
        self.refused_because.set(why);
        self.refusing.swap(true)
    }

    /// The commit thread is alive.
    pub fn beat(&self, now: Instant) {
        *self.beat.lock().unwrap_or_else(|e| e.into_inner()) = Some(now);
    }

    /// When the commit thread last came round; it does so at least each second.
    pub fn last_beat(&self) -> Option<Instant> {
        *self.beat.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A commit failed: events are refused from now on.
pub struct CommitFailed<'a> {
    /// What the store said.
    pub error: &'a CommitError,
}

impl Happening for CommitFailed<'_> {
    fn log(&self) {
        tracing::error!(
            error = %self.error,
            "events are refused and stay with their senders; forwarding goes on"
        );
    }
}

/// A commit worked again.
pub struct CommitResumed;

impl Happening for CommitResumed {
    fn log(&self) {
        tracing::info!("events are stored and acknowledged again");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.store.accepting",
            subject: "store".into(),
            data: serde_json::json!({}),
        })
    }
}
