//! The commit thread and the intake thread, joined by their channels.

pub(super) mod channels;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tidegate_store::{Sequence, Store, Writer};
use tokio::sync::{mpsc, oneshot, watch};

use super::RunError;
use super::config::Config;
use crate::config::WhenFull;
use crate::event::committed_log::{CommitTimes, CommittedLog};
use crate::event::dead_letter::letters::Letters;
use crate::intake::commit::Committer;
use crate::intake::dedup::Dedup;
use crate::intake::evaluator::Evaluator;
use crate::intake::gaps::Gaps;
use crate::intake::{CommitEnds, Inputs, Intake, Settings};
use crate::observe::Observe;
use crate::observe::intake::{IntakeMetrics, IntakeReport, LaneCounts};
use crate::observe::rules::report::RulesReport;
use crate::observe::wear::Meter;
use crate::time::clock::Now;
use crate::time::task;

/// The commit thread, the intake thread, and what the rest of the gateway sees of them.
pub(super) struct Pipeline {
    pub(super) commit_thread: JoinHandle<Writer>,
    pub(super) intake_thread: JoinHandle<()>,
    pub(super) durable: watch::Receiver<Sequence>,
    pub(super) times: CommitTimes,
    pub(super) finish: watch::Sender<bool>,
    /// Lets the intake begin: before, nothing is stored or acknowledged. Dropped, it never does.
    pub(super) begin: Option<oneshot::Sender<()>>,
    pub(super) wear: Arc<Meter>,
    metrics: Arc<IntakeMetrics>,
    evaluator: Evaluator,
}

/// What the parts of the pipeline are made with.
pub(super) struct PipelineContext<'a> {
    pub(super) config: &'a Arc<Config>,
    pub(super) store: &'a Store,
    pub(super) log: &'a CommittedLog,
    pub(super) letters: &'a Letters,
    pub(super) observe: &'a Arc<Observe>,
}

impl Pipeline {
    pub(super) fn start(
        context: &PipelineContext<'_>,
        writer: Writer,
        settings: Settings,
        inputs: Inputs,
        dedup: Dedup,
        lanes: LaneCounts,
        now: Instant,
    ) -> Result<Pipeline, RunError> {
        let PipelineContext {
            config,
            log,
            letters,
            observe,
            ..
        } = context;
        let metrics = Arc::new(IntakeMetrics::new(lanes, observe.refusing.clone()));
        metrics.register(observe);
        let (rules, evaluator) = (inputs.rules.clone(), inputs.rules.clone());
        crate::observe::rules::register(observe, move || rules.counters());
        let wear = meter(config, &metrics, observe, now);
        let (finish, finished) = watch::channel(false);
        let (commits, groups) = std::sync::mpsc::sync_channel(1);
        let (done, done_receiver) = mpsc::unbounded_channel();
        let committer = Committer {
            writer,
            groups,
            done,
            log: CommittedLog::clone(log),
            times: log.times(),
            metrics: Arc::clone(&metrics),
            observe: Arc::clone(observe),
            gaps: Gaps::new(
                inputs.rules.clone(),
                Arc::clone(&settings.gateway_id),
                settings.start.clone(),
            ),
            letters: Letters::clone(letters),
            sheds: config.store.when_full == WhenFull::Shed,
            finish: finished,
            cursors_fail: false,
        };
        let ends = CommitEnds {
            commits,
            done: done_receiver,
        };
        let intake = Intake::new(
            inputs,
            settings,
            dedup,
            ends,
            Arc::clone(&metrics),
            Arc::clone(observe),
        );
        let (begin, begun) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        Ok(Pipeline {
            commit_thread: thread("commit", move || committer.run())?,
            intake_thread: thread("intake", move || {
                runtime.block_on(task::named("intake", once_begun(begun, intake)))
            })?,
            durable: log.durable(),
            times: log.times(),
            finish,
            begin: Some(begin),
            wear,
            metrics,
            evaluator,
        })
    }

    /// Routes are counted there from now on.
    pub(super) fn count_lanes(&self, lanes: LaneCounts) {
        self.metrics.count_lanes(lanes);
    }

    /// What happened at each rule.
    pub(super) fn rules_report(&self) -> impl Fn() -> RulesReport + Send + Sync + use<> {
        let evaluator = self.evaluator.clone();
        move || RulesReport::from(&evaluator.counters())
    }

    pub(super) fn report(&self) -> impl Fn(Now) -> IntakeReport + Send + Sync + use<> {
        let metrics = Arc::clone(&self.metrics);
        move |now| metrics.report(now.instant)
    }
}

/// The intake from the word on that it may begin; never where that does not come.
async fn once_begun(begun: oneshot::Receiver<()>, intake: Intake) {
    if begun.await.is_ok() {
        intake.run().await;
    }
}

/// What measures the disk's wear, registered.
fn meter(config: &Config, metrics: &IntakeMetrics, observe: &Observe, now: Instant) -> Arc<Meter> {
    let wear = Arc::new(Meter::start(
        now,
        &config.gateway.data_dir,
        metrics.accepted_bytes.clone(),
        config.store.endurance_bytes,
    ));
    crate::observe::wear::register(observe, Arc::clone(&wear));
    wear
}

fn thread<T: Send + 'static>(
    name: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, RunError> {
    task::thread(name, body)
        .map_err(|error| RunError::Bind(format!("the {name} thread cannot be started: {error}")))
}
