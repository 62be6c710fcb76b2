//! One gateway: started in the order of what leads to what, watched over, and stopped in the
//! order of an event's way.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_store::Store;
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use super::config::Config;
use super::config::in_force::InForce;
use super::event_store::opening::{Opened, Telling};
use super::event_store::recall::recall;
use super::health::HealthWatch;
use super::lanes::Lanes;
use super::pipeline::channels::{IntakeChannels, IntakeReceivers};
use super::pipeline::{Pipeline, PipelineContext};
use super::rules::LoadedRules;
use super::sources::{self, SourcesContext};
use super::tasks::Tasks;
use super::upstreams::{self, UpstreamsContext};
use super::{RunError, event_store, systemd, way};
use crate::config::WhenTooMany;
use crate::control::{Answers, ApiContext};
use crate::event::committed_log::CommittedLog;
use crate::event::dead_letter::letters::{Bounds, Letters};
use crate::event::way::Way;
use crate::intake::dedup::Dedup;
use crate::intake::evaluator::Evaluator;
use crate::intake::mint::StartMark;
use crate::intake::pacing::Pacing;
use crate::intake::{Inputs, Settings};
use crate::observe::Observe;
use crate::observe::forward::LaneMetrics;
use crate::observe::intake::LaneCounts;
use crate::observe::log::repeats::Repeats;
use crate::time::clock;

/// How long sources may take to say goodbye to their clients.
const SOURCES_MAX: Duration = Duration::from_secs(5);

/// A gateway that runs.
pub(super) struct Gateway {
    config: Arc<Config>,
    store: Store,
    tasks: Tasks,
    stop_sources: watch::Sender<bool>,
    stop_upstreams: watch::Sender<bool>,
    pipeline: Pipeline,
    held_back: Repeats,
    observe: Arc<Observe>,
}

impl Gateway {
    /// Starts everything over the store.
    ///
    /// # Errors
    /// The first thing that could not be opened.
    pub(super) async fn start(
        config: Arc<Config>,
        held_back: Repeats,
        opened: Opened,
    ) -> Result<Gateway, RunError> {
        let (store, observe, writer) = (opened.store, opened.observe, opened.writer);
        let (answers, mut tasks, started) = (opened.answers, opened.tasks, opened.started);
        let stop_upstreams = opened.stop_upstreams;
        let quarantined = event_store::watch::quarantined_before(&store);
        register(&observe, &store);
        let lanes = Lanes::open(&config, &store)?;
        let rules = LoadedRules::load(&config, &lanes, &store)?;
        let start = StartMark::draw().map_err(RunError::Bind)?;
        let channels = IntakeChannels::open(&observe);
        let way = way::open(&config, &store, &start);
        let log = CommittedLog::of_start(store.clone(), way.mark());
        let letters = Letters::new(store.clone(), bounds(&config));
        let lane_metrics = upstreams::metrics(&observe, &lanes, &config, &store, started);
        let (settings, inputs) = for_intake(&config, start, &way, &log, &rules, channels.receivers);
        let context = PipelineContext {
            config: &config,
            store: &store,
            log: &log,
            letters: &letters,
            observe: &observe,
        };
        let dedup = recalled(&config, &store, &answers).await?;
        answers.nearly_there();
        let counts = counts(&lanes, &lane_metrics);
        let pipeline = Pipeline::start(&context, writer, settings, inputs, dedup, counts, started)?;
        let (stop_sources, stopping) = watch::channel(false);
        let stop_forward = stop_upstreams.subscribe();
        let api = api(&context, &rules, &pipeline, started).with_redrive(channels.redrive);
        let with = UpstreamsContext {
            config: &config,
            store: &store,
            lanes: &lanes,
            letters: &letters,
            observe: &observe,
            pipeline: &pipeline,
            stop: &stop_forward,
            way: &way,
        };
        let api = upstreams::spawn(&mut tasks, &with, &lane_metrics, api)?;
        let with = SourcesContext {
            config: &config,
            inlet: channels.inlet,
            log: &log,
            store: &store,
            observe: &observe,
            stop: &stopping,
        };
        let api = Arc::new(sources::spawn(&mut tasks, with, api).await?);
        let named = lanes.destinations.names().zip(&lane_metrics);
        let health = HealthWatch::new(&config, &observe, &api, &held_back, named);
        answers.open(Arc::clone(&api));
        look_after(&mut tasks, health, api, stop_forward);
        watch_store(&mut tasks, &store, quarantined, &observe, &stopping);
        watch_rules(rules, &config, &store, &mut tasks, &observe, &stopping);
        Ok(Gateway {
            config,
            store,
            tasks,
            stop_sources,
            stop_upstreams,
            pipeline,
            held_back,
            observe,
        })
    }
}

