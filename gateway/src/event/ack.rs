//! The acknowledgement a sender waits for, and the verdict it carries back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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

impl Refusal {
    /// What its sender is told; `why` says why events are refused just now.
    pub fn told(self, why: impl FnOnce() -> String) -> String {
        match self {
            Refusal::Full | Refusal::Failed => why(),
            Refusal::Closing => "the gateway is shutting down".to_owned(),
        }
    }
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is on disk, or was there already: acknowledge it.
    Stored,
    /// It is not on disk: do not acknowledge it.
    Refused(Refusal),
}

/// The acknowledgement a sender waits for, issued by its [`Receipts`](super::receipts::Receipts).
/// Consumed by value; dropping it refuses the event, so that a lost arrival is offered again and
/// never silently acknowledged.
#[must_use = "dropping an ack refuses the event"]
pub struct Ack(Option<Slip>);

/// Where a verdict goes, and what it is about.
struct Slip {
    settled: Arc<Settled>,
    number: u64,
}

impl Ack {
    pub(super) fn new(settled: Arc<Settled>, number: u64) -> Ack {
        Ack(Some(Slip { settled, number }))
    }

    /// For events nobody waits for: QoS 0, and the gateway's own system events.
    pub fn none() -> Ack {
        Ack(None)
    }

    /// Consumes the ack with its verdict. Neither blocks nor calls back.
    pub fn settle(mut self, verdict: Verdict) {
        if let Some(slip) = self.0.take() {
            slip.settled.push(slip.number, verdict);
        }
    }

    /// Consumes acks with the same verdict, in their order: those of one sender in a row are
    /// settled together, and it wakes once.
    pub fn settle_all(acks: impl IntoIterator<Item = Ack>, verdict: Verdict) {
        let mut slips = acks.into_iter().filter_map(|mut ack| ack.0.take());
        let mut next = slips.next();
        while let Some(Slip { settled, number }) = next.take() {
            let mut queue = settled.lock();
            let idle = queue.is_empty();
            queue.push_back((number, verdict));
            for slip in slips.by_ref() {
                if !Arc::ptr_eq(&slip.settled, &settled) {
                    next = Some(slip);
                    break;
                }
                queue.push_back((slip.number, verdict));
            }
            drop(queue);
            if idle {
                settled.arrived.notify_one();
            }
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(slip) = self.0.take() {
            let refused = Verdict::Refused(Refusal::Closing);
            slip.settled.push(slip.number, refused);
        }
    }
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = self.0.as_ref().map(|slip| slip.number);
        f.debug_tuple("Ack").field(&number).finish()
    }
}

/// Acks by their numbers, with their verdicts, in the order they were settled.
pub(super) type Queue = VecDeque<(u64, Verdict)>;

/// What was settled and not taken by its owner yet; as much as acks were issued, at most.
#[derive(Default)]
pub(super) struct Settled {
    queue: Mutex<Queue>,
    /// Told when the queue is not empty any more.
    arrived: Notify,
}

impl Settled {
    /// Holds also what a thread left that panicked: no step leaves the queue half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, number: u64, verdict: Verdict) {
        let mut queue = self.lock();
        let idle = queue.is_empty();
        queue.push_back((number, verdict));
        drop(queue);
        if idle {
            self.arrived.notify_one();
        }
    }

    /// Waits until the queue is not empty. Dropping the future loses nothing.
    pub(super) async fn arrived(&self) {
        while self.lock().is_empty() {
            self.arrived.notified().await;
        }
    }
}
