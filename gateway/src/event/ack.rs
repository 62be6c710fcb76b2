//! The acknowledgement a sender waits for, and the verdict it carries back.

use std::sync::Arc;

/// Why an event could not be stored. The sender keeps it and offers it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The store is at `max_size`, or the disk is full.
    Full,
    /// The disk reported an error; this group of events was not made durable.
    Failed,
    /// The gateway is shutting down.
    Closing,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is on disk, or was there already: acknowledge it.
    Stored,
    /// It is not on disk: do not acknowledge it.
    Refused(Refusal),
}

/// The end of a connection that carries verdicts back to senders.
///
/// Called from the commit thread: must not block and must not call back into the intake.
pub trait Settle: Send + Sync {
    /// Takes the verdict for what the source called `token`.
    fn settle(&self, token: u64, verdict: Verdict);
}

/// The acknowledgement a sender waits for. Consumed by value; dropping it refuses the event,
/// so that a lost arrival is offered again and never silently acknowledged.
#[must_use = "dropping an ack refuses the event"]
pub struct Ack(Option<(Arc<dyn Settle>, u64)>);

impl Ack {
    /// An ack that `settle` receives as `token`.
    pub fn new(settle: Arc<dyn Settle>, token: u64) -> Ack {
        Ack(Some((settle, token)))
    }

    /// For events nobody waits for: QoS 0, and the gateway's own system events.
    pub fn none() -> Ack {
        Ack(None)
    }

    /// Consumes the ack with its verdict.
    pub fn settle(mut self, verdict: Verdict) {
        if let Some((settle, token)) = self.0.take() {
            settle.settle(token, verdict);
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some((settle, token)) = self.0.take() {
            settle.settle(token, Verdict::Refused(Refusal::Closing));
        }
    }
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ack")
            .field(&self.0.as_ref().map(|(_, token)| token))
            .finish()
    }
}
