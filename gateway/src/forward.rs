//! Forwarding: one task per upstream takes events from the store and brings them there.
//!
//! | file | what it holds |
//! |---|---|
//! | `lane` | what to offer, and what each answer means: pure |
//! | `lane::acceptance` | when an event was accepted, and whether it is live |
//! | `lane::failing` | events that the upstream fails over |
//! | `lane::outstanding` | records with several outputs, and what of them is given up |
//! | `lane::pause` | what holds up a whole lane for a while |
//! | `lane_driver` | does to the store what the lane asks for |
//! | `log` | the store, as a lane sees it |
//! | `reader` | reading classes, backlog and live traffic |
//! | `deliveries` | from stored records to deliveries, the first time and again |
//! | `window` | what is in flight |
//! | `retry_queue` | what was sent back |
//! | `budget` | rate and bandwidth |
//! | `poison_detector` | which event breaks connections |
//! | `to_dead_letters` | the upstream behind the name `dead_letter` |
//!
//! An event is confirmed in the store only after the upstream acknowledged it, or after it was
//! kept as a dead letter. A crash repeats what was in flight and skips nothing. Here the clock is
//! read; everything else is told the time.

mod budget;
mod deliveries;
mod lane;
mod lane_driver;
mod log;
mod poison_detector;
mod reader;
mod retry_queue;
pub mod to_dead_letters;
mod window;

#[cfg(test)]
mod lane_model;
#[cfg(test)]
mod lane_tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_store::{LaneId, Sequence, Store};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout_at};

use crate::config::LaneSettings;
use crate::event::committed_log::CommitTimes;
use crate::event::dead_letter::letters::Letters;
use crate::observe::Observe;
use crate::observe::forward::{LaneMetrics, MessagesExpired};
use crate::time::backoff::{Backoff, Jitter};
use crate::time::clock;
use crate::time::shutdown::stopped;
use crate::upstream::{Outcome, Token, Trouble, Upstream};

use lane::Lane;
use lane_driver::LaneDriver;
use log::StoreLog;

/// A connection that stood for so long was a good one, though nothing was settled on it.
const PROVED_GOOD: Duration = Duration::from_secs(30);

/// What a forwarder needs beside its upstream.
pub struct LaneContext {
    /// The upstream's name.
    pub name: String,
    /// Its lane in the store.
    pub id: LaneId,
    /// How the lane is driven.
    pub config: LaneSettings,
    /// The log.
    pub store: Store,
    /// What is given up.
    pub letters: Letters,
    /// Wakes when the log grows.
    pub durable: watch::Receiver<Sequence>,
    /// When commits became durable.
    pub times: CommitTimes,
    /// Log lines and system events.
    pub observe: Arc<Observe>,
    /// Counts.
    pub metrics: Arc<LaneMetrics>,
    /// Whether going up and down is told; not for what is always there.
    pub announced: bool,
    /// How long what is in flight may take at shutdown.
    pub shutdown_max: Duration,
    /// Draws the pauses between attempts.
    pub seed: u64,
    /// The mark of this start.
    pub mark: Option<Arc<str>>,
}

impl LaneContext {
    /// Whom changes are told to.
    fn told(&self) -> Option<&Observe> {
        self.announced.then_some(&*self.observe)
    }
}

/// Why a forwarder gave up; everything else it tries again for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardError {
    /// The lane is not in the store: it was dropped while its forwarder ran.
    UnknownLane(String),
    /// The intake is gone, and with it the news of commits.
    IntakeGone(String),
}

impl std::fmt::Display for ForwardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ForwardError::UnknownLane(name) => write!(
                f,
                "upstream {name}: its lane is gone from the store; start the gateway again"
            ),
            ForwardError::IntakeGone(name) => {
                write!(f, "upstream {name}: the intake ended before its forwarders")
            }
        }
    }
}

impl std::error::Error for ForwardError {}

/// The kind of trouble that events make which the upstream fails over, and no other.
const NOT_TAKEN: &str = "not taken";

/// Why a connection is over.
enum ForwardingEnd {
    Broken(Trouble),
    /// For one that takes its place.
    Succeeded,
    Shutdown,
}

