//! The only spawner: puts the rooms together, watches over them, and takes them apart.
//!
//! Start: store → rules → intake and commit thread → upstreams → sources → control. Nothing
//! listens before what it leads to stands. Shutdown runs the way of an event: sources stop and
//! their channels close, the intake drains and commits, forwarders get `shutdown_max` to finish
//! what is in flight, the last cursors are written. A task that ends by itself stops the
//! gateway with its name; nothing dies silently.

mod lanes;
mod pipeline;
pub mod rules_folder;
mod sources;
mod store_watch;
pub mod systemd;
mod tasks;
mod upstreams;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_rules::diagnostic::Diagnostic;
use tidegate_rules::{Destinations, RuleFile};
use tidegate_store::{Commit, Store, Writer};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::{self, Config};
use crate::control::{ApiContext, Control};
use crate::event::inlet::{Inlet, Offer};
use crate::event::live_feed::LiveFeed;
use crate::intake::evaluator::{ActiveRules, Evaluator};
use crate::intake::pacing::Pacing;
use crate::intake::{Inputs, Redrive, Settings};
use crate::observe::status::RulesStatus;
use crate::observe::{Observe, SystemEvent};
use crate::time::clock;
use lanes::Lanes;
use pipeline::{Ground, Pipeline};
use rules_folder::RulesFolder;
use tasks::Tasks;

/// Batches of arrivals under way between sources and intake.
const BATCHES_MAX: usize = 1024;
/// Payload bytes under way between sources and intake.
const INLET_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// System events waiting for the intake.
const SYSTEM_EVENTS_MAX: usize = 256;
/// Dead letters on their way back at once.
const REDRIVES_MAX: usize = 64;
/// How long sources may take to say goodbye to their clients.
const SOURCES_MAX: Duration = Duration::from_secs(5);
/// The mark that counts starts.
const BOOT_MARK: &[u8] = b"gateway/boot";

