//! Places of a limited number, such as connections: who holds one, and a trouble while all are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::observe::Observe;
use crate::time::clock;

/// How long after the last time that all were held the trouble is over.
const QUIET: Duration = Duration::from_secs(60);
const KIND: &str = "connections";

/// Connections that may be open at once.
pub struct Slots {
    free: Arc<Semaphore>,
    max: usize,
    /// Whose they are, as a person calls it.
    subject: String,
    /// What says how many there are.
    limit: &'static str,
    /// All were held, and nobody has got one since.
    is_told: AtomicBool,
    observe: Arc<Observe>,
}

impl Slots {
    /// `max` places of `subject`, as many as `limit` says.
    pub fn new(subject: String, limit: &'static str, max: usize, observe: Arc<Observe>) -> Slots {
        Slots {
            free: Arc::new(Semaphore::new(max)),
            max,
            subject,
            limit,
            is_told: AtomicBool::new(false),
            observe,
        }
    }

    /// The next free place; waits for one. `None` never, while this is there. Whoever gives up
    /// waiting may ask again.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.tell();
                Arc::clone(&self.free).acquire_owned().await.ok()
            }
        };
        if self.is_told.swap(false, Ordering::Relaxed) {
            let until = clock::monotonic() + QUIET;
            self.observe.over_at(&self.subject, KIND, until);
        }
        permit
    }

    fn tell(&self) {
        let what = format!(
            "all {} connections that {} allows are open, and whoever connects now waits: close those that nobody \
             uses, or allow more",
            self.max, self.limit
        );
        self.is_told.store(true, Ordering::Relaxed);
        self.observe.follow(&self.subject, KIND, &what, None);
    }

    /// A trouble of the same subject that is over when it has not come again for a minute.
    pub fn tell_for_a_while(&self, kind: &'static str, what: &str) {
        let until = Some(clock::monotonic() + QUIET);
        self.observe.follow(&self.subject, kind, what, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_places_being_held_is_a_trouble_until_a_while_after_one_is_free() {
        let observe = Arc::new(Observe::default());
        let slots = Slots::new("source floor".into(), "max", 2, Arc::clone(&observe));
        let is_told = || observe.is_raised("source floor", KIND);
        let later = || clock::monotonic() + QUIET;
        let held = [slots.take().await, slots.take().await];
        assert!(!is_told(), "nobody waits");
        for round in 0..2 {
            let waits = tokio::time::timeout(Duration::from_millis(1), slots.take());
            assert!(waits.await.is_err(), "{round}: it gives up waiting");
            observe.clear_past(later());
            assert!(is_told(), "{round}: all are held");
        }
        drop(held);
        assert!(slots.take().await.is_some());
        assert!(is_told(), "it may come again at once");
        observe.clear_past(later());
        assert!(!is_told());
    }
}