/// An upstream that takes the place of the one before, for it has other certificates or secrets.
pub struct Successor<U> {
    /// The upstream.
    pub upstream: U,
    /// Whether the connection of the one before ends for it; else it comes with the next one.
    pub at_once: bool,
}

struct Forwarder<U> {
    upstream: U,
    lane: LaneDriver<StoreLog>,
    context: LaneContext,
    shutdown: watch::Receiver<bool>,
    successors: mpsc::Receiver<Successor<U>>,
    successor: Option<Successor<U>>,
    reconnect: Backoff,
    jitter: Jitter,
    /// Events told of that the upstream fails over; none is known at first of what a forwarder before told.
    waiting: usize,
}

/// Forwards until shutdown: connects, offers what the store holds, settles what is answered.
///
/// # Errors
/// [`ForwardError`] when it cannot go on; trouble with the upstream is never a reason.
pub async fn forward<U: Upstream>(
    upstream: U,
    context: LaneContext,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ForwardError> {
    forward_by_turns(upstream, context, shutdown, mpsc::channel(1).1).await
}

/// The same with upstreams that take the place of the one before.
///
/// # Errors
/// As [`forward`].
pub async fn forward_by_turns<U: Upstream>(
    upstream: U,
    context: LaneContext,
    shutdown: watch::Receiver<bool>,
    successors: mpsc::Receiver<Successor<U>>,
) -> Result<(), ForwardError> {
    let mut jitter = Jitter::seeded(context.seed);
    let metrics = Arc::clone(&context.metrics);
    let lane = Lane::new(
        context.id,
        context.config.clone(),
        Arc::clone(&metrics),
        clock::monotonic(),
        jitter.draw(),
    );
    let lane = lane.of_start(context.mark.clone());
    let log = StoreLog {
        store: context.store.clone(),
        lane: context.id,
        letters: context.letters.clone(),
        times: context.times.clone(),
    };
    let lane = LaneDriver::new(lane, log, &context.name, metrics);
    let reconnect = Backoff::new(context.config.retry_min, context.config.retry_max);
    let mut forwarder = Forwarder {
        upstream,
        lane,
        context,
        shutdown,
        successors,
        successor: None,
        reconnect,
        jitter,
        waiting: usize::MAX,
    };
    forwarder.run().await
}

impl<U: Upstream> Forwarder<U> {
    async fn run(&mut self) -> Result<(), ForwardError> {
        loop {
            self.succeed();
            let connected = tokio::select! {
                connected = self.upstream.connect() => connected,
                () = stopped(&mut self.shutdown) => return Ok(()),
            };
            let ended = match connected {
                Ok(()) => {
                    let began = clock::monotonic();
                    let ended = self.serve().await?;
                    if clock::monotonic().saturating_duration_since(began) >= PROVED_GOOD {
                        self.reconnect.reset();
                    }
                    ended
                }
                Err(trouble) => ForwardingEnd::Broken(trouble),
            };
            match ended {
                ForwardingEnd::Broken(trouble) => {
                    if self.pause(&trouble).await {
                        return Ok(());
                    }
                }
                ForwardingEnd::Succeeded => {
                    self.finish().await;
                    self.lane.parted(clock::now());
                    self.report();
                }
                ForwardingEnd::Shutdown => {
                    self.finish().await;
                    return Ok(());
                }
            }
        }
    }

    /// Puts the latest successor in the place of the upstream, which has no connection.
    fn succeed(&mut self) {
        while let Ok(newer) = self.successors.try_recv() {
            self.successor = Some(newer);
        }
        if let Some(successor) = self.successor.take() {
            self.upstream = successor.upstream;
            self.reconnect.reset();
        }
    }

    /// Offers and settles until the connection breaks or the gateway shuts down.
    async fn serve(&mut self) -> Result<ForwardingEnd, ForwardError> {
        let context = &self.context;
        context
            .metrics
            .health
            .connected(context.told(), clock::monotonic());
        self.lane.connected();
        loop {
            let now = self.offer()?;
            if self.lane.is_overdue(now) {
                let waited = self.context.config.ack_timeout.as_millis();
                let message = format!("no acknowledgement for {waited} ms although connected");
                return Ok(ForwardingEnd::Broken(Trouble::new(message)));
            }
            let wake = self.lane.next_wake(now, self.upstream.room());
            let hungry = self.lane.is_hungry();
            tokio::select! {
                biased;
                answers = self.upstream.settled() => match answers {
                    Ok(answers) => self.settle(answers),
                    Err(trouble) => return Ok(ForwardingEnd::Broken(trouble)),
                },
                () = stopped(&mut self.shutdown) => return Ok(ForwardingEnd::Shutdown),
                Some(newer) = self.successors.recv() => {
                    let ends = newer.at_once;
                    self.successor = Some(newer);
                    if ends {
                        return Ok(ForwardingEnd::Succeeded);
                    }
                }
                news = self.context.durable.changed(), if hungry => {
                    news.map_err(|_| ForwardError::IntakeGone(self.name()))?;
                }
                () = sleep_until(wake.unwrap_or(now).into()), if wake.is_some() => {}
            }
        }
    }

    fn offer(&mut self) -> Result<Instant, ForwardError> {
        let now = clock::now();
        let room = self.upstream.room();
        if room > 0 {
            let batch = self
                .lane
                .take(now, room)
                .map_err(|_| ForwardError::UnknownLane(self.name()))?;
            if !batch.is_empty() {
                self.upstream.offer(batch);
            }
            self.report();
        }
        Ok(now.instant)
    }

    fn settle(&mut self, answers: Vec<(Token, Outcome)>) {
        if answers.is_empty() {
            return;
        }
        let now = clock::now();
        if answers.iter().any(|(_, outcome)| outcome.has_come_back()) {
            self.reconnect.reset();
        }
        self.context.metrics.deliveries.turn(now.instant);
        self.lane.settle(now, answers);
        self.report();
        let context = &self.context;
        context.metrics.health.judge(context.told(), now.instant);
    }

    /// Waits before the next try; `true` when the gateway shuts down meanwhile.
    async fn pause(&mut self, trouble: &Trouble) -> bool {
        let now = clock::now();
        self.lane.broken(now, trouble);
        self.report();
        let asked = Duration::from_millis(trouble.retry_ms.unwrap_or(0));
        let pause = self.reconnect.next(self.jitter.draw()).max(asked);
        let context = &self.context;
        let metrics = &context.metrics;
        metrics.count_disconnect();
        metrics
            .health
            .disconnected(context.told(), &trouble.message, now.instant);
        tokio::select! {
            () = sleep_until((now.instant + pause).into()) => false,
            Some(newer) = self.successors.recv() => {
                self.successor = Some(newer);
                false
            }
            () = stopped(&mut self.shutdown) => true,
        }
    }

    /// Lets what is in flight be settled, up to the deadline, and says goodbye.
    async fn finish(&mut self) {
        let deadline = clock::monotonic() + self.context.shutdown_max;
        while self.lane.in_flight() > 0 {
            match timeout_at(deadline.into(), self.upstream.settled()).await {
                Ok(Ok(answers)) => self.settle(answers),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        // Nothing is lost if this takes too long: what is unsettled is sent again.
        let _ = timeout_at(deadline.into(), self.upstream.close()).await;
    }

    fn report(&mut self) {
        for happened in std::mem::take(&mut self.lane.happened) {
            self.context.metrics.dead_lettered(&happened);
            self.context.observe.emit(&happened);
        }
        let events = std::mem::take(&mut self.lane.expired);
        if events > 0 {
            let upstream = &self.context.name;
            let told = MessagesExpired { upstream, events };
            self.context.observe.emit(&told);
        }
        self.tell_of_waiting();
    }

    /// What waits because the upstream fails over it is a trouble, though the lane goes on.
    fn tell_of_waiting(&mut self) {
        let (count, why) = self.lane.waiting_alone();
        if std::mem::replace(&mut self.waiting, count) == count {
            return;
        }
        let (observe, subject) = (
            &self.context.observe,
            format!("upstream {}", self.context.name),
        );
        let what = match count {
            0 => return observe.clear(&subject, NOT_TAKEN),
            1 => "1 event is not taken while others are, and waits".to_owned(),
            _ => format!("{count} events are not taken while others are, and wait"),
        };
        let what = format!("{what}; mend what fails over it there: {why}");
        observe.follow(&subject, NOT_TAKEN, &what, None);
    }

    fn name(&self) -> String {
        self.context.name.clone()
    }
}
