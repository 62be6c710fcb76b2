//! One gateway: started in the order of what leads to what, watched over, and stopped in the
//! order of an event's way.

mod audit;
mod credentials;
mod reload;
mod way;

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_store::Store;
use tokio::sync::{mpsc, watch};

use super::config::Config;
use super::config::in_force::InForce;
use super::event_store::opening::{Opened, Telling};
use super::event_store::recall::recall;
use super::health::HealthWatch;
use super::pipeline::channels::{ChangeChannels, IntakeChannels, IntakeReceivers};
use super::pipeline::{Pipeline, PipelineContext};
use super::rules::LoadedRules;
use super::rules::keeper::RulesOrders;
use super::signals::{self, Signals};
use super::sources::{SOURCES_MAX, Sources, SourcesContext};
use super::tasks::Tasks;
use super::update::readiness;
use super::upstreams::lanes::Lanes;
use super::upstreams::{Upstreams, UpstreamsContext};
use super::{RunError, event_store, systemd};
use crate::config::WhenTooMany;
use crate::control::{Answers, ApiContext, ReloadRequest};
use crate::event::committed_log::CommittedLog;
use crate::event::dead_letter::letters::{Bounds, Letters};
use crate::event::inlet::Inlet;
use crate::event::way::Way;
use crate::intake::dedup::Dedup;
use crate::intake::evaluator::Evaluator;
use crate::intake::mint::StartMark;
use crate::intake::pacing::Pacing;
use crate::intake::{Inputs, Redrive, Settings};
use crate::observe::Observe;
use crate::observe::log::repeats::Repeats;
use crate::run::update::standing::Standing;
use crate::time::clock;
use crate::time::task;
use audit::Auditor;
use credentials::CredentialsWatch;
use reload::Told;

/// How often it is tried again what could not be taken of a configuration.
const AGAIN: Duration = Duration::from_secs(5);

/// How long an end may take beyond `shutdown_max` once something panicked.
const LAST_RESORT: Duration = Duration::from_secs(30);

