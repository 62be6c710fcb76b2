//! The end of the process, as its tasks hear of it.

/// Waits until the gateway is told to stop, or nobody can tell it any more.
pub async fn stopped(shutdown: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
