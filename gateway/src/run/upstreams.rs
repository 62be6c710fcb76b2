//! Every configured upstream, joined to its lane and spawned; others take their places while the
//! gateway runs.

pub(super) mod lanes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_rules::decision::Destinations;
use tidegate_store::{LaneId, Sequence, Store};
use tokio::sync::{mpsc, watch};

use super::RunError;
use super::config::difference::{Difference, NOT_USABLE, difference};
use super::config::{Config, UpstreamKind};
use super::tasks::Tasks;
use crate::config::{Backfill, LaneSettings, UpstreamSection};
use crate::control::Named;
use crate::event::committed_log::CommitTimes;
use crate::event::dead_letter::letters::Letters;
use crate::event::delivery::expiry::ExpiryClock;
use crate::event::way::Way;
use crate::forward::to_dead_letters::ToDeadLetters;
use crate::forward::{LaneContext, Successor, forward, forward_by_turns};
use crate::observe::Observe;
use crate::observe::forward::{LaneFamilies, LaneMetrics};
use crate::observe::intake::LaneCounts;
use crate::observe::status::UpstreamStatus;
use crate::time::clock::{self, Now};
use crate::upstream::AnyUpstream;
use crate::upstream::open::Opening;
use lanes::Lanes;

/// Successors that an upstream has not taken yet.
const SUCCESSORS_MAX: usize = 16;
/// How much longer than it should an upstream may take to end.
const END_MAX: Duration = Duration::from_secs(5);
/// The troubles of an upstream that cannot be as the configuration says.
pub(super) const NOT_TAKEN: &str = "configuration";

type Section = UpstreamSection<UpstreamKind>;
/// The lanes by name, with what counts them.
pub(super) type CountedLanes = Arc<Mutex<Vec<(String, Arc<LaneMetrics>)>>>;

/// What all upstreams are opened with.
pub(super) struct UpstreamsContext {
    pub(super) config: Arc<Config>,
    pub(super) store: Store,
    pub(super) letters: Letters,
    pub(super) observe: Arc<Observe>,
    pub(super) durable: watch::Receiver<Sequence>,
    pub(super) times: CommitTimes,
    pub(super) way: Way,
    pub(super) expiry: ExpiryClock,
}

/// One upstream with its lane.
struct UpstreamLane {
    name: String,
    id: LaneId,
    metrics: Arc<LaneMetrics>,
    /// None where it could not be opened: its events wait.
    running: Option<RunningUpstream>,
}

struct RunningUpstream {
    section: Section,
    stop: watch::Sender<bool>,
    successors: mpsc::Sender<Successor<AnyUpstream>>,
}

/// All upstreams, in the order of the configuration.
pub(super) struct Upstreams {
    families: LaneFamilies,
    dead_letters: (LaneId, Arc<LaneMetrics>),
    lanes: Vec<UpstreamLane>,
    counted: CountedLanes,
}

