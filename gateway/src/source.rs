//! What every source hands on: an [`Arrival`] is an event and the [`Ack`] its sender waits for.

pub mod access;
mod attributes;
pub mod batch;
mod certificate;
pub mod http;
#[cfg(feature = "serial")]
pub mod lines;
pub mod live;
pub mod logins;
pub mod mqtt_client;
pub mod mqtt_listener;
pub mod password;
#[cfg(feature = "serial")]
pub mod port;
#[cfg(feature = "serial")]
pub mod serial;
pub mod tls;

use std::sync::Arc;

use tidegate_rules::event::Event;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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

/// How the intake recognises an event that it has stored before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Identity {
    /// Nothing to recognise it by: the intake mints an id.
    #[default]
    None,
    /// The sender gave `event.id`: remembered over a bounded window of ids.
    Id,
    /// A framed serial device: stored once per (device, boot, sequence), whatever happens.
    Device {
        /// The device's own stable id.
        device: Arc<str>,
        /// Unique per boot of the device.
        boot: u64,
        /// Counts up by one per reading within the boot.
        sequence: u64,
        /// The sequence that must be stored, or on its way into the store, before this one: the
        /// previous one of this conversation. `None` where nothing of the boot was stored yet.
        after: Option<u64>,
    },
}

/// One event at the gateway's door.
#[derive(Debug)]
pub struct Arrival {
    /// The event. An empty `id` is minted by the intake; `received` is stamped there too.
    pub event: Event,
    /// What the sender waits for.
    pub ack: Ack,
    /// How to recognise a repetition.
    pub identity: Identity,
}

/// The way into the commit thread, shared by all sources.
///
/// Bounded twice: in batches under way, and in bytes of payload under way, so that no source
/// can fill the memory.
#[derive(Clone)]
pub struct Inlet {
    batches: mpsc::Sender<Offer>,
    budget: Arc<Semaphore>,
    budget_bytes: u32,
}

/// A batch of arrivals with the share of the byte budget that it holds until it is settled.
pub struct Offer {
    /// In the order they were read from the connection.
    pub arrivals: Vec<Arrival>,
    /// Given back when the offer is dropped.
    pub _share: Option<OwnedSemaphorePermit>,
}

/// The intake is gone: the gateway is shutting down. The arrivals were dropped, hence refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the intake is gone")
    }
}

impl std::error::Error for Closed {}

impl Inlet {
    /// An inlet and the end the commit thread reads.
    pub fn new(batches_max: usize, budget_bytes: u32) -> (Inlet, mpsc::Receiver<Offer>) {
        let (sender, receiver) = mpsc::channel(batches_max);
        let inlet = Inlet {
            batches: sender,
            budget: Arc::new(Semaphore::new(budget_bytes as usize)),
            budget_bytes,
        };
        (inlet, receiver)
    }

    /// Hands arrivals on, in order, waiting while the intake is busy: this wait is the
    /// back-pressure that a source passes on to its connection.
    ///
    /// # Errors
    /// [`Closed`] when the gateway is shutting down.
    pub async fn offer(&self, arrivals: Vec<Arrival>) -> Result<(), Closed> {
        if arrivals.is_empty() {
            return Ok(());
        }
        let bytes: usize = arrivals.iter().map(|a| a.event.data.len() + 256).sum();
        let share = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(self.budget_bytes);
        let permit = Arc::clone(&self.budget)
            .acquire_many_owned(share)
            .await
            .map_err(|_| Closed)?;
        let offer = Offer {
            arrivals,
            _share: Some(permit),
        };
        self.batches.send(offer).await.map_err(|_| Closed)
    }
}

/// Waits until the gateway is told to stop, or nobody can tell it any more.
pub async fn stopped(shutdown: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