/// What looks at all others: for the troubles, and for the service manager.
fn look_after(
    tasks: &mut Tasks,
    health: HealthWatch,
    api: Arc<ApiContext>,
    stop: watch::Receiver<bool>,
) {
    tasks.spawn("health", health.run(stop.clone()));
    tasks.spawn("watchdog", watchdog(api, stop));
}

/// Tells what changed since the last run, and watches the rules from now on.
fn watch_rules(
    rules: LoadedRules,
    config: &Config,
    store: &Store,
    tasks: &mut Tasks,
    observe: &Arc<Observe>,
    stop: &watch::Receiver<bool>,
) {
    let in_force = InForce::open(store, observe);
    in_force.settle(config, rules.files(), None);
    let folder = config.gateway.rules.as_deref();
    rules.watch(folder, tasks, observe, in_force, stop);
}

fn watch_store(
    tasks: &mut Tasks,
    store: &Store,
    quarantined: HashSet<String>,
    observe: &Arc<Observe>,
    stop: &watch::Receiver<bool>,
) {
    let (watched, told) = (store.clone(), Arc::clone(observe));
    let watch = event_store::watch::run(watched, quarantined, told, stop.clone());
    tasks.spawn("store watch", watch);
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        max: config.dead_letters.max,
        max_size_bytes: config.dead_letters.max_size_bytes,
        drops: config.dead_letters.when_full == WhenTooMany::Drop,
    }
}

fn counts(lanes: &Lanes, metrics: &[Arc<LaneMetrics>]) -> LaneCounts {
    let ids = lanes.ids.iter().copied();
    ids.zip(metrics.iter().cloned()).collect()
}

/// The API over what is held: the store, the log, the dead letters, the rules.
fn api(
    of: &PipelineContext<'_>,
    rules: &LoadedRules,
    pipeline: &Pipeline,
    started: Instant,
) -> ApiContext {
    let status = rules.status.subscribe();
    ApiContext::new(
        of.config.gateway.id.clone(),
        started,
        Arc::clone(of.observe),
    )
    .with_store(of.store.clone(), of.config.gateway.store_dir())
    .with_log(of.log.clone())
    .with_letters(of.letters.clone())
    .with_intake(pipeline.report())
    .with_wear(Arc::clone(&pipeline.wear))
    .with_rules_report(pipeline.rules_report())
    .with_rules(move || status.borrow().clone())
}

/// The metrics of what is there before anything runs.
fn register(observe: &Observe, store: &Store) {
    crate::observe::process::register(observe);
    crate::observe::store::register(observe, store.clone());
}

/// The dedup filled from the log, which may take a while.
async fn recalled(
    config: &Arc<Config>,
    store: &Store,
    answers: &Answers,
) -> Result<Dedup, RunError> {
    let (config, store, mut telling) = (
        Arc::clone(config),
        store.clone(),
        Telling::new(answers.clone()),
    );
    let recalled = tokio::task::spawn_blocking(move || {
        let gateway = &config.gateway;
        recall(&store, &gateway.id, gateway.dedup_window, &mut telling)
    });
    let failed = |error| RunError::Store(format!("the last events cannot be read: {error}"));
    recalled.await.map_err(failed)
}

/// What the intake is told and what it reads.
fn for_intake(
    config: &Config,
    start: StartMark,
    way: &Way,
    log: &CommittedLog,
    rules: &LoadedRules,
    receivers: IntakeReceivers,
) -> (Settings, Inputs) {
    let settings = Settings {
        gateway_id: config.gateway.id.as_str().into(),
        start,
        pacing: Pacing::new(config.store.commit_delay, config.store.commit_delay_max),
        way: way.clone(),
        expiry: log.expiry().clone(),
    };
    let inputs = Inputs {
        offers: receivers.offers,
        system: receivers.system,
        redrives: receivers.redrives,
        rules: Evaluator::new(rules.active.subscribe()).of_gateway(&config.gateway.id),
    };
    (settings, inputs)
}

