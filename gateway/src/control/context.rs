//! What the API asks the rest of the gateway for.
//!
//! Every room hands in a function that reads its own figures; the API reads the store itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_rules::decision::Destinations;
use tidegate_store::Store;
use tokio::sync::mpsc;

use super::blocking::Turn;
use super::health;
use super::history::{self, HistoryError};
use super::request::reload::ReloadRequest;
use crate::event::committed_log::CommittedLog;
use crate::event::dead_letter::letters::Letters;
use crate::intake::Redrive;
use crate::observe::Observe;
use crate::observe::intake::IntakeReport;
use crate::observe::rules::report::RulesReport;
use crate::observe::status::{
    GatewayStatus, Readiness, RulesStatus, SourceStatus, Status, StoreStatus, StrandedLane,
    UpstreamStatus, Wear,
};
use crate::observe::wear::Meter;
use crate::time::clock::Now;

/// Reads the figures of one room.
type Read<T> = Box<dyn Fn() -> T + Send + Sync>;
/// The same, where they tell how long ago something was.
type ReadAt<T> = Box<dyn Fn(Now) -> T + Send + Sync>;

/// A source or an upstream by its name, and what reads its figures.
pub type Named<T> = (String, Box<dyn Fn(Now) -> T + Send + Sync>);

/// Everything the API answers from. Built once, at the start; sources and upstreams come and go.
pub struct ApiContext {
    id: String,
    started: Instant,
    pub(super) observe: Arc<Observe>,
    sources: Mutex<Vec<Named<SourceStatus>>>,
    upstreams: Mutex<Vec<Named<UpstreamStatus>>>,
    dead_letter_lane: Option<ReadAt<UpstreamStatus>>,
    letters: Option<Letters>,
    pub(super) letters_turn: Turn,
    pub(super) lanes_turn: Turn,
    rules: Read<RulesStatus>,
    rules_report: Read<RulesReport>,
    intake: ReadAt<IntakeReport>,
    /// Held while it is looked, so that changes are told in their order.
    looking: Mutex<()>,
    store: Option<(Store, PathBuf)>,
    wear: Option<Arc<Meter>>,
    pub(super) log: Option<CommittedLog>,
    pub(super) redrive: Option<mpsc::Sender<Redrive>>,
    pub(super) reload: Option<mpsc::Sender<ReloadRequest>>,
}

impl ApiContext {
    /// A gateway called `id` that has just started and has no rooms yet.
    pub fn new(id: impl Into<String>, started: Instant, observe: Arc<Observe>) -> ApiContext {
        ApiContext {
            id: id.into(),
            started,
            observe,
            sources: Mutex::default(),
            upstreams: Mutex::default(),
            dead_letter_lane: None,
            letters: None,
            letters_turn: Turn::default(),
            lanes_turn: Turn::default(),
            rules: Box::new(RulesStatus::default),
            rules_report: Box::new(RulesReport::default),
            looking: Mutex::default(),
            store: None,
            wear: None,
            log: None,
            redrive: None,
            reload: None,
            intake: Box::new(|_| IntakeReport::default()),
        }
    }

    /// Adds a source.
    #[must_use]
    pub fn with_source(
        self,
        name: impl Into<String>,
        read: impl Fn(Now) -> SourceStatus + Send + Sync + 'static,
    ) -> Self {
        lock(&self.sources).push((name.into(), Box::new(read)));
        self
    }

    /// Adds an upstream.
    #[must_use]
    pub fn with_upstream(
        self,
        name: impl Into<String>,
        read: impl Fn(Now) -> UpstreamStatus + Send + Sync + 'static,
    ) -> Self {
        lock(&self.upstreams).push((name.into(), Box::new(read)));
        self
    }

    /// These are the sources from now on.
    pub fn set_sources(&self, sources: Vec<Named<SourceStatus>>) {
        *lock(&self.sources) = sources;
    }

    /// These are the upstreams from now on.
    pub fn set_upstreams(&self, upstreams: Vec<Named<UpstreamStatus>>) {
        *lock(&self.upstreams) = upstreams;
    }

    /// Adds the lane of what rules and sources send to the dead letters: it is in the books.
    #[must_use]
    pub fn with_dead_letter_lane(
        mut self,
        read: impl Fn(Now) -> UpstreamStatus + Send + Sync + 'static,
    ) -> Self {
        self.dead_letter_lane = Some(Box::new(read));
        self
    }

    /// Hands in the dead letters.
    #[must_use]
    pub fn with_letters(mut self, letters: Letters) -> Self {
        self.letters = Some(letters);
        self
    }

    /// Says which rules are in force.
    #[must_use]
    pub fn with_rules(mut self, read: impl Fn() -> RulesStatus + Send + Sync + 'static) -> Self {
        self.rules = Box::new(read);
        self
    }

