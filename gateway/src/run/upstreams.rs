//! Every configured upstream, joined to its lane and spawned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::decision::Destinations;
use tidegate_store::{LaneId, Store};
use tokio::sync::watch;

use super::RunError;
use super::config::{Config, UpstreamKind};
use super::lanes::Lanes;
use super::pipeline::Pipeline;
use super::tasks::Tasks;
use crate::config::{Backfill, LaneSettings, UpstreamSection};
use crate::control::ApiContext;
use crate::event::dead_letter::letters::Letters;
use crate::event::way::Way;
use crate::forward::to_dead_letters::ToDeadLetters;
use crate::forward::{LaneContext, forward};
use crate::observe::Observe;
use crate::observe::forward::{LaneFamilies, LaneMetrics};
use crate::observe::status::UpstreamStatus;
use crate::time::clock::{self, Now};
use crate::upstream::Upstream;
use crate::upstream::open::Opening;

/// What all upstreams are opened with.
pub(super) struct UpstreamsContext<'a> {
    pub(super) config: &'a Config,
    pub(super) store: &'a Store,
    pub(super) lanes: &'a Lanes,
    pub(super) letters: &'a Letters,
    pub(super) observe: &'a Arc<Observe>,
    pub(super) pipeline: &'a Pipeline,
    pub(super) stop: &'a watch::Receiver<bool>,
    pub(super) way: &'a Way,
}

/// The metrics of every lane, in the order of the destinations.
pub(super) fn metrics(
    observe: &Observe,
    lanes: &Lanes,
    config: &Config,
    store: &Store,
    now: Instant,
) -> Vec<Arc<LaneMetrics>> {
    let families = LaneFamilies::register(observe);
    let names =
        std::iter::once(Destinations::DEAD_LETTER).chain(config.upstreams.iter().map(|u| &*u.name));
    names
        .zip(&lanes.ids)
        .map(|(name, id)| Arc::new(families.of(name, store.backlog(*id).events, now)))
        .collect()
}

/// Spawns a forwarder for the dead letters and for every upstream.
///
/// # Errors
/// When a certificate cannot be read.
pub(super) fn spawn(
    tasks: &mut Tasks,
    with: &UpstreamsContext,
    metrics: &[Arc<LaneMetrics>],
    mut api: ApiContext,
) -> Result<ApiContext, RunError> {
    let mut lanes = with.lanes.ids.iter().zip(metrics);
    if let Some((id, metrics)) = lanes.next() {
        let context = with.context(Destinations::DEAD_LETTER, *id, for_dead_letters(), metrics);
        let upstream = ToDeadLetters::new(with.letters.clone(), clock::unix_ms);
        api = api.with_dead_letter_lane(lane_status(with.store, *id, metrics));
        start(
            tasks,
            Destinations::DEAD_LETTER,
            upstream,
            context,
            with.stop,
        );
    }
    for (upstream, (id, metrics)) in with.config.upstreams.iter().zip(lanes) {
        let context = with.context(&upstream.name, *id, upstream.lane.clone(), metrics);
        let kind = with.start(tasks, upstream, context)?;
        let looked_at = Arc::clone(metrics);
        with.observe
            .look_at(move |observe, now| looked_at.health.look(observe, now.instant));
        let read = lane_status(with.store, *id, metrics);
        let name = upstream.name.clone();
        api = api.with_upstream(upstream.name.clone(), move |now| UpstreamStatus {
            name: name.clone(),
            kind: kind.to_owned(),
            ..read(now)
        });
    }
    Ok(api)
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

impl UpstreamsContext<'_> {
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
            durable: self.pipeline.durable.clone(),
            times: self.pipeline.times.clone(),
            observe: Arc::clone(self.observe),
            metrics: Arc::clone(metrics),
            announced: name != Destinations::DEAD_LETTER,
            shutdown_max: self.config.gateway.shutdown_max,
            seed: fastrand::u64(..),
            mark: Some(Arc::clone(self.way.mark())),
        }
    }

    fn start(
        &self,
        tasks: &mut Tasks,
        upstream: &UpstreamSection<UpstreamKind>,
        mut context: LaneContext,
    ) -> Result<&'static str, RunError> {
        let name = &upstream.name;
        let opened = upstream.kind.open(Opening {
            name,
            gateway_id: &self.config.gateway.id,
            way: self.way,
        });
        let opened = opened.map_err(|why| RunError::Bind(format!("upstream {name}: {why}")))?;
        let timeout = &mut context.config.ack_timeout;
        *timeout = upstream.kind.ack_timeout_min().max(*timeout);
        start(tasks, name, opened, context, self.stop);
        Ok(upstream.kind.name())
    }
}

fn start<U: Upstream>(
    tasks: &mut Tasks,
    name: &str,
    upstream: U,
    context: LaneContext,
    stop: &watch::Receiver<bool>,
) {
    tasks.spawn(
        format!("upstream {name}"),
        forward(upstream, context, stop.clone()),
    );
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
