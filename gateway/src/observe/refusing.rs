//! Why events are refused just now: one reason for the status and for every sender that asks.

use std::sync::{Arc, Mutex, PoisonError};

/// The reason of the latest refusal; written by the commit thread, read by whoever answers a sender.
#[derive(Debug, Clone, Default)]
pub struct Refusing(Arc<Mutex<String>>);

impl Refusing {
    /// Events are refused because of this.
    pub fn set(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why the latest ones were; empty before the first.
    pub fn because(&self) -> String {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
    }

    /// What their sender is told.
    pub fn words(&self) -> String {
        words(&self.because())
    }
}

/// A sentence of it, with its reason.
pub fn words(because: &str) -> String {
    match because {
        "" => "events are refused: no reason is known".to_owned(),
        why => format!("events are refused: {why}"),
    }
}
