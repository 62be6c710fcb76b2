//! `POST /reload`: has the gateway read its configuration again, as SIGHUP does, and says what came of it.

use std::sync::Arc;

use hyper::StatusCode;
use tokio::sync::oneshot;

use super::ApiContext;
use super::request::peer::Peer;
use super::request::reload::ReloadRequest;
use super::response::{self, ApiResponse};

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
