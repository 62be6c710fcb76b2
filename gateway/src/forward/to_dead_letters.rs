//! The upstream behind the name `dead_letter`: the store's own dead letters.

use tidegate_rules::event::UnixMs;
use tidegate_store::Store;

use super::log::waiting_for_the_disk;
use crate::event::dead_letter::DeadLetter;
use crate::upstream::{Delivery, Outcome, Token, Trouble, Upstream};

/// Dead letters moved at once: each is durable on its own.
const BATCH_MAX: usize = 64;

/// Moves what rules and sources send to `dead_letter` from the log into the dead letters. The key is the
/// record's own, so a dead letter that is moved twice is there once.
pub struct ToDeadLetters {
    store: Store,
    unix_ms: fn() -> UnixMs,
    offered: Vec<Delivery>,
}

impl ToDeadLetters {
    /// Into the dead letters of `store`, with the time on the wall clock given.
    pub fn new(store: Store, unix_ms: fn() -> UnixMs) -> ToDeadLetters {
        ToDeadLetters {
            store,
            unix_ms,
            offered: Vec::new(),
        }
    }
}

impl Upstream for ToDeadLetters {
    async fn connect(&mut self) -> Result<(), Trouble> {
        self.offered.clear();
        Ok(())
    }

    fn room(&self) -> usize {
        BATCH_MAX.saturating_sub(self.offered.len())
    }

    fn offer(&mut self, batch: Vec<Delivery>) {
        self.offered.extend(batch);
    }

    async fn settled(&mut self) -> Result<Vec<(Token, Outcome)>, Trouble> {
        if self.offered.is_empty() {
            return std::future::pending().await;
        }
        let mut moved = Vec::new();
        for delivery in std::mem::take(&mut self.offered) {
            let dead_letter = DeadLetter::sent_here(&delivery, (self.unix_ms)());
            let id = (delivery.token.sequence, delivery.token.output);
            waiting_for_the_disk(|| self.store.put_dead_letter(id, &dead_letter.encode()))
                .map_err(|error| {
                    Trouble::new(format!("a dead letter could not be stored: {error}"))
                })?;
            moved.push((delivery.token, Outcome::Confirmed));
        }
        Ok(moved)
    }

    async fn close(&mut self) {}
}
