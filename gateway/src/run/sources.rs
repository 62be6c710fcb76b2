//! Every configured source, bound and spawned; others take their places while the gateway runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_store::Store;
use tokio::sync::watch;

use super::RunError;
use super::config::difference::{Difference, NOT_USABLE, difference};
use super::config::{Config, SourceKind};
use super::tasks::Tasks;
use crate::config::SourceSection;
use crate::config::kinds::{Claim, Kinds};
use crate::control::Named;
use crate::event::committed_log::CommittedLog;
use crate::event::inlet::Inlet;
use crate::observe::Observe;
use crate::observe::source::{SourceFamilies, SourceMetrics};
use crate::observe::status::SourceStatus;
use crate::source::credentials::Credentials;
use crate::source::device_claims::DeviceClaims;
use crate::source::open::{Opening, Running};
use crate::time::clock::Now;

/// How long sources may take to say goodbye to their clients.
pub(super) const SOURCES_MAX: Duration = Duration::from_secs(5);
/// The troubles of a source that cannot be as the configuration says.
pub(super) const NOT_TAKEN: &str = "configuration";

type Section = SourceSection<SourceKind>;

/// What all sources are opened with.
pub(super) struct SourcesContext {
    pub(super) gateway_id: String,
    pub(super) inlet: Inlet,
    pub(super) log: CommittedLog,
    /// Where marks of devices are.
    pub(super) store: Store,
    pub(super) observe: Arc<Observe>,
}

/// All sources, in the order of the configuration.
pub(super) struct Sources {
    with: SourcesContext,
    families: SourceFamilies,
    devices: Arc<DeviceClaims>,
    running: Vec<RunningSource>,
    /// The gateway is up: what comes now stands in for what runs, or is tried again.
    is_started: bool,
    /// What is looked at: whether it has a port, and its counts.
    looked_at: Arc<Mutex<Vec<(bool, SourceMetrics)>>>,
}

struct RunningSource {
    section: Section,
    metrics: SourceMetrics,
    credentials: watch::Sender<Credentials>,
    stop: watch::Sender<bool>,
}

/// Why a source is not as the configuration says.
enum NotOpen {
    /// The certificates or secrets of one that runs changed, and cannot be used.
    Changed(String),
    /// Its certificates or secrets cannot be used.
    Credentials(String),
    /// It cannot be where it should be.
    Place(String),
}

/// A source that is open and not polled yet.
struct Opened {
    source: RunningSource,
    task: Running,
}

impl Sources {
    /// None yet.
    pub(super) fn new(with: SourcesContext) -> Sources {
        let families = SourceFamilies::register(&with.observe);
        let looked_at = Arc::<Mutex<Vec<(bool, SourceMetrics)>>>::default();
        let all = Arc::clone(&looked_at);
        with.observe.look_at(move |observe, now| {
            let all = all.lock().unwrap_or_else(PoisonError::into_inner);
            for (has_port, metrics) in all.iter() {
                metrics.look(observe, *has_port, now);
            }
        });
        Sources {
            with,
            families,
            devices: Arc::default(),
            running: Vec::new(),
            is_started: false,
            looked_at,
        }
    }

