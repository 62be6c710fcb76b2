//! Several publishers at once, each in a thread of its own.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::mqtt::publisher::{Ledger, Publisher};
use crate::{books, wait};

/// Nothing is acknowledged for so long: it stands still.
const QUIET: Duration = Duration::from_secs(1);

/// A load that is being published.
pub struct Load {
    ledger: Arc<Mutex<Ledger>>,
    publishers: Vec<JoinHandle<u64>>,
}

/// How much each publisher publishes.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Events.
    pub count: u64,
    /// Events per second.
    pub per_second: f64,
    /// Publishes under way at once.
    pub window: usize,
}

impl Load {
    /// Starts one publisher for each of `numbers`.
    pub fn start(gateway: SocketAddr, numbers: Range<u32>, share: Share) -> Load {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let publishers = numbers.map(|number| {
            let publisher = Publisher {
                gateway,
                number,
                count: share.count,
                per_second: share.per_second,
                window: share.window,
                payload: books::payload,
                ledger: Arc::clone(&ledger),
            };
            std::thread::spawn(move || publisher.run())
        });
        Load {
            publishers: publishers.collect(),
            ledger,
        }
    }

    /// What is sent and acknowledged so far.
    ///
    /// # Panics
    /// When a publisher did.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no publisher panics")
    }

    /// Waits until nothing more is acknowledged.
    ///
    /// # Panics
    /// When that never comes.
    pub fn stands_still(&self, gateway: &Gateway) {
        let mut before = (self.ledger().acknowledged.len(), Instant::now());
        wait::find("acknowledgements stop", || {
            let count = self.ledger().acknowledged.len();
            if count != before.0 {
                before = (count, Instant::now());
            }
            let seen = || format!("{count} acknowledged\n{}", gateway.log());
            (before.1.elapsed() > QUIET).then_some(()).ok_or_else(seen)
        });
    }

    /// Lets the publishers send nothing new; what they sent is still to be acknowledged.
    pub fn enough(&self) {
        self.ledger().enough = true;
    }

    /// Lets the publishers end with what is acknowledged.
    pub fn give_up(&self) {
        self.ledger().given_up = true;
    }

    /// Waits for the publishers: what they sent, and how much they left unacknowledged.
    ///
    /// # Panics
    /// When a publisher did.
    pub fn end(self) -> (Ledger, u64) {
        let left = self
            .publishers
            .into_iter()
            .map(|publisher| publisher.join().expect("no publisher panics"))
            .sum();
        let ledger = std::mem::take(&mut *self.ledger.lock().expect("no publisher panics"));
        (ledger, left)
    }
}
