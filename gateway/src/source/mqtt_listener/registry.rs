//! Who is connected: one seat per client id, taken over by the same user only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::reply::reason;
use super::session::Close;

struct Taken {
    user: String,
    over: Arc<Notify>,
}

/// The seats of a listener.
#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Mutex<HashMap<Arc<str>, Taken>>>);

/// A client id in use; given back when dropped.
pub(super) struct Seat {
    registry: Registry,
    client: Arc<str>,
    over: Arc<Notify>,
}

impl Registry {
    /// Takes the seat of `client`, ending an older connection of the same user (3.1.4).
    ///
    /// # Errors
    /// When somebody else sits there: a client id is no password (mosquitto #3553).
    pub(super) fn take(&self, client: &Arc<str>, user: &str) -> Result<Seat, Close> {
        let mut seats = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(taken) = seats.get(client) {
            if taken.user != user {
                return Err(Close::new(
                    reason::NOT_AUTHORIZED,
                    "the client id is in use by another user",
                ));
            }
            taken.over.notify_one();
        }
        let over = Arc::new(Notify::new());
        let taken = Taken {
            user: user.into(),
            over: Arc::clone(&over),
        };
        seats.insert(Arc::clone(client), taken);
        Ok(Seat {
            registry: self.clone(),
            client: Arc::clone(client),
            over,
        })
    }
}

impl Seat {
    /// Waits until a newer connection takes the seat.
    pub(super) async fn taken_over(&self) {
        self.over.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.registry.0.lock().unwrap_or_else(|e| e.into_inner());
        let own = seats
            .get(&self.client)
            .is_some_and(|taken| Arc::ptr_eq(&taken.over, &self.over));
        if own {
            seats.remove(&self.client);
        }
    }
}
