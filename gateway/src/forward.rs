//! Forwarding: one task per upstream joins its lane to its connection.
//!
//! `lane` decides what is sent next and what becomes of it, `reader` reads the log, `budget`
//! limits rates; this loop connects, offers, settles and pauses. An upstream's trouble stays in
//! its own task.

pub mod budget;
pub mod lane;
mod reader;
pub mod to_dead_letters;

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{LaneId, Sequence, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::clock;
use crate::config;
use crate::observe::forward::{LaneMetrics, UpstreamDown, UpstreamUp};
use crate::observe::{Happening, Observe};
use crate::source::stopped;
use crate::upstream::{Trouble, Upstream};
use lane::Lane;

/// What a forwarder needs beside its upstream.
pub struct LaneContext {
    /// The upstream's name.
    pub name: String,
    /// Its lane in the store.
    pub id: LaneId,
    /// How the lane is driven.
    pub config: config::Lane,
    /// The log.
    pub store: Store,
    /// Wakes when the log grows.
    pub durable: watch::Receiver<Sequence>,
    /// Log lines and system events.
    pub observe: Arc<Observe>,
    /// Counts.
    pub metrics: Arc<LaneMetrics>,
    /// Whether going up and down is told; not for what is always there.
    pub announced: bool,
    /// How long what is in flight may take at shutdown.
    pub shutdown_max: Duration,
}

impl LaneContext {
    fn tell(&self, happening: &dyn Happening) {
        if self.announced {
            self.observe.emit(happening);
        }
    }
}

/// The store could not be read; nothing else ends a forwarder.
#[derive(Debug)]
pub struct ForwardError(String);

impl std::fmt::Display for ForwardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ForwardError {}

/// Forwards until shutdown: connects, offers, settles, and starts over after trouble.
///
/// # Errors
/// [`ForwardError`] when the log cannot be read.
pub async fn forward<U: Upstream>(
    mut upstream: U,
    context: LaneContext,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ForwardError> {
    let config = context.config.clone();
    let mut lane = Lane::new(
        &context.name,
        context.id,
        config,
        context.store.clone(),
        clock::monotonic(),
    );
    let mut backoff = Backoff::new(context.config.retry_min, context.config.retry_max);
    loop {
        let connected = tokio::select! {
            () = stopped(&mut shutdown) => return Ok(()),
            connected = upstream.connect() => connected,
        };
        let was_up = connected.is_ok();
        let trouble = match connected {
            Err(trouble) => trouble,
            Ok(()) => {
                context.metrics.up();
                context.tell(&UpstreamUp {
                    upstream: &context.name,
                });
                lane.up();
                match drive(
                    &mut upstream,
                    &mut lane,
                    &context,
                    &mut backoff,
                    &mut shutdown,
                )
                .await?
                {
                    None => return Ok(()),
                    Some(trouble) => trouble,
                }
            }
        };
        context.metrics.count(lane.down(was_up, clock::monotonic()));
        context.metrics.in_flight(0);
        if context.metrics.down(&trouble.message) {
            context.tell(&UpstreamDown {
                upstream: &context.name,
                why: &trouble.message,
            });
        }
        let pause = backoff.next(fastrand::f64());
        let pause = pause.max(Duration::from_millis(trouble.retry_ms.unwrap_or(0)));
        tokio::select! {
            () = stopped(&mut shutdown) => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One connection to its end: trouble, or `None` at shutdown.
async fn drive<U: Upstream>(
    upstream: &mut U,
    lane: &mut Lane,
    context: &LaneContext,
    backoff: &mut Backoff,
    shutdown: &mut watch::Receiver<bool>,
) -> Result<Option<Trouble>, ForwardError> {
    let mut durable = context.durable.clone();
    loop {
        let more = offer(upstream, lane, context)?;
        context.metrics.in_flight(lane.in_flight());
        let wake = wake_at(lane, context);
        tokio::select! {
            settled = upstream.settled() => match settled {
                Err(trouble) => return Ok(Some(trouble)),
                Ok(outcomes) => {
                    backoff.reset();
                    let settled = lane.settle(outcomes, clock::monotonic(), &mut fastrand::f64);
                    context.metrics.count(settled);
                }
            },
            _ = durable.changed(), if more => {}
            () = sleep_until(wake), if wake.is_some() => {
                if is_silent(lane, context) {
                    let seconds = context.config.ack_timeout.as_secs_f64();
                    return Ok(Some(Trouble::new(format!("no acknowledgement within ack_timeout = {seconds} s"))));
                }
            }
            () = stopped(shutdown) => {
                finish(upstream, lane, context).await;
                return Ok(None);
            }
        }
    }
}

/// Offers as much as upstream and lane have room for; tells whether there is room for more.
fn offer<U: Upstream>(
    upstream: &mut U,
    lane: &mut Lane,
    context: &LaneContext,
) -> Result<bool, ForwardError> {
    loop {
        let room = upstream.room();
        if room == 0 {
            return Ok(false);
        }
        let batch = lane.next(room, clock::monotonic()).map_err(|error| {
            ForwardError(format!(
                "upstream {}: the log cannot be read: {error}",
                context.name
            ))
        })?;
        if batch.is_empty() {
            return Ok(true);
        }
        upstream.offer(batch);
    }
}

/// When to look again without news: a retry is due, a budget fills, or an ack is overdue.
fn wake_at(lane: &mut Lane, context: &LaneContext) -> Option<Instant> {
    let due = lane.next_due(clock::monotonic());
    let overdue = lane
        .oldest_sent()
        .map(|sent| sent + context.config.ack_timeout);
    due.into_iter().chain(overdue).min().map(Instant::from_std)
}

fn is_silent(lane: &Lane, context: &LaneContext) -> bool {
    lane.oldest_sent()
        .is_some_and(|sent| sent.elapsed() >= context.config.ack_timeout)
}

/// At shutdown: no new deliveries, but what is in flight may still be confirmed.
async fn finish<U: Upstream>(upstream: &mut U, lane: &mut Lane, context: &LaneContext) {
    let deadline = tokio::time::sleep(context.shutdown_max);
    tokio::pin!(deadline);
    while lane.in_flight() > 0 {
        tokio::select! {
            () = &mut deadline => break,
            settled = upstream.settled() => match settled {
                Err(_) => break,
                Ok(outcomes) => {
                    let settled = lane.settle(outcomes, clock::monotonic(), &mut fastrand::f64);
                    context.metrics.count(settled);
                }
            },
        }
    }
    upstream.close().await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
