//! Every configured source, bound and spawned.

use std::sync::Arc;

#[cfg(feature = "serial")]
use tidegate_store::Store;
use tokio::sync::watch;

use super::RunError;
use super::tasks::Tasks;
use crate::config::{Config, Source, SourceKind};
use crate::control::ApiContext;
use crate::event::inlet::Inlet;
use crate::event::live_feed::LiveFeed;
use crate::observe::Observe;
use crate::observe::source::{SourceFamilies, SourceMetrics};
use crate::observe::status::SourceStatus;
use crate::source::http::HttpListener;
use crate::source::mqtt::MqttClient;
use crate::source::mqtt_listener::MqttListenerSource;

/// What all sources are joined with.
pub(super) struct Joint<'a> {
    pub(super) config: &'a Config,
    pub(super) inlet: Inlet,
    pub(super) feed: &'a LiveFeed,
    /// Where serial devices' marks are.
    #[cfg(feature = "serial")]
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
    joint: Joint<'_>,
    mut api: ApiContext,
) -> Result<ApiContext, RunError> {
    let families = SourceFamilies::register(joint.observe);
    for source in &joint.config.sources {
        let metrics = families.of(&source.name);
        let kind = joint.start(tasks, source, &metrics).await?;
        let name = source.name.clone();
        api = api.with_source(move || status(&name, kind, &metrics));
    }
    Ok(api)
}

fn status(name: &str, kind: &str, metrics: &SourceMetrics) -> SourceStatus {
    let (events, refused, malformed, connections) = metrics.counts();
    let (state, last_error) = metrics.state();
    // A serial port may be open and nobody there.
    let joined = kind == "serial" && connections > 0;
    SourceStatus {
        name: name.into(),
        kind: kind.into(),
        state: if joined { "connected" } else { state }.into(),
        events,
        refused: refused + malformed,
        connections: connections.max(0) as u64,
        last_error,
    }
}

impl Joint<'_> {
    async fn start(
        &self,
        tasks: &mut Tasks,
        source: &Source,
        metrics: &SourceMetrics,
    ) -> Result<&'static str, RunError> {
        let name = &source.name;
        let gateway_id = &self.config.gateway.id;
        let (inlet, observe, metrics) = (
            self.inlet.clone(),
            Arc::clone(self.observe),
            metrics.clone(),
        );
        let task = format!("source {name}");
        let bind = |error: String| RunError::Bind(error);
        match &source.kind {
            SourceKind::MqttListener(config) => {
                let feed = self.feed.clone();
                let listener = MqttListenerSource::bind(
                    config.clone(),
                    name,
                    gateway_id,
                    inlet,
                    feed,
                    observe,
                    metrics,
                )
                .await;
                let listener = listener.map_err(|error| bind(error.to_string()))?;
                tasks.spawn(task, listener.run(self.stop.clone()));
                Ok("mqtt-listener")
            }
            SourceKind::Mqtt(config) => {
                let client =
                    MqttClient::new(config.clone(), name, gateway_id, inlet, observe, metrics);
                let client = client.map_err(|why| bind(format!("source {name}: {why}")))?;
                tasks.spawn(task, client.run(self.stop.clone()));
                Ok("mqtt")
            }
            SourceKind::Http(config) => {
                let listener =
                    HttpListener::bind(config.clone(), name, gateway_id, inlet, observe, metrics)
                        .await;
                let listener = listener.map_err(|error| bind(error.to_string()))?;
                tasks.spawn(task, listener.run(self.stop.clone()));
                Ok("http")
            }
            #[cfg(feature = "serial")]
            SourceKind::Lines(_) | SourceKind::Serial(_) => self.start_port(tasks, source, metrics),
            #[cfg(not(feature = "serial"))]
            SourceKind::Lines(_) | SourceKind::Serial(_) => Err(absent(name)),
        }
    }

    /// Sources at serial ports.
    #[cfg(feature = "serial")]
    fn start_port(
        &self,
        tasks: &mut Tasks,
        source: &Source,
        metrics: SourceMetrics,
    ) -> Result<&'static str, RunError> {
        let name = &source.name;
        let task = format!("source {name}");
        let (gateway_id, inlet) = (&self.config.gateway.id, self.inlet.clone());
        let observe = Arc::clone(self.observe);
        match &source.kind {
            SourceKind::Lines(config) => {
                let lines = crate::source::lines::LinesSource::new(
                    config.clone(),
                    name,
                    gateway_id,
                    inlet,
                    observe,
                    metrics,
                );
                tasks.spawn(task, lines.run(self.stop.clone()));
                Ok("lines")
            }
            SourceKind::Serial(config) => {
                let joined = crate::source::serial::SerialContext {
                    inlet,
                    store: self.store.clone(),
                    observe,
                    metrics,
                };
                let serial =
                    crate::source::serial::SerialSource::new(config, name, gateway_id, joined);
                tasks.spawn(task, serial.run(self.stop.clone()));
                Ok("serial")
            }
            _ => Err(absent(name)),
        }
    }
}

fn absent(name: &str) -> RunError {
    RunError::Bind(format!(
        "source {name}: this type is not part of this build"
    ))
}
