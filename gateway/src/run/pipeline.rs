//! The commit thread and the intake thread, joined by their channels.

pub(super) mod channels;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tidegate_store::{Sequence, Store, Writer};
use tokio::sync::{mpsc, watch};

use super::RunError;
use super::config::Config;
use crate::config::WhenFull;
use crate::event::committed_log::{CommitTimes, CommittedLog};
use crate::event::dead_letter::letters::Letters;
use crate::event::device_mark::DEVICE_MARK_PREFIX;
use crate::event::record;
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

/// Records read at once when the dedup is filled.
const RECALL_LIMIT: tidegate_store::ReadLimit = tidegate_store::ReadLimit {
    records: 1024,
    bytes: 1024 * 1024,
};

/// The commit thread, the intake thread, and what the rest of the gateway sees of them.
pub(super) struct Pipeline {
    pub(super) commit_thread: JoinHandle<Writer>,
    pub(super) intake_thread: JoinHandle<()>,
    pub(super) durable: watch::Receiver<Sequence>,
    pub(super) times: CommitTimes,
    pub(super) finish: watch::Sender<bool>,
    pub(super) wear: Arc<Meter>,
    metrics: Arc<IntakeMetrics>,
    evaluator: Evaluator,
}

/// What the parts of the pipeline are made with.
pub(super) struct PipelineContext<'a> {
    pub(super) config: &'a Config,
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
        lanes: LaneCounts,
        now: Instant,
    ) -> Result<Pipeline, RunError> {
        let PipelineContext {
            config,
            store,
            log,
            letters,
            observe,
        } = context;
        let metrics = Arc::new(IntakeMetrics::new(lanes));
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
        let dedup = Dedup::new(config.gateway.dedup_window, &config.gateway.id);
        let dedup = recall(store, dedup, config.gateway.dedup_window);
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
            times: log.times(),
            finish,
            wear,
            metrics,
            evaluator,
        })
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
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, RunError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| RunError::Bind(format!("the {name} thread cannot be started: {error}")))
}

/// Fills the dedup from the log: the marks of all devices, the ids of the last events.
fn recall(store: &Store, mut dedup: Dedup, window: usize) -> Dedup {
    for (key, mark) in store.marks_with_prefix(DEVICE_MARK_PREFIX.as_bytes()) {
        let device = key.get(DEVICE_MARK_PREFIX.len()..).unwrap_or_default();
        dedup.recall_device(&String::from_utf8_lossy(device), &mark);
    }
    let end = store.end();
    let mut from = end.saturating_sub(window as u64).max(store.first());
    while from < end {
        let Ok(batch) = store.scan(from, end, RECALL_LIMIT) else {
            break;
        };
        for stored in &batch.records {
            if let Ok(record) = record::decode(&stored.bytes) {
                dedup.recall(&record.event);
            }
        }
        if batch.next <= from {
            break;
        }
        from = batch.next;
    }
    dedup
}