    /// Says what happened at each rule.
    #[must_use]
    pub fn with_rules_report(
        mut self,
        read: impl Fn() -> RulesReport + Send + Sync + 'static,
    ) -> Self {
        self.rules_report = Box::new(read);
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

    /// Hands in the log as it grows.
    #[must_use]
    pub fn with_log(mut self, log: CommittedLog) -> Self {
        self.log = Some(log);
        self
    }

    /// Hands in the way of those who ask for a reload.
    #[must_use]
    pub fn with_reload(mut self, reload: mpsc::Sender<ReloadRequest>) -> Self {
        self.reload = Some(reload);
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
    pub fn with_intake(
        mut self,
        read: impl Fn(Now) -> IntakeReport + Send + Sync + 'static,
    ) -> Self {
        self.intake = Box::new(read);
        self
    }

    /// Asks everybody, and tells of the troubles that show which are new and which are over.
    pub fn status(&self, now: Now) -> Status {
        let _one_after_the_other = lock(&self.looking);
        // The lanes first and the intake last: an event that moves on meanwhile is then counted
        // as waiting, not as missing.
        let upstreams = read_all(&self.upstreams, now);
        let mut lanes = upstreams.clone();
        lanes.extend(
            self.dead_letter_lane
                .iter()
                .map(|read| to_dead_letters(read(now))),
        );
        let sources = read_all(&self.sources, now);
        let intake = (self.intake)(now);
        let mut status = Status {
            gateway: GatewayStatus {
                id: self.id.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_ms: now.instant.duration_since(self.started).as_millis() as u64,
            },
            rules: (self.rules)(),
            store: StoreStatus {
                refusing: intake.refusing,
                ..self.store_status()
            },
            books: intake.books.clone().with_lanes(&lanes),
            sources,
            upstreams,
            stranded: self.stranded(),
            troubles: Vec::new(),
        };
        let standing = health::troubles(&status, &intake, &self.observe);
        self.observe.stand(&standing);
        let lines = standing.into_iter().map(|one| one.line);
        status.troubles = lines
            .chain(self.observe.troubles.lines_at(now.instant))
            .collect();
        status
    }

    /// What happened at each rule.
    pub(super) fn rules_report(&self) -> RulesReport {
        (self.rules_report)()
    }

    /// What waits for upstreams that are not configured.
    pub fn stranded(&self) -> Vec<StrandedLane> {
        let Some((store, _)) = &self.store else {
            return Vec::new();
        };
        let (lanes, names) = (store.lanes().into_iter(), self.upstream_names());
        let unknown = lanes
            .filter(|lane| lane.name != Destinations::DEAD_LETTER && !names.contains(&lane.name));
        let waiting = unknown.map(|lane| StrandedLane {
            waiting: store.backlog(lane.id).events,
            name: lane.name,
        });
        waiting.filter(|lane| lane.waiting > 0).collect()
    }

    fn store_status(&self) -> StoreStatus {
        let Some((store, folder)) = &self.store else {
            return StoreStatus::default();
        };
        history::store::status(store, folder)
    }

    /// What the disk was written for.
    pub(super) fn wear(&self, now: Instant) -> Option<Wear> {
        self.wear.as_ref().map(|meter| meter.read(now))
    }

    /// The upstreams of the configuration.
    pub(super) fn upstream_names(&self) -> Vec<String> {
        let upstreams = lock(&self.upstreams);
        upstreams.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The store.
    ///
    /// # Errors
    /// [`HistoryError::NotFound`] where there is none.
    pub(super) fn store(&self) -> Result<&Store, HistoryError> {
        let none = || HistoryError::NotFound("this gateway has no store yet".to_owned());
        self.store.as_ref().map(|(store, _)| store).ok_or_else(none)
    }

    /// The dead letters.
    ///
    /// # Errors
    /// As [`ApiContext::store`].
    pub(super) fn letters(&self) -> Result<&Letters, HistoryError> {
        let none = || HistoryError::NotFound("this gateway has no dead letters yet".to_owned());
        self.letters.as_ref().ok_or_else(none)
    }

    /// The folder the store lies in.
    pub(super) fn store_folder(&self) -> &Path {
        self.store
            .as_ref()
            .map_or(Path::new(""), |(_, folder)| folder)
    }

    /// Whether events are accepted.
    pub fn readiness(&self, now: Now) -> Readiness {
        let intake = (self.intake)(now);
        Readiness {
            ready: health::accepts(&intake),
            troubles: self.status(now).troubles,
        }
    }

    /// Whether the commit thread still comes round: what the watchdog and `/healthz` ask.
    pub fn is_alive(&self, now: Now) -> bool {
        health::is_alive(&(self.intake)(now))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_all<T>(of: &Mutex<Vec<Named<T>>>, now: Now) -> Vec<T> {
    lock(of).iter().map(|(_, read)| read(now)).collect()
}

/// What is delivered to the dead letters is one.
fn to_dead_letters(lane: UpstreamStatus) -> UpstreamStatus {
    UpstreamStatus {
        dead_lettered: lane.dead_lettered + lane.delivered,
        delivered: 0,
        ..lane
    }
}
