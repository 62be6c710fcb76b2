//! Places of a limited number, such as connections: who holds one, and a trouble while all are held.

use std::sync::Arc;
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
            observe,
        }
    }

    /// The next free place; waits for one. `None` never, while this is there.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        let what = format!(
            "all {} connections that {} allows are open, and whoever connects now waits: close those that nobody \
             uses, or allow more",
            self.max, self.limit
        );
        self.observe.follow(&self.subject, KIND, &what, None);
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let until = clock::monotonic() + QUIET;
        self.observe.over_at(&self.subject, KIND, until);
        permit
    }

    /// A trouble of the same subject that is over when it has not come again for a minute.
    pub fn tell_for_a_while(&self, kind: &'static str, what: &str) {
        let until = Some(clock::monotonic() + QUIET);
        self.observe.follow(&self.subject, kind, what, until);
    }
}