/// A gateway that runs.
pub(super) struct Gateway {
    /// As it runs; [`Gateway::reload`] puts another in its place.
    config: Arc<Config>,
    /// As it started: what was changed since then of what needs a restart.
    started_with: Arc<Config>,
    store: Store,
    observe: Arc<Observe>,
    api: Arc<ApiContext>,
    tasks: Tasks,
    sources: Sources,
    upstreams: Upstreams,
    upstreams_context: UpstreamsContext,
    rules: RulesOrders,
    lanes: Lanes,
    credentials: CredentialsWatch,
    in_force: Arc<InForce>,
    /// Who asks for a reload over the control socket.
    reloads: mpsc::Receiver<ReloadRequest>,
    /// Something could not be taken and is tried again.
    is_behind: bool,
    stop_sources: watch::Sender<bool>,
    stop_upstreams: watch::Sender<bool>,
    pipeline: Pipeline,
    held_back: Repeats,
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
        let loaded = LoadedRules::load(&config, &lanes, &store)?;
        let start = StartMark::draw().map_err(RunError::Bind)?;
        let channels = IntakeChannels::open(&observe);
        let way = way::open(&config, &store, &start);
        let log = CommittedLog::of_start(store.clone(), way.mark());
        let letters = Letters::new(store.clone(), bounds(&config));
        let mut upstreams = Upstreams::new(&observe, &lanes, &store, started);
        let (settings, inputs) =
            for_intake(&config, start, &way, &log, &loaded, channels.receivers);
        let context = PipelineContext {
            config: &config,
            store: &store,
            log: &log,
            letters: &letters,
            observe: &observe,
        };
        let dedup = recalled(&config, &store, &answers).await?;
        answers.nearly_there();
        let counts = upstreams.counts();
        let pipeline = Pipeline::start(&context, writer, settings, inputs, dedup, counts, started)?;
        let (stop_sources, stopping) = watch::channel(false);
        let stop = stop_upstreams.subscribe();
        let (api, reloads) = api(&context, &loaded, &pipeline, channels.redrive, started);
        let upstreams_context = upstreams_context(&context, &pipeline, way);
        upstreams.start(&mut tasks, &upstreams_context, &stop)?;
        let mut sources = sources(&context, channels.inlet);
        sources.start(&mut tasks, &config).await?;
        let api = Arc::new(api.with_dead_letter_lane(upstreams.dead_letters_status(&store)));
        api.set_upstreams(upstreams.status(&upstreams_context));
        api.set_sources(sources.status());
        answers.open(Arc::clone(&api));
        let in_force = audited(&context, &loaded, channels.changes, &mut tasks, &stop);
        let folder = config.gateway.rules.as_deref();
        let rules = loaded.watch(folder, &mut tasks, &observe, &in_force, &stopping);
        let credentials = CredentialsWatch::start(&mut tasks, &stopping);
        let mut gateway = Gateway {
            started_with: Arc::clone(&config),
            in_force,
            config,
            store,
            observe,
            api,
            tasks,
            sources,
            upstreams,
            upstreams_context,
            rules,
            lanes,
            credentials,
            reloads,
            is_behind: false,
            stop_sources,
            stop_upstreams,
            pipeline,
            held_back,
        };
        gateway.look_after(quarantined, &stopping, stop);
        Ok(gateway)
    }

    /// Starts what looks at all that runs.
    fn look_after(
        &mut self,
        quarantined: HashSet<String>,
        stopping: &watch::Receiver<bool>,
        stop: watch::Receiver<bool>,
    ) {
        let counted = self.upstreams.counted();
        let Gateway {
            config,
            observe,
            api,
            tasks,
            ..
        } = self;
        let health = HealthWatch::new(config, observe, api, &self.held_back, counted);
        look_after(tasks, health, Arc::clone(api), stop);
        watch_store(tasks, &self.store, quarantined, observe, stopping);
        self.credentials.watch(&self.sources, &self.upstreams);
    }
}

/// What is in force, with the audit of what changed it since the last run.
fn audited(
    of: &PipelineContext<'_>,
    rules: &LoadedRules,
    changes: ChangeChannels,
    tasks: &mut Tasks,
    stop: &watch::Receiver<bool>,
) -> Arc<InForce> {
    let in_force = Arc::new(InForce::open(of.store));
    in_force.settle(of.config, rules.files(), None);
    let auditor = Auditor {
        in_force: Arc::clone(&in_force),
        observe: Arc::clone(of.observe),
        offers: changes.audits,
        awaited: changes.awaited,
    };
    tasks.spawn("audit", auditor.run(stop.clone()));
    in_force
}

fn upstreams_context(of: &PipelineContext<'_>, pipeline: &Pipeline, way: Way) -> UpstreamsContext {
    UpstreamsContext {
        config: Arc::clone(of.config),
        store: of.store.clone(),
        letters: of.letters.clone(),
        observe: Arc::clone(of.observe),
        durable: pipeline.durable.clone(),
        times: pipeline.times.clone(),
        way,
        expiry: of.log.expiry().clone(),
    }
}

