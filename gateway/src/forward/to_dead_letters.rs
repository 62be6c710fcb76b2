//! The upstream behind the name `dead_letter`: the store's own dead letters.

use tidegate_rules::event::UnixMs;

use super::log::waiting_for_the_disk;
use crate::event::dead_letter::DeadLetter;
use crate::event::dead_letter::letters::{Kept, Letter, Letters};
use crate::event::system_topic::GAP_KIND;
use crate::upstream::{Delivery, Outcome, Token, Trouble, Upstream};

/// Dead letters moved at once: they are durable together.
const BATCH_MAX: usize = 256;

/// Moves what rules and sources send to `dead_letter` from the log into the dead letters. The key is the
/// record's own, so a dead letter that is moved twice is there once.
pub struct ToDeadLetters {
    letters: Letters,
    unix_ms: fn() -> UnixMs,
    offered: Vec<Delivery>,
}

impl ToDeadLetters {
    /// Into these dead letters, with the time on the wall clock given.
    pub fn new(letters: Letters, unix_ms: fn() -> UnixMs) -> ToDeadLetters {
        ToDeadLetters {
            letters,
            unix_ms,
            offered: Vec::new(),
        }
    }

    fn letter<'d>(&self, delivery: &'d Delivery) -> Letter<'d> {
        Letter {
            id: (delivery.token.sequence, delivery.token.output),
            letter: DeadLetter::sent_here(delivery, (self.unix_ms)()),
            source: &delivery.event.source,
            untold: &*delivery.event.kind == GAP_KIND,
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
        let mut offered = std::mem::take(&mut self.offered);
        let letters: Vec<_> = offered
            .iter()
            .map(|delivery| self.letter(delivery))
            .collect();
        let kept = waiting_for_the_disk(|| self.letters.keep(&letters))
            .map_err(|error| Trouble::new(format!("a dead letter could not be stored: {error}")))?;
        drop(letters);
        self.offered = offered.split_off(kept.len());
        let outcome = |kept: Kept| match kept {
            Kept::Held => Outcome::Confirmed,
            Kept::Dropped => Outcome::Dropped,
        };
        let tokens = offered.iter().map(|delivery| delivery.token);
        Ok(tokens.zip(kept.into_iter().map(outcome)).collect())
    }

    async fn close(&mut self) {}
}
