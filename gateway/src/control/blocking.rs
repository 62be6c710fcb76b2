//! Work on threads that may wait for the disk: it must not hold up the other connections. And changes, one after the other.

use std::future::Future;
use std::sync::Arc;

use hyper::StatusCode;
use tokio::sync::Mutex;

use super::response::{self, ApiResponse};
use crate::time::task;

/// Whose change comes next.
pub(super) type Turn = Arc<Mutex<()>>;

/// Makes a change behind those before it, and to its end, though whoever asked may be gone by then: a letter that is sent
/// again is removed, so that neither two who ask at once nor one who asks twice send it twice.
pub(super) async fn in_turn(
    turn: &Turn,
    change: impl Future<Output = ApiResponse> + Send + 'static,
) -> ApiResponse {
    let turn = Arc::clone(turn);
    let made = task::spawn("a change", async move {
        let _turn = turn.lock().await;
        change.await
    });
    made.await
        .unwrap_or_else(|_| response::error(StatusCode::INTERNAL_SERVER_ERROR, Panicked::MESSAGE))
}

/// The work panicked.
#[derive(Debug)]
pub(super) struct Panicked;

impl Panicked {
    /// What whoever asked is told.
    pub(super) const MESSAGE: &str = "the answer could not be made; the log says why";
}

/// Does `work` on a thread that may wait.
///
/// # Errors
/// When it panicked.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    task::blocking("an answer", work)
        .await
        .map_err(|_| Panicked)
}