impl Upstreams {
    /// The lanes of a start, with nothing that forwards them yet.
    pub(super) fn new(observe: &Arc<Observe>, lanes: &Lanes, store: &Store, now: Instant) -> Self {
        let families = LaneFamilies::register(observe);
        let name = Destinations::DEAD_LETTER;
        let id = lanes.id(name).unwrap_or_default();
        let metrics = families.of(name, store.backlog(id).events, now);
        let mut upstreams = Upstreams {
            families,
            dead_letters: (id, Arc::new(metrics)),
            lanes: Vec::new(),
            counted: CountedLanes::default(),
        };
        upstreams.add_lanes(lanes, store, now);
        let counted = Arc::clone(&upstreams.counted);
        observe.look_at(move |observe, now| {
            let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, metrics) in counted.iter() {
                if name != Destinations::DEAD_LETTER {
                    metrics.health.look(observe, now.instant);
                }
            }
        });
        upstreams
    }

    /// Counts the lanes among these that are new.
    pub(super) fn add_lanes(&mut self, lanes: &Lanes, store: &Store, now: Instant) {
        for (name, id) in lanes.destinations.names().zip(&lanes.ids).skip(1) {
            if self.lanes.iter().any(|lane| lane.name == name) {
                continue;
            }
            let metrics = self.families.of(name, store.backlog(*id).events, now);
            self.lanes.push(UpstreamLane {
                name: name.to_owned(),
                id: *id,
                metrics: Arc::new(metrics),
                running: None,
            });
        }
        self.tell_lanes();
    }

    fn tell_lanes(&self) {
        let (_, metrics) = &self.dead_letters;
        let aside = (Destinations::DEAD_LETTER.to_owned(), Arc::clone(metrics));
        let lanes = self.lanes.iter();
        let lanes = lanes.map(|lane| (lane.name.clone(), Arc::clone(&lane.metrics)));
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        *counted = std::iter::once(aside).chain(lanes).collect();
    }

    /// The lanes there are, whenever it is looked.
    pub(super) fn counted(&self) -> CountedLanes {
        Arc::clone(&self.counted)
    }

    /// Where the routes of each lane are counted.
    pub(super) fn counts(&self) -> LaneCounts {
        let (id, metrics) = &self.dead_letters;
        let aside = (*id, Arc::clone(metrics));
        let lanes = self.lanes.iter();
        let lanes = lanes.map(|lane| (lane.id, Arc::clone(&lane.metrics)));
        std::iter::once(aside).chain(lanes).collect()
    }

    /// Spawns a forwarder for the dead letters and for every upstream.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub(super) fn start(
        &mut self,
        tasks: &mut Tasks,
        with: &UpstreamsContext,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), RunError> {
        let (id, metrics) = &self.dead_letters;
        let name = Destinations::DEAD_LETTER;
        let context = with.context(name, *id, for_dead_letters(), metrics);
        let upstream = ToDeadLetters::new(with.letters.clone(), clock::unix_ms);
        let forwarding = forward(upstream, context, stop.clone());
        tasks.spawn(task_of(name), forwarding);
        for section in &with.config.upstreams {
            let opened = with.open(section).map_err(RunError::Bind)?;
            self.spawn(tasks, with, section, opened);
        }
        Ok(())
    }

    /// Makes them what `with` says now; what cannot be is told as a trouble, and stays as it is. Whether
    /// all is so.
    pub(super) async fn take(&mut self, tasks: &mut Tasks, with: &UpstreamsContext) -> bool {
        let wanted = &with.config.upstreams;
        let (mut ending, mut opened, mut all_taken) = (Vec::new(), Vec::new(), true);
        for section in wanted {
            let running = self.running(&section.name);
            let before = running.as_ref().map(|running| &running.section);
            let differs = before.map(|before| difference(before, section));
            let taken = match (differs, running) {
                (Some(Difference::None), _) => Ok(()),
                (Some(Difference::Credentials), Some(running)) => running.renew(section, with),
                _ => with.open(section).map(|upstream| {
                    opened.push((section, upstream));
                    ending.push(section.name.clone());
                }),
            };
            let is_new = differs.is_none();
            all_taken &= tell(&with.observe, &section.name, is_new, taken);
        }
        let is_wanted =
            |lane: &UpstreamLane| wanted.iter().any(|section| section.name == lane.name);
        let gone = self.lanes.extract_if(.., |lane| !is_wanted(lane));
        let gone: Vec<UpstreamLane> = gone.collect();
        ending.extend(gone.iter().map(|lane| lane.name.clone()));
        let running = self
            .lanes
            .iter()
            .chain(&gone)
            .filter(|lane| ending.contains(&lane.name));
        for running in running.filter_map(|lane| lane.running.as_ref()) {
            running.stop.send_replace(true);
        }
        let names: Vec<String> = ending.iter().map(|name| task_of(name)).collect();
        let within = with.config.gateway.shutdown_max + END_MAX;
        for failed in tasks.end(&names, within).await {
            let why = failed.result.err().unwrap_or_default();
            tracing::warn!(task = failed.task, "it ended before it was told to: {why}");
        }
        for lane in self.lanes.iter().filter(|lane| ending.contains(&lane.name)) {
            lane.metrics.health.begin_anew(clock::monotonic());
        }
        for lane in &gone {
            self.families.remove(&lane.name);
            with.observe
                .clear_subject(&format!("upstream {}", lane.name));
        }
        for (section, upstream) in opened {
            self.spawn(tasks, with, section, upstream);
        }
        let place = |lane: &UpstreamLane| wanted.iter().position(|of| of.name == lane.name);
        self.lanes.sort_by_key(place);
        self.tell_lanes();
        all_taken
    }

    fn running(&mut self, name: &str) -> Option<&mut RunningUpstream> {
        let lane = self.lanes.iter_mut().find(|lane| lane.name == name)?;
        lane.running.as_mut()
    }

    fn spawn(
        &mut self,
        tasks: &mut Tasks,
        with: &UpstreamsContext,
        section: &Section,
        upstream: AnyUpstream,
    ) {
        let name = &section.name;
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.name == *name) else {
            return;
        };
        let mut context = with.context(name, lane.id, section.lane.clone(), &lane.metrics);
        let timeout = &mut context.config.ack_timeout;
        *timeout = section.kind.ack_timeout_min().max(*timeout);
        let (stop, stopping) = watch::channel(false);
        let (successors, coming) = mpsc::channel(SUCCESSORS_MAX);
        let forwarding = forward_by_turns(upstream, context, stopping, coming);
        tasks.spawn(task_of(name), forwarding);
        lane.running = Some(RunningUpstream {
            section: section.clone(),
            stop,
            successors,
        });
    }

    /// Tells all of them to end.
    pub(super) fn stop(&self) {
        for running in self.lanes.iter().filter_map(|lane| lane.running.as_ref()) {
            running.stop.send_replace(true);
        }
    }

    /// The sections that run.
    pub(super) fn sections(&self) -> impl Iterator<Item = &Section> {
        let running = self.lanes.iter().filter_map(|lane| lane.running.as_ref());
        running.map(|running| &running.section)
    }

    /// How the lane of the dead letters is, whenever it is looked.
    pub(super) fn dead_letters_status(
        &self,
        store: &Store,
    ) -> impl Fn(Now) -> UpstreamStatus + use<> {
        let (id, metrics) = &self.dead_letters;
        lane_status(store, *id, metrics)
    }

    /// How each of them is, whenever it is looked.
    pub(super) fn status(&self, with: &UpstreamsContext) -> Vec<Named<UpstreamStatus>> {
        let sections = with.config.upstreams.iter();
        let named = sections.filter_map(|section| {
            let lane = self.lanes.iter().find(|lane| lane.name == section.name)?;
            let kind = lane
                .running
                .as_ref()
                .map_or(&section.kind, |of| &of.section.kind);
            let (name, kind) = (lane.name.clone(), kind.name());
            let read = lane_status(&with.store, lane.id, &lane.metrics);
            let status = {
                let name = name.clone();
                move |now| UpstreamStatus {
                    name: name.clone(),
                    kind: kind.to_owned(),
                    ..read(now)
                }
            };
            Some((name, Box::new(status) as Box<_>))
        });
        named.collect()
    }
}

