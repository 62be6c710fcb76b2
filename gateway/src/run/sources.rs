//! Every configured source, bound and spawned.

use std::sync::Arc;

use tidegate_store::Store;
use tokio::sync::watch;

use super::RunError;
use super::config::{Config, SourceKind};
use super::tasks::Tasks;
use crate::config::SourceSection;
use crate::control::ApiContext;
use crate::event::committed_log::CommittedLog;
use crate::event::inlet::Inlet;
use crate::observe::Observe;
use crate::observe::source::{SourceFamilies, SourceMetrics};
use crate::observe::status::SourceStatus;
use crate::source::device_claims::DeviceClaims;
use crate::source::open::Opening;
use crate::time::clock::Now;

/// What all sources are opened with.
pub(super) struct SourcesContext<'a> {
    pub(super) config: &'a Config,
    pub(super) inlet: Inlet,
    pub(super) log: &'a CommittedLog,
    /// Where marks of devices are.
    pub(super) store: &'a Store,
    pub(super) observe: &'a Arc<Observe>,
    pub(super) stop: &'a watch::Receiver<bool>,
}

/// Binds and spawns every source.
///
/// # Errors
/// When a listener cannot listen.
pub(super) async fn spawn(
    tasks: &mut Tasks,
    with: SourcesContext<'_>,
    mut api: ApiContext,
) -> Result<ApiContext, RunError> {
    let families = SourceFamilies::register(with.observe);
    let devices = Arc::new(DeviceClaims::default());
    for source in &with.config.sources {
        let metrics = families.of(&source.name);
        let (looked_at, has_port) = (metrics.clone(), source.kind.has_port());
        with.observe
            .look_at(move |observe, now| looked_at.look(observe, has_port, now));
        with.start(tasks, source, &metrics, &devices).await?;
        let source = source.clone();
        api = api.with_source(move |now| status(&source, &metrics, now));
    }
    Ok(api)
}

fn status(source: &SourceSection<SourceKind>, metrics: &SourceMetrics, now: Now) -> SourceStatus {
    let (events, refused, malformed, connections) = metrics.counts();
    let state = metrics.state();
    let lasts = now.instant.saturating_duration_since(state.since);
    let joined = source.kind.waits_for_device() && connections > 0;
    SourceStatus {
        name: source.name.clone(),
        kind: source.kind.name().into(),
        state: if joined { "connected" } else { state.word }.into(),
        up: state.is_up,
        since_ms: lasts.as_millis() as u64,
        events,
        refused: refused + malformed,
        connections: connections.max(0) as u64,
        notes: source
            .kind
            .notes()
            .iter()
            .map(|&note| note.into())
            .collect(),
        last_error: state.last_error,
        refused_lines: metrics.refused_lines(),
    }
}

impl SourcesContext<'_> {
    async fn start(
        &self,
        tasks: &mut Tasks,
        source: &SourceSection<SourceKind>,
        metrics: &SourceMetrics,
        devices: &Arc<DeviceClaims>,
    ) -> Result<(), RunError> {
        let opening = Opening {
            name: &source.name,
            gateway_id: &self.config.gateway.id,
            inlet: self.inlet.clone(),
            log: self.log.clone(),
            store: self.store.clone(),
            devices: Arc::clone(devices),
            observe: Arc::clone(self.observe),
            metrics: metrics.clone(),
            stop: self.stop.clone(),
        };
        let running = source.kind.open(opening).await.map_err(RunError::Bind)?;
        tasks.spawn(format!("source {}", source.name), running);
        Ok(())
    }
}
