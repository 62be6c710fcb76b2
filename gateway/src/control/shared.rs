//! What the API asks the rest of the gateway for.
//!
//! Every room hands in a function that reads its own figures; the API reads the store itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_store::Store;
use tokio::sync::mpsc;

use super::health;
use crate::event::live_feed::LiveFeed;
use crate::intake::Redrive;
use crate::observe::Observe;
use crate::observe::status::{
    Books, GatewayStatus, Readiness, RulesStatus, SourceStatus, Status, StoreStatus,
    UpstreamStatus, Wear,
};
use crate::observe::wear::Meter;

type Ask<T> = Box<dyn Fn() -> T + Send + Sync>;

/// What the intake and the commit thread tell.
#[derive(Debug, Clone, Default)]
pub struct IntakeReport {
    /// `accepted`, `duplicates`, `refused` and `dropped_by_rule`; the rest is added up from the lanes.
    pub books: Books,
    /// How long ago the commit thread last came round; `None` before its first round.
    pub last_beat: Option<Duration>,
    /// Whether the latest commit was refused.
    pub refusing: bool,
}

/// Everything the API answers from. Built once, at the start.
pub struct Shared {
    id: String,
    started: Instant,
    pub(super) observe: Arc<Observe>,
    sources: Vec<Ask<SourceStatus>>,
    upstreams: Vec<Ask<UpstreamStatus>>,
    rules: Ask<RulesStatus>,
    intake: Ask<IntakeReport>,
    pub(super) store: Option<(Store, PathBuf)>,
    wear: Option<Arc<Meter>>,
    pub(super) feed: Option<LiveFeed>,
    pub(super) redrive: Option<mpsc::Sender<Redrive>>,
}

impl Shared {
    /// A gateway called `id` that has just started and has no rooms yet.
    pub fn new(id: impl Into<String>, started: Instant, observe: Arc<Observe>) -> Shared {
        Shared {
            id: id.into(),
            started,
            observe,
            sources: Vec::new(),
            upstreams: Vec::new(),
            rules: Box::new(RulesStatus::default),
            store: None,
            wear: None,
            feed: None,
            redrive: None,
            intake: Box::new(IntakeReport::default),
        }
    }

    /// Adds a source.
    #[must_use]
    pub fn with_source(mut self, ask: impl Fn() -> SourceStatus + Send + Sync + 'static) -> Self {
        self.sources.push(Box::new(ask));
        self
    }

    /// Adds an upstream.
    #[must_use]
    pub fn with_upstream(
        mut self,
        ask: impl Fn() -> UpstreamStatus + Send + Sync + 'static,
    ) -> Self {
        self.upstreams.push(Box::new(ask));
        self
    }

    /// Says which rules are in force.
    #[must_use]
    pub fn with_rules(mut self, ask: impl Fn() -> RulesStatus + Send + Sync + 'static) -> Self {
        self.rules = Box::new(ask);
        self
    }

    /// Hands in the store and the folder it lies in.
    #[must_use]
    pub fn with_store(mut self, store: Store, folder: impl Into<PathBuf>) -> Self {
        self.store = Some((store, folder.into()));
        self
    }

    /// Hands in what measures the disk's wear.
    #[must_use]
    pub fn with_wear(mut self, meter: Arc<Meter>) -> Self {
        self.wear = Some(meter);
        self
    }

    /// Hands in the feed of committed events.
    #[must_use]
    pub fn with_feed(mut self, feed: LiveFeed) -> Self {
        self.feed = Some(feed);
        self
    }

    /// Hands in the way back into the log for dead letters.
    #[must_use]
    pub fn with_redrive(mut self, redrive: mpsc::Sender<Redrive>) -> Self {
        self.redrive = Some(redrive);
        self
    }

    /// Says how the intake is.
    #[must_use]
    pub fn with_intake(mut self, ask: impl Fn() -> IntakeReport + Send + Sync + 'static) -> Self {
        self.intake = Box::new(ask);
        self
    }

    /// Asks everybody.
    pub fn status(&self, now: Instant) -> Status {
        // The lanes first and the intake last: an event that moves on meanwhile is then counted
        // as waiting, not as missing.
        let upstreams: Vec<_> = self.upstreams.iter().map(|ask| ask()).collect();
        let sources: Vec<_> = self.sources.iter().map(|ask| ask()).collect();
        let intake = (self.intake)();
        let mut status = Status {
            gateway: GatewayStatus {
                id: self.id.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_ms: now.duration_since(self.started).as_millis() as u64,
            },
            rules: (self.rules)(),
            store: StoreStatus {
                refusing: intake.refusing,
                ..self.store_status()
            },
            books: intake.books.clone().with_lanes(&upstreams),
            sources,
            upstreams,
            troubles: Vec::new(),
        };
        status.troubles = health::troubles(&status, &intake);
        status
    }

    fn store_status(&self) -> StoreStatus {
        let Some((store, folder)) = &self.store else {
            return StoreStatus::default();
        };
        crate::control::history::store::status(store, folder)
    }

    /// What the disk was written for.
    pub(super) fn wear(&self, now: Instant) -> Option<Wear> {
        self.wear.as_ref().map(|meter| meter.read(now))
    }

    /// The upstreams of the configuration.
    pub(super) fn upstream_names(&self) -> impl Iterator<Item = String> {
        self.upstreams.iter().map(|ask| ask().name)
    }

    /// The folder the store lies in.
    pub(super) fn store_folder(&self) -> &Path {
        self.store
            .as_ref()
            .map_or(Path::new(""), |(_, folder)| folder)
    }

    /// Whether events are accepted.
    pub fn readiness(&self, now: Instant) -> Readiness {
        let intake = (self.intake)();
        Readiness {
            ready: health::accepts(&intake),
            troubles: self.status(now).troubles,
        }
    }

    /// Whether the commit thread still comes round: what the watchdog and `/healthz` ask.
    pub fn is_alive(&self) -> bool {
        health::is_alive(&(self.intake)())
    }
}