impl RunningUpstream {
    /// Has the next connection made with the certificates and secrets of `section`.
    fn renew(&mut self, section: &Section, with: &UpstreamsContext) -> Result<(), String> {
        let successor = Successor {
            upstream: with
                .open(section)
                .map_err(|why| format!("{NOT_USABLE}: {why}"))?,
            at_once: !section.kind.keeps_connection(),
        };
        let sent = self.successors.try_send(successor);
        sent.map_err(|_| "it has not taken those before yet".to_owned())?;
        self.section = section.clone();
        tracing::info!(
            upstream = section.name,
            "its certificates and secrets are read again"
        );
        Ok(())
    }
}

/// Tells whether an upstream is as the configuration says; gives that back.
fn tell(observe: &Observe, name: &str, is_new: bool, taken: Result<(), String>) -> bool {
    let subject = format!("upstream {name}");
    match &taken {
        Ok(()) => observe.clear(&subject, NOT_TAKEN),
        Err(why) => {
            let goes_on = match is_new {
                true => "it cannot be opened, and its events wait",
                false => "it cannot be as the configuration says now, and goes on as it was",
            };
            let what = match why.starts_with(NOT_USABLE) {
                true => why.clone(),
                false => format!("{goes_on}: {why}"),
            };
            observe.raise(&subject, NOT_TAKEN, &what);
        }
    }
    taken.is_ok()
}

fn task_of(name: &str) -> String {
    format!("upstream {name}")
}

/// How a lane is, whatever its name.
fn lane_status(
    store: &Store,
    id: LaneId,
    metrics: &Arc<LaneMetrics>,
) -> impl Fn(Now) -> UpstreamStatus + Send + Sync + use<> {
    let (store, metrics) = (store.clone(), Arc::clone(metrics));
    move |now| {
        let unix_ms = now.unix_ms.max(0) as u64;
        let waiting = || {
            let backlog = store.backlog(id);
            let oldest = backlog.oldest_time_ms;
            let oldest_ms = oldest.map(|time| unix_ms.saturating_sub(time));
            (backlog.events, backlog.bytes, oldest_ms)
        };
        UpstreamStatus::of_one_moment(|| metrics.status("", "", now.instant), waiting)
    }
}

impl UpstreamsContext {
    fn context(
        &self,
        name: &str,
        id: LaneId,
        config: LaneSettings,
        metrics: &Arc<LaneMetrics>,
    ) -> LaneContext {
        LaneContext {
            name: name.into(),
            id,
            config,
            store: self.store.clone(),
            letters: self.letters.clone(),
            durable: self.durable.clone(),
            times: self.times.clone(),
            observe: Arc::clone(&self.observe),
            metrics: Arc::clone(metrics),
            announced: name != Destinations::DEAD_LETTER,
            shutdown_max: self.config.gateway.shutdown_max,
            seed: fastrand::u64(..),
            mark: Some(Arc::clone(self.way.mark())),
        }
    }

    fn open(&self, upstream: &Section) -> Result<AnyUpstream, String> {
        let name = &upstream.name;
        let opened = upstream.kind.open(Opening {
            name,
            gateway_id: &self.config.gateway.id,
            way: &self.way,
            expiry: &self.expiry,
        });
        opened.map_err(|why| format!("upstream {name}: {why}"))
    }
}

/// The lane of the dead letters: local, so it needs no limits of its own.
fn for_dead_letters() -> LaneSettings {
    LaneSettings {
        backfill: Backfill::InOrder,
        live_weight: 1,
        inflight_max: 256,
        inflight_bytes_max: 4 * 1024 * 1024,
        rate_max: None,
        bandwidth_bytes_max: None,
        retry_min: Duration::from_millis(250),
        // Where they wait for room, somebody who makes some sees it used.
        retry_max: Duration::from_secs(5),
        refusals_max: u32::MAX,
        ack_timeout: Duration::from_secs(60),
    }
}