    /// Opens and spawns every source; a listener whose address is taken waits for it.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub(super) async fn start(
        &mut self,
        tasks: &mut Tasks,
        config: &Config,
    ) -> Result<(), RunError> {
        for section in &config.sources {
            let opened = self.open(section, None).await.map_err(|why| match why {
                NotOpen::Changed(why) | NotOpen::Credentials(why) | NotOpen::Place(why) => {
                    RunError::Bind(why)
                }
            })?;
            self.spawn(tasks, opened);
        }
        self.is_started = true;
        self.tell_looked_at();
        Ok(())
    }

    /// Makes them what `wanted` says; what cannot be is told as a trouble, and stays as it is. Whether all
    /// is so.
    pub(super) async fn take(&mut self, tasks: &mut Tasks, wanted: &[Section]) -> bool {
        let mut gone = Vec::new();
        for source in &self.running {
            let name = &source.section.name;
            if !wanted.iter().any(|section| section.name == *name) {
                gone.push(name.clone());
            }
        }
        self.end(tasks, &gone).await;
        for name in &gone {
            self.families.remove(name);
            let subject = format!("source {name}");
            self.with.observe.clear_subject(&subject);
        }
        let (mut all_taken, mut again) = (true, Vec::new());
        for section in wanted {
            match self.take_one(tasks, section).await {
                Ok(()) => {}
                // Another one of ours may be there, which is to go elsewhere.
                Err(NotOpen::Place(_)) if self.is_ours(section) => again.push(section),
                Err(why) => all_taken &= self.tell(&section.name, Err(why)),
            }
        }
        all_taken &= self.take_places(tasks, &again).await;
        let place = |source: &RunningSource| {
            let name = &source.section.name;
            wanted.iter().position(|section| section.name == *name)
        };
        self.running.sort_by_key(place);
        self.tell_looked_at();
        all_taken
    }

    /// Opens one before the one of the same name that runs is ended, so that this goes on if it cannot be.
    async fn take_one(&mut self, tasks: &mut Tasks, section: &Section) -> Result<(), NotOpen> {
        let name = &section.name;
        let running = self.running.iter_mut().find(|of| of.section.name == *name);
        match running.as_ref().map(|of| difference(&of.section, section)) {
            Some(Difference::None) => {}
            Some(Difference::Credentials) => {
                if let Some(running) = running {
                    let credentials = section.kind.credentials();
                    let credentials = credentials.map_err(NotOpen::Changed)?;
                    running.credentials.send_replace(credentials);
                    running.section = section.clone();
                    tracing::info!(source = name, "its certificates and secrets are read again");
                }
            }
            Some(Difference::More) | None => {
                let opened = self.open(section, None).await?;
                self.end(tasks, std::slice::from_ref(name)).await;
                self.spawn(tasks, opened);
            }
        }
        self.tell(name, Ok(()));
        Ok(())
    }

    /// Whether a source of ours listens where this one is to.
    fn is_ours(&self, section: &Section) -> bool {
        let port = |kind: &SourceKind| match kind.claim() {
            Some(Claim::Address(address)) => Some(address.port()),
            _ => None,
        };
        let wanted = port(&section.kind);
        let mut running = self.running.iter();
        wanted.is_some() && running.any(|of| port(&of.section.kind) == wanted)
    }

    /// For those that stand in each other's place: all that run end before any is opened. One that cannot be
    /// is opened as it was.
    async fn take_places(&mut self, tasks: &mut Tasks, wanted: &[&Section]) -> bool {
        let is_one = |of: &&RunningSource| wanted.iter().any(|one| one.name == of.section.name);
        let before = self.running.iter().filter(is_one);
        let before = before.map(|of| (of.section.clone(), of.credentials.borrow().clone()));
        let before: Vec<(Section, Credentials)> = before.collect();
        let names: Vec<String> = before.iter().map(|(of, _)| of.name.clone()).collect();
        self.end(tasks, &names).await;
        let mut all_taken = true;
        for section in wanted {
            let opened = self.open(section, None).await;
            let taken = opened.map(|opened| self.spawn(tasks, opened));
            if taken.is_err()
                && let Some((before, credentials)) =
                    before.iter().find(|(of, _)| of.name == section.name)
                && let Ok(opened) = self.open(before, Some(credentials.clone())).await
            {
                self.spawn(tasks, opened);
            }
            all_taken &= self.tell(&section.name, taken);
        }
        all_taken
    }

    /// Tells whether a source is as the configuration says; gives that back.
    fn tell(&self, name: &str, taken: Result<(), NotOpen>) -> bool {
        let subject = format!("source {name}");
        let Err(why) = taken else {
            self.with.observe.clear(&subject, NOT_TAKEN);
            return true;
        };
        let goes_on = match (&why, self.running.iter().any(|of| of.section.name == name)) {
            (NotOpen::Changed(_), _) => NOT_USABLE,
            (_, true) => "it cannot be as the configuration says now, and goes on as it was",
            (_, false) => "it cannot be opened, and is tried again",
        };
        let (NotOpen::Changed(why) | NotOpen::Credentials(why) | NotOpen::Place(why)) = why;
        let what = format!("{goes_on}: {why}");
        self.with.observe.raise(&subject, NOT_TAKEN, &what);
        false
    }

    /// Opens one with `credentials`, or with what their files hold now.
    async fn open(
        &self,
        section: &Section,
        credentials: Option<Credentials>,
    ) -> Result<Opened, NotOpen> {
        let name = &section.name;
        let credentials = match credentials {
            Some(credentials) => credentials,
            None => section
                .kind
                .credentials()
                .map_err(|why| NotOpen::Credentials(format!("source {name}: {why}")))?,
        };
        let (credentials, seen) = watch::channel(credentials);
        let (stop, stopping) = watch::channel(false);
        let running = self.running.iter().find(|of| of.section.name == *name);
        let metrics = running.map(|of| of.metrics.clone());
        let metrics = metrics.unwrap_or_else(|| self.families.of(name));
        let opening = Opening {
            name,
            gateway_id: &self.with.gateway_id,
            inlet: self.with.inlet.clone(),
            log: self.with.log.clone(),
            store: self.with.store.clone(),
            devices: Arc::clone(&self.devices),
            observe: Arc::clone(&self.with.observe),
            metrics: metrics.clone(),
            credentials: seen,
            may_wait: !self.is_started,
            stop: stopping,
        };
        Ok(Opened {
            task: section.kind.open(opening).await.map_err(NotOpen::Place)?,
            source: RunningSource {
                section: section.clone(),
                metrics,
                credentials,
                stop,
            },
        })
    }

    fn spawn(&mut self, tasks: &mut Tasks, opened: Opened) {
        tasks.spawn(task_of(&opened.source.section.name), opened.task);
        self.running.push(opened.source);
    }

    /// Ends those of these names; what they have not acknowledged is offered again by its senders.
    async fn end(&mut self, tasks: &mut Tasks, names: &[String]) {
        let is_one = |of: &mut RunningSource| names.contains(&of.section.name);
        let ending: Vec<RunningSource> = self.running.extract_if(.., is_one).collect();
        for source in &ending {
            source.stop.send_replace(true);
        }
        let names: Vec<String> = names.iter().map(|name| task_of(name)).collect();
        for failed in tasks.end(&names, SOURCES_MAX).await {
            let why = failed.result.err().unwrap_or_default();
            tracing::warn!(task = failed.task, "it ended before it was told to: {why}");
        }
        for source in ending {
            source.metrics.begin_anew();
        }
    }

    fn tell_looked_at(&self) {
        let running = self.running.iter();
        let all = running.map(|of| (of.section.kind.has_port(), of.metrics.clone()));
        let mut looked_at = self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *looked_at = all.collect();
    }

    /// Tells all of them to end.
    pub(super) fn stop(&self) {
        for source in &self.running {
            source.stop.send_replace(true);
        }
    }

    /// The sections that run.
    pub(super) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.running.iter().map(|of| &of.section)
    }

    /// How each of them is, whenever it is looked.
    pub(super) fn status(&self) -> Vec<Named<SourceStatus>> {
        let named = self.running.iter().map(|of| {
            let (section, metrics) = (of.section.clone(), of.metrics.clone());
            let name = section.name.clone();
            let read = move |now| status(&section, &metrics, now);
            (name, Box::new(read) as Box<_>)
        });
        named.collect()
    }
}

fn task_of(name: &str) -> String {
    format!("source {name}")
}

fn status(source: &Section, metrics: &SourceMetrics, now: Now) -> SourceStatus {
    let (events, refused, malformed, connections) = metrics.counts();
    let state = metrics.state();
    let lasts = now.instant.saturating_duration_since(state.since);
    let joined = source.kind.waits_for_device() && connections > 0;
    SourceStatus {
        name: source.name.clone(),
        kind: source.kind.name().into(),
        state: if joined { "connected" } else { state.word }.into(),
        up: state.is_up,
        since_ms: lasts.as_millis() as u64,
        events,
        refused: refused + malformed,
        connections: connections.max(0) as u64,
        notes: source
            .kind
            .notes()
            .iter()
            .map(|&note| note.into())
            .collect(),
        last_error: state.last_error,
        refused_lines: metrics.refused_lines(),
    }
}
