//! What the program is told from outside: to end, and to read its configuration again.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::RunError;

/// The signals that a gateway hears from its first moment on: an early one is not the end of it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// To end.
    End,
    /// To read the configuration again.
    Reload,
}

/// SIGHUP alone, heard before there is a configuration.
pub struct Hangup(Signal);

impl Hangup {
    /// Hears it from now on, within a runtime.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn hear() -> Result<Hangup, RunError> {
        hear(SignalKind::hangup()).map(Hangup)
    }
}

fn hear(kind: SignalKind) -> Result<Signal, RunError> {
    let failed = |error| RunError::Bind(format!("signals cannot be heard: {error}"));
    signal(kind).map_err(failed)
}

impl Signals {
    /// Hears the others, too, from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(super) fn hear(Hangup(hangup): Hangup) -> Result<Signals, RunError> {
        Ok(Signals {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// Until it is told to end: SIGTERM or Ctrl-C.
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Until it is told something; what was told several times meanwhile counts as once.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}
