//! The way from the sources into the intake, bounded in batches and in bytes.

use std::sync::Arc;

use tidegate_rules::event::Event;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::ack::{Refusal, Verdict};
use super::arrival::{Arrival, Identity};
use super::receipts::{Receipt, Receipts};

/// The way into the intake thread, shared by all sources.
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
    /// An inlet and the end the intake thread reads.
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
        let bytes: usize = arrivals.iter().map(|a| size_bytes(&a.event)).sum();
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

    /// Offers events in their order and waits until each is settled. Gives the verdicts, in the
    /// same order.
    ///
    /// # Errors
    /// [`Closed`] when the gateway is shutting down.
    pub async fn settle(&self, events: Vec<(Event, Identity)>) -> Result<Vec<Verdict>, Closed> {
        let mut verdicts = vec![Verdict::Refused(Refusal::Closing); events.len()];
        let mut receipts = Receipts::default();
        let arrivals = events.into_iter().enumerate();
        let arrivals = arrivals.map(|(at, (event, identity))| Arrival {
            event,
            ack: receipts.issue(at),
            identity,
            at_most_once: false,
            set_aside: None,
        });
        let arrivals = arrivals.collect();
        self.offer(arrivals).await?;
        while let Some(Receipt { value, verdict, .. }) = receipts.settled().await {
            verdicts[value] = verdict;
        }
        Ok(verdicts)
    }
}

/// Bytes that an event counts for: payload, extensions, and a flat share for the other attributes.
fn size_bytes(event: &Event) -> usize {
    let extensions = event.extensions.iter();
    let extensions = extensions.map(|extension| extension.name.len() + extension.value.len());
    event.data.len() + extensions.sum::<usize>() + 256
}
