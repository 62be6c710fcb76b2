//! What the service manager is told: started, stopping, still alive.
//!
//! Without a service manager (`NOTIFY_SOCKET` unset) nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

/// Says that sources listen and events are accepted.
pub fn ready(summary: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(summary)]);
}

/// Says that the configuration is read again; [`ready`] is to follow.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    send(&states);
}

/// Says that the start waits for `what`, and asks for `more` time.
pub fn waiting(more: Duration, what: &str) {
    let micros = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
    send(&[
        NotifyState::Status(what),
        NotifyState::ExtendTimeoutUsec(micros),
    ]);
}

/// Says that the gateway drains and will end, and asks for `shutdown_max` to do so.
pub fn stopping(shutdown_max: Duration) {
    let micros = u32::try_from(shutdown_max.as_micros()).unwrap_or(u32::MAX);
    send(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros.saturating_add(5_000_000)),
    ]);
}

/// Beats twice per watchdog period while `alive` says so, until `shutdown`. A gateway whose
/// commit thread hangs is thus restarted: what it acknowledged is on disk.
///
/// Waits for `shutdown` only, where no watchdog is asked for.
pub async fn watchdog(alive: impl Fn() -> bool, mut shutdown: watch::Receiver<bool>) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        let _ = shutdown.wait_for(|stop| *stop).await;
        return;
    };
    let mut beat = tokio::time::interval((period / 2).max(Duration::from_millis(10)));
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            _ = beat.tick() => {}
        }
        match alive() {
            true => send(&[NotifyState::Watchdog]),
            false => {
                tracing::error!("the commit thread does not come round: no beat for the watchdog")
            }
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
