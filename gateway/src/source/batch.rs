//! Events handed on together, whose source waits for what becomes of them.

use std::sync::{Arc, Mutex};

use tidegate_rules::event::Event;
use tokio::sync::Notify;

use crate::event::ack::{Ack, Settle, Verdict};
use crate::event::arrival::{Arrival, Identity};
use crate::event::inlet::{Closed, Inlet};

/// Verdicts of the batch under way, by the place of the event in it.
#[derive(Default)]
struct Verdicts {
    taken: Mutex<Vec<(u64, Verdict)>>,
    more: Notify,
}

impl Verdicts {
    fn take(&self) -> Vec<(u64, Verdict)> {
        std::mem::take(&mut self.taken.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Settle for Verdicts {
    fn settle(&self, token: u64, verdict: Verdict) {
        let mut taken = self.taken.lock().unwrap_or_else(|e| e.into_inner());
        taken.push((token, verdict));
        drop(taken);
        self.more.notify_one();
    }
}

/// Offers events in their order and waits until each is settled. Gives the verdicts, in the
/// same order.
///
/// # Errors
/// [`Closed`] when the gateway is shutting down.
pub async fn settle(inlet: &Inlet, events: Vec<(Event, Identity)>) -> Result<Vec<Verdict>, Closed> {
    let verdicts = Arc::new(Verdicts::default());
    let count = events.len();
    let arrivals = (0u64..)
        .zip(events)
        .map(|(token, (event, identity))| Arrival {
            event,
            ack: Ack::new(Arc::clone(&verdicts) as Arc<dyn Settle>, token),
            identity,
        });
    inlet.offer(arrivals.collect()).await?;
    let mut settled: Vec<Option<Verdict>> = vec![None; count];
    let mut outstanding = count;
    while outstanding > 0 {
        verdicts.more.notified().await;
        for (token, verdict) in verdicts.take() {
            outstanding -= 1;
            if let Some(place) = settled.get_mut(token as usize) {
                *place = Some(verdict);
            }
        }
    }
    Ok(settled.into_iter().flatten().collect())
}