fn sources(of: &PipelineContext<'_>, inlet: Inlet) -> Sources {
    Sources::new(SourcesContext {
        gateway_id: of.config.gateway.id.clone(),
        inlet,
        log: of.log.clone(),
        store: of.store.clone(),
        observe: Arc::clone(of.observe),
    })
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

/// The API over what is held: the store, the log, the dead letters, the rules; and who asks over it for a reload.
fn api(
    of: &PipelineContext<'_>,
    rules: &LoadedRules,
    pipeline: &Pipeline,
    redrive: mpsc::Sender<Redrive>,
    started: Instant,
) -> (ApiContext, mpsc::Receiver<ReloadRequest>) {
    let status = rules.status.subscribe();
    let (reload, reloads) = mpsc::channel(1);
    let api = ApiContext::new(
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
    .with_redrive(redrive)
    .with_reload(reload);
    (api, reloads)
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
    let recalled = task::blocking("the reading of the last events", move || {
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
        audits: receivers.audits,
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
    /// Runs until it is told to end, then takes everything apart in the order of an event's way; told once more,
    /// it ends at once.
    pub(super) async fn run_until(
        mut self,
        mut signals: Signals,
        standing: &Arc<Standing>,
    ) -> Result<(), RunError> {
        match readiness::leave_mark(standing, &self.observe, &mut signals).await {
            Ok(true) => {}
            Ok(false) => return self.take_apart(None).await,
            Err(why) => {
                let ended = Some(("the mark of readiness".to_owned(), why));
                return self.take_apart(ended).await;
            }
        }
        if let Some(begin) = self.pipeline.begin.take() {
            let _ = begin.send(());
        }
        systemd::ready(&self.config.gateway.id);
        tracing::info!(
            gateway = self.config.gateway.id,
            version = env!("CARGO_PKG_VERSION"),
            config = %self.config.path.display(),
            sources = self.config.sources.len(),
            upstreams = self.config.upstreams.len(),
            "ready"
        );
        let ended = self.watch_over(&mut signals).await;
        if ended.is_some() {
            // The first signal tells what is done already.
            let end = self.take_apart(ended);
            tokio::pin!(end);
            tokio::select! {
                ended = &mut end => return ended,
                () = signals.end() => {}
            }
            return tokio::select! {
                ended = end => ended,
                () = signals.end() => Err(RunError::EndedAtOnce),
            };
        }
        tokio::select! {
            ended = self.take_apart(ended) => ended,
            () = signals.end() => Err(RunError::EndedAtOnce),
        }
    }

    async fn take_apart(mut self, mut ended: EndedByItself) -> Result<(), RunError> {
        systemd::stopping(self.config.gateway.shutdown_max);
        tracing::info!("stopping: sources first, then what is in flight");
        self.observe.tell_refusals();
        self.stop_sources.send_replace(true);
        self.sources.stop();
        end_all(&mut self.tasks, "source", SOURCES_MAX, &mut ended).await;
        drop(self.pipeline.begin);
        // With the last way into the intake it knows that nothing more comes.
        drop(self.sources);
        join_thread("intake", self.pipeline.intake_thread, &mut ended).await;
        self.upstreams.stop();
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
        match ended.or_else(task::has_panicked) {
            None => Ok(()),
            Some((task, why)) => Err(RunError::EndedByItself { task, why }),
        }
    }

    /// Does what it is told until it is told to end, or something ends by itself.
    async fn watch_over(&mut self, signals: &mut Signals) -> EndedByItself {
        let mut check = tokio::time::interval(Duration::from_millis(500));
        let mut again = tokio::time::interval(AGAIN);
        loop {
            let told = tokio::select! {
                told = signals.next() => match told {
                    signals::Told::End => return None,
                    signals::Told::Reload => Told::Reload(None),
                },
                Some(request) = self.reloads.recv() => Told::Reload(Some(request)),
                () = self.credentials.changed() => Told::Credentials,
                _ = again.tick(), if self.is_behind => Told::Again,
                found = task::panicked() => {
                    task::end_within(self.config.gateway.shutdown_max + LAST_RESORT);
                    return Some(found);
                }
                Some(exit) = self.tasks.next() => {
                    if let Some(found) = task::has_panicked() {
                        task::end_within(self.config.gateway.shutdown_max + LAST_RESORT);
                        return Some(found);
                    }
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
                    continue;
                }
            };
            // What is half done then is taken apart like all else: nothing depends on it.
            tokio::select! {
                () = signals.end() => return None,
                () = self.obey(told) => {}
            }
        }
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
    let joined = task::blocking("the end of a thread", move || thread.join().is_ok()).await;
    if !joined.unwrap_or(false) {
        ended.get_or_insert((name.into(), "it panicked".into()));
    }
}
