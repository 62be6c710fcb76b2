//! Client ids in use: one connection each, taken over by the same user only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use super::codec::reason;
use super::disconnect::Disconnect;

struct ClientIdHolder {
    user: String,
    taken_over: Arc<Notify>,
    /// Closed when its connection has nothing more to say.
    ended: oneshot::Receiver<()>,
}

/// The client ids in use at a listener.
#[derive(Clone, Default)]
pub(super) struct ClientIds(Arc<Mutex<HashMap<Arc<str>, ClientIdHolder>>>);

/// A client id in use; given back when dropped.
pub(super) struct ClientIdLease {
    ids: ClientIds,
    client: Arc<str>,
    taken_over: Arc<Notify>,
    /// The end of the connection that had it before.
    before: Option<oneshot::Receiver<()>>,
    _ended: oneshot::Sender<()>,
}

impl ClientIds {
    /// Leases the client id `client`, ending an older connection of the same user (3.1.4).
    ///
    /// # Errors
    /// When another user holds it: a client id is no password (mosquitto #3553).
    pub(super) fn lease(&self, client: &Arc<str>, user: &str) -> Result<ClientIdLease, Disconnect> {
        let mut holders = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(holder) = holders.get(client) {
            if holder.user != user {
                return Err(Disconnect::new(
                    reason::NOT_AUTHORIZED,
                    format!("the client id {client:?} is in use by another user"),
                ));
            }
            holder.taken_over.notify_one();
        }
        let taken_over = Arc::new(Notify::new());
        let (says_end, ended) = oneshot::channel();
        let holder = ClientIdHolder {
            user: user.into(),
            taken_over: Arc::clone(&taken_over),
            ended,
        };
        let before = holders.insert(Arc::clone(client), holder);
        Ok(ClientIdLease {
            ids: self.clone(),
            client: Arc::clone(client),
            taken_over,
            before: before.map(|before| before.ended),
            _ended: says_end,
        })
    }
}

impl ClientIdLease {
    /// Waits until the connection that had the client id has said its last, its will.
    pub(super) async fn predecessor_ended(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = before.await;
        }
    }

    /// Waits until a newer connection takes the client id over.
    pub(super) async fn taken_over(&self) {
        self.taken_over.notified().await;
    }
}

impl Drop for ClientIdLease {
    fn drop(&mut self) {
        let mut holders = self.ids.0.lock().unwrap_or_else(|e| e.into_inner());
        let own = holders
            .get(&self.client)
            .is_some_and(|holder| Arc::ptr_eq(&holder.taken_over, &self.taken_over));
        if own {
            holders.remove(&self.client);
        }
    }
}