async fn watchdog(api: Arc<ApiContext>, stop: watch::Receiver<bool>) -> Result<(), String> {
    systemd::watchdog(|| api.is_alive(clock::now()), stop).await;
    Ok(())
}

/// The first task or thread that ended although nobody asked it to: its name, and what it said.
type EndedByItself = Option<(String, String)>;

impl Gateway {
    /// Runs until `terminate` or Ctrl-C, then takes everything apart in the order of an event's way.
    pub(super) async fn run_until(mut self, terminate: Signal) -> Result<(), RunError> {
        systemd::ready(&self.config.gateway.id);
        tracing::info!(
            gateway = self.config.gateway.id,
            version = env!("CARGO_PKG_VERSION"),
            config = %self.config.path.display(),
            sources = self.config.sources.len(),
            upstreams = self.config.upstreams.len(),
            "ready"
        );
        let mut ended = self.watch_over(terminate).await;
        systemd::stopping(self.config.gateway.shutdown_max);
        tracing::info!("stopping: sources first, then what is in flight");
        self.observe.tell_refusals();
        self.stop_sources.send_replace(true);
        self.join("source", SOURCES_MAX, &mut ended).await;
        join_thread("intake", self.pipeline.intake_thread, &mut ended).await;
        self.stop_upstreams.send_replace(true);
        let grace = self.config.gateway.shutdown_max + SOURCES_MAX;
        let mut tasks = self.tasks;
        end_all(&mut tasks, "", grace, &mut ended).await;
        drop(tasks);
        self.pipeline.finish.send_replace(true);
        join_thread("commit", self.pipeline.commit_thread, &mut ended).await;
        self.held_back.write_rest(clock::monotonic());
        let lanes = self.store.lanes().into_iter();
        let waiting: u64 = lanes.map(|lane| self.store.backlog(lane.id).events).sum();
        tracing::info!(waiting, "stopped");
        match ended {
            None => Ok(()),
            Some((task, why)) => Err(RunError::EndedByItself { task, why }),
        }
    }

    /// Waits for a signal, or for something to end by itself.
    async fn watch_over(&mut self, mut terminate: Signal) -> EndedByItself {
        let mut check = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = terminate.recv() => return None,
                _ = tokio::signal::ctrl_c() => return None,
                Some(exit) = self.tasks.next() => {
                    let why = exit.result.err().unwrap_or_else(|| "it returned".into());
                    return Some((exit.task, why));
                }
                _ = check.tick() => {
                    if self.pipeline.intake_thread.is_finished() {
                        return Some(("intake".into(), "its thread is gone".into()));
                    }
                    if self.pipeline.commit_thread.is_finished() {
                        return Some(("commit".into(), "its thread is gone".into()));
                    }
                }
            }
        }
    }

    async fn join(&mut self, prefix: &str, within: Duration, ended: &mut EndedByItself) {
        end_all(&mut self.tasks, prefix, within, ended).await;
    }
}

/// Waits for all tasks whose names start with `prefix`; what takes too long is left behind.
async fn end_all(tasks: &mut Tasks, prefix: &str, within: Duration, ended: &mut EndedByItself) {
    let deadline = tokio::time::sleep(within);
    tokio::pin!(deadline);
    while tasks.running(prefix) {
        tokio::select! {
            () = &mut deadline => return tracing::warn!("some tasks did not end in time and are left behind"),
            exit = tasks.next() => {
                if let Some(exit) = exit
                    && let Err(why) = exit.result
                {
                    ended.get_or_insert((exit.task, why));
                }
            }
        }
    }
}

async fn join_thread<T: Send + 'static>(
    name: &str,
    thread: JoinHandle<T>,
    ended: &mut EndedByItself,
) {
    let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
    if !joined.unwrap_or(false) {
        ended.get_or_insert((name.into(), "it panicked".into()));
    }
}
