//! The commit thread and the intake thread, joined by their channels.

pub(super) mod channels;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tidegate_store::{Sequence, Writer};
use tokio::sync::{mpsc, watch};

use super::RunError;
use super::config::Config;
use crate::config::WhenFull;
use crate::event::committed_log::CommittedLog;
use crate::intake::commit::Committer;
use crate::intake::dedup::Dedup;
use crate::intake::gaps::Gaps;
use crate::intake::{CommitEnds, Inputs, Intake, Settings};
use crate::observe::Observe;
use crate::observe::intake::{IntakeMetrics, IntakeReport, LaneCounts};
use crate::observe::wear::Meter;
use crate::time::clock::Now;

/// The commit thread, the intake thread, and what the rest of the gateway sees of them.
pub(super) struct Pipeline {
    pub(super) commit_thread: JoinHandle<Writer>,
    pub(super) intake_thread: JoinHandle<()>,
    pub(super) durable: watch::Receiver<Sequence>,
    pub(super) finish: watch::Sender<bool>,
    pub(super) wear: Arc<Meter>,
    metrics: Arc<IntakeMetrics>,
}

/// What the parts of the pipeline are made with.
pub(super) struct PipelineContext<'a> {
    pub(super) config: &'a Config,
    pub(super) log: &'a CommittedLog,
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
            observe,
        } = context;
        let metrics = Arc::new(IntakeMetrics::new(lanes));
        metrics.register(observe);
        let rules = inputs.rules.clone();
        crate::observe::rules::register(observe, move || rules.counters());
        let wear = Arc::new(Meter::start(
            now,
            &config.gateway.data_dir,
            metrics.accepted_bytes.clone(),
            config.store.endurance_bytes,
        ));
        crate::observe::wear::register(observe, Arc::clone(&wear));
        let (finish, finished) = watch::channel(false);
        let (commits, groups) = std::sync::mpsc::sync_channel(1);
        let (done, done_receiver) = mpsc::unbounded_channel();
        let committer = Committer {
            writer,
            groups,
            done,
            log: CommittedLog::clone(log),
            metrics: Arc::clone(&metrics),
            observe: Arc::clone(observe),
            gaps: Gaps::new(
                inputs.rules.clone(),
                Arc::clone(&settings.gateway_id),
                settings.start.clone(),
            ),
            sheds: config.store.when_full == WhenFull::Shed,
            finish: finished,
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
        let runtime = tokio::runtime::Handle::current();
        Ok(Pipeline {
            commit_thread: thread("commit", move || committer.run())?,
            intake_thread: thread("intake", move || runtime.block_on(intake.run()))?,
            durable: log.durable(),
            finish,
            wear,
            metrics,
        })
    }

    pub(super) fn report(&self) -> impl Fn(Now) -> IntakeReport + Send + Sync + use<> {
        let metrics = Arc::clone(&self.metrics);
        move |now| metrics.report(now.instant)
    }
}

fn thread<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, RunError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| RunError::Bind(format!("the {name} thread cannot be started: {error}")))
}
