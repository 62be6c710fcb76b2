//! `POST /reload`: has the gateway read its configuration again, as SIGHUP does, and says what came of it.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::ApiContext;
use super::request::peer::Peer;
use super::response::{self, ApiResponse};
use crate::observe::audit::who::Who;
use crate::observe::process::configuration::Changes;

/// What came of reading the configuration again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The file.
    pub config: String,
    /// What is wrong with it, a line each: then everything stays as it was.
    pub refused: Vec<String>,
    /// Its sources.
    pub sources: Changes,
    /// Its upstreams.
    pub upstreams: Changes,
    /// Its keys that need a restart.
    pub restart_needed: Vec<String>,
    /// Some of it could not be taken yet and is tried again; troubles say which.
    pub is_behind: bool,
}

/// Somebody asks for it, and waits for the report.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Who asks.
    pub who: Who,
    /// Where the report goes.
    pub report: oneshot::Sender<ReloadReport>,
}

/// `POST /reload`
pub(super) async fn reload(context: Arc<ApiContext>, peer: Peer) -> ApiResponse {
    const STOPPING: &str = "the gateway is stopping; its next start reads the configuration";
    let who = peer.who().await;
    let (report, came) = oneshot::channel();
    if let Some(reload) = &context.reload
        && reload.send(ReloadRequest { who, report }).await.is_ok()
        && let Ok(report) = came.await
    {
        return response::json(&report);
    }
    response::error(StatusCode::SERVICE_UNAVAILABLE, STOPPING)
}