/// Why the gateway did not start, or stopped by itself.
#[derive(Debug)]
pub enum RunError {
    /// The data directory cannot be used; the message says what to do.
    Store(String),
    /// The rules have mistakes: all of them, with the files they are in.
    Rules(Vec<Diagnostic>, Vec<RuleFile>),
    /// The rules folder cannot be read.
    Folder(rules_folder::FolderError),
    /// A source or the control socket could not be opened.
    Bind(String),
    /// A task or thread ended although nobody asked it to.
    Died {
        /// Its name.
        task: String,
        /// What it said.
        why: String,
    },
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::Store(message) | RunError::Bind(message) => f.write_str(message),
            RunError::Rules(errors, _) => write!(f, "the rules have {} errors", errors.len()),
            RunError::Folder(error) => write!(f, "{error}"),
            RunError::Died { task, why } => write!(
                f,
                "{task} ended by itself: {why}; the gateway stops so that nothing goes unnoticed"
            ),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs one gateway until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`] when it cannot start, or when a part of it ends by itself.
pub async fn run(config: Config) -> Result<(), RunError> {
    // From here on a SIGTERM is an orderly end, however early it comes.
    let terminate = signal(SignalKind::terminate())
        .map_err(|error| RunError::Bind(format!("signals cannot be heard: {error}")))?;
    let gateway = Gateway::start(config).await?;
    gateway.until_told(terminate).await
}

struct Gateway {
    config: Config,
    tasks: Tasks,
    stop_sources: watch::Sender<bool>,
    stop_upstreams: watch::Sender<bool>,
    pipeline: Pipeline,
}

/// The channels into the intake: the ends that send.
struct Doors {
    inlet: Inlet,
    redrive: mpsc::Sender<Redrive>,
    receivers: Receivers,
}

/// The ends that the intake reads.
struct Receivers {
    offers: mpsc::Receiver<Offer>,
    system: mpsc::Receiver<SystemEvent>,
    redrives: mpsc::Receiver<Redrive>,
}

impl Doors {
    fn open(observe: &Observe) -> Doors {
        let (inlet, offers) = Inlet::new(BATCHES_MAX, INLET_BYTES_MAX);
        let (system_sender, system) = mpsc::channel(SYSTEM_EVENTS_MAX);
        observe.route_system_events(system_sender);
        let (redrive, redrives) = mpsc::channel(REDRIVES_MAX);
        Doors {
            inlet,
            redrive,
            receivers: Receivers {
                offers,
                system,
                redrives,
            },
        }
    }
}

impl Gateway {
    async fn start(config: Config) -> Result<Gateway, RunError> {
        let started = clock::monotonic();
        let observe = Arc::new(Observe::default());
        let (mut writer, store) = open_store(&config)?;
        let quarantined = store_watch::known(&store);
        register(&observe, &store);
        let lanes = Lanes::open(&config, &store)?;
        let rules = Rules::load(&config, &lanes)?;
        let boot = count_boot(&mut writer, &store)?;
        let doors = Doors::open(&observe);
        let feed = LiveFeed::default();
        let lane_metrics = upstreams::metrics(&observe, &lanes, &config, &store, started);
        let (settings, inputs) = intake_parts(&config, boot, &rules, doors.receivers);
        let ids = lanes.ids.iter().copied();
        let counts = ids.zip(lane_metrics.iter().cloned()).collect();
        let ground = Ground {
            config: &config,
            store: &store,
            feed: &feed,
            observe: &observe,
        };
        let pipeline = Pipeline::start(&ground, writer, settings, inputs, counts, started)?;

        let (stop_sources, stopping) = watch::channel(false);
        let (stop_upstreams, stop_forward) = watch::channel(false);
        let mut tasks = Tasks::default();
        let status = rules.status.subscribe();
        let api = ApiContext::new(config.gateway.id.clone(), started, Arc::clone(&observe))
            .with_store(store.clone(), config.gateway.store_dir())
            .with_feed(feed.clone())
            .with_redrive(doors.redrive)
            .with_intake(pipeline.report())
            .with_wear(Arc::clone(&pipeline.wear))
            .with_rules(move || status.borrow().clone());
        let joint = upstreams::Joint {
            config: &config,
            store: &store,
            lanes: &lanes,
            observe: &observe,
            durable: &pipeline.durable,
            stop: &stop_forward,
        };
        let api = upstreams::spawn(&mut tasks, &joint, &lane_metrics, api)?;
        let joint = sources::Joint {
            config: &config,
            inlet: doors.inlet,
            feed: &feed,
            #[cfg(feature = "serial")]
            store: &store,
            observe: &observe,
            stop: &stopping,
        };
        let api = Arc::new(sources::spawn(&mut tasks, joint, api).await?);
        let control = Control::bind(&config.gateway.data_dir, &config.api, Arc::clone(&api)).await;
        let control = control.map_err(|error| RunError::Bind(error.to_string()))?;
        tasks.spawn("control", control.run(stop_forward.clone()));
        tasks.spawn("watchdog", watchdog(api, stop_forward));
        let watched =
            store_watch::watch(store, quarantined, Arc::clone(&observe), stopping.clone());
        tasks.spawn("store watch", watched);
        rules.watch(&mut tasks, &observe, &stopping);
        Ok(Gateway {
            config,
            tasks,
            stop_sources,
            stop_upstreams,
            pipeline,
        })
    }
}

/// The metrics of what is there before anything runs.
fn register(observe: &Observe, store: &Store) {
    crate::observe::process::register(observe);
    crate::observe::store::register(observe, store.clone());
}

/// What the intake is told and what it reads.
fn intake_parts(
    config: &Config,
    boot: u64,
    rules: &Rules,
    receivers: Receivers,
) -> (Settings, Inputs) {
    let settings = Settings {
        gateway_id: config.gateway.id.as_str().into(),
        boot,
        pacing: Pacing::new(config.store.commit_delay, config.store.commit_delay_max),
    };
    let inputs = Inputs {
        offers: receivers.offers,
        system: receivers.system,
        redrives: receivers.redrives,
        rules: Evaluator::new(rules.active.subscribe()),
    };
    (settings, inputs)
}

async fn watchdog(api: Arc<ApiContext>, stop: watch::Receiver<bool>) -> Result<(), String> {
    crate::run::systemd::watchdog(|| api.is_alive(clock::now()), stop).await;
    Ok(())
}

fn open_store(config: &Config) -> Result<(Writer, Store), RunError> {
    let options = tidegate_store::Options {
        max_size_bytes: config.store.max_size_bytes,
        keep_for_ms: config.store.keep_for.as_millis() as u64,
        generation_bytes: config.store.generation_bytes,
        free_bytes_min: config.store.free_min_bytes,
        when_full: match config.store.when_full {
            config::WhenFull::Refuse => tidegate_store::WhenFull::Refuse,
            config::WhenFull::Shed => tidegate_store::WhenFull::Shed,
        },
        expire_after_ms: config
            .store
            .expire_after
            .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        ..tidegate_store::Options::new(config.gateway.store_dir())
    };
    tidegate_store::open(options).map_err(|error| RunError::Store(error.to_string()))
}

/// Counts this start, durably, before any id is minted under its number.
fn count_boot(writer: &mut Writer, store: &Store) -> Result<u64, RunError> {
    let last = store.mark(BOOT_MARK).and_then(|mark| mark.try_into().ok());
    let boot = last.map_or(0, u64::from_be_bytes) + 1;
    let mut commit = Commit::new();
    commit.mark(BOOT_MARK, &boot.to_be_bytes());
    writer
        .commit(&commit)
        .map_err(|error| RunError::Store(error.to_string()))?;
    Ok(boot)
}

/// The rules in force, and what watches their folder.
struct Rules {
    active: watch::Sender<Arc<ActiveRules>>,
    status: watch::Sender<RulesStatus>,
    destinations: Destinations,
    lanes: Vec<tidegate_store::LaneId>,
    folder: Option<std::path::PathBuf>,
}

impl Rules {
    /// Reads and compiles the folder; a gateway never starts with rules that have mistakes.
    fn load(config: &Config, lanes: &Lanes) -> Result<Rules, RunError> {
        let files = match &config.gateway.rules {
            Some(folder) => rules_folder::read(folder).map_err(RunError::Folder)?,
            None => Vec::new(),
        };
        let checked = rules_folder::compile(&files, &lanes.destinations)
            .map_err(|errors| RunError::Rules(errors, files))?;
        let status = RulesStatus {
            folder: config
                .gateway
                .rules
                .as_ref()
                .map(|folder| folder.display().to_string()),
            generation: 1,
            fingerprint: format!("{:016x}", checked.rules.fingerprint()),
            rules: checked.rules.rule_count(),
            refused: Vec::new(),
        };
        let active = ActiveRules {
            rules: checked.rules,
            lanes: lanes.ids.clone(),
        };
        Ok(Rules {
            active: watch::Sender::new(Arc::new(active)),
            status: watch::Sender::new(status),
            destinations: lanes.destinations.clone(),
            lanes: lanes.ids.clone(),
            folder: config.gateway.rules.clone(),
        })
    }

    /// Spawns the watch over the folder, where there is one.
    fn watch(self, tasks: &mut Tasks, observe: &Arc<Observe>, stop: &watch::Receiver<bool>) {
        let Some(folder) = self.folder else {
            return;
        };
        let folder = RulesFolder {
            folder,
            destinations: self.destinations,
            lanes: self.lanes,
            active: self.active,
            status: self.status,
            observe: Arc::clone(observe),
        };
        let stop = stop.clone();
        tasks.spawn("rules folder", async move {
            folder.run(stop).await;
            Ok::<(), String>(())
        });
    }
}

/// A task or thread that ended although nobody asked it to, and what it said.
type Died = Option<(String, String)>;

impl Gateway {
    /// Runs until told to stop, then takes everything apart in the order of an event's way.
    async fn until_told(mut self, terminate: Signal) -> Result<(), RunError> {
        crate::run::systemd::ready(&self.config.gateway.id);
        tracing::info!(gateway = self.config.gateway.id, "ready");
        let mut died = self.watch_over(terminate).await;
        crate::run::systemd::stopping(self.config.gateway.shutdown_max);
        tracing::info!("stopping: sources first, then what is in flight");
        self.stop_sources.send_replace(true);
        self.join("source", SOURCES_MAX, &mut died).await;
        join_thread("intake", self.pipeline.intake_thread, &mut died).await;
        self.stop_upstreams.send_replace(true);
        let grace = self.config.gateway.shutdown_max + SOURCES_MAX;
        let mut tasks = self.tasks;
        end_all(&mut tasks, "", grace, &mut died).await;
        drop(tasks);
        self.pipeline.finish.send_replace(true);
        join_thread("commit", self.pipeline.commit_thread, &mut died).await;
        match died {
            None => Ok(()),
            Some((task, why)) => Err(RunError::Died { task, why }),
        }
    }

    /// Waits for a signal, or for something to end by itself.
    async fn watch_over(&mut self, mut terminate: Signal) -> Died {
        let mut look = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = terminate.recv() => return None,
                _ = tokio::signal::ctrl_c() => return None,
                Some(ended) = self.tasks.next() => {
                    let why = ended.result.err().unwrap_or_else(|| "it returned".into());
                    return Some((ended.task, why));
                }
                _ = look.tick() => {
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

    async fn join(&mut self, prefix: &str, within: Duration, died: &mut Died) {
        end_all(&mut self.tasks, prefix, within, died).await;
    }
}

/// Waits for all tasks whose names start with `prefix`; what takes too long is left behind.
async fn end_all(tasks: &mut Tasks, prefix: &str, within: Duration, died: &mut Died) {
    let deadline = tokio::time::sleep(within);
    tokio::pin!(deadline);
    while tasks.running(prefix) {
        tokio::select! {
            () = &mut deadline => return tracing::warn!("some tasks did not end in time and are left behind"),
            ended = tasks.next() => {
                if let Some(ended) = ended
                    && let Err(why) = ended.result
                {
                    died.get_or_insert((ended.task, why));
                }
            }
        }
    }
}

async fn join_thread<T: Send + 'static>(name: &str, thread: JoinHandle<T>, died: &mut Died) {
    let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
    if !joined.unwrap_or(false) {
        died.get_or_insert((name.into(), "it panicked".into()));
    }
}
