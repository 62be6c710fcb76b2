//! Work on threads that may wait for the disk: it must not hold up the other connections.

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
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Panicked)
}
