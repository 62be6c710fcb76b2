//! Records with several outputs to a lane in one class: each is done when all of its outputs are, and what of them is given
//! up for one cause becomes one dead letter.

use tidegate_store::{Sequence, StoredRecord};

use super::{Fate, Lane, Undeliverable};
use crate::event::dead_letter::Cause;
use crate::forward::window::InFlight;
use crate::time::clock::Now;
use crate::upstream::Token;

/// What is known of the outputs of one record.
#[derive(Debug)]
pub(in crate::forward) struct Outstanding {
    /// Outputs that are not done with.
    left: usize,
    worst: Fate,
    /// Of those left, what is given up and waits for the others: an event makes one letter, not one for each rule.
    given_up: Vec<Undeliverable>,
}

impl Outstanding {
    /// What is given up, by its cause, once nothing else is left.
    fn letters(&mut self) -> Vec<Vec<Undeliverable>> {
        if self.given_up.len() < self.left {
            return Vec::new();
        }
        let mut letters: Vec<Vec<Undeliverable>> = Vec::new();
        self.given_up.sort_by_key(|one| one.entry.token);
        for one in std::mem::take(&mut self.given_up) {
            match letters.iter_mut().find(|of| of[0].cause == one.cause) {
                Some(letter) => letter.push(one),
                None => letters.push(vec![one]),
            }
        }
        letters
    }
}

impl Lane {
    /// Notes that a record has several outputs to this lane in one class.
    pub(in crate::forward) fn expect(&mut self, class: u8, sequence: Sequence, outputs: usize) {
        let outstanding = Outstanding {
            left: outputs,
            worst: Fate::Empty,
            given_up: Vec::new(),
        };
        self.outstanding.insert((class, sequence), outstanding);
    }

    /// Asks for a dead letter, as soon as nothing else is left of the record; the delivery is nowhere else until that is
    /// answered.
    pub(in crate::forward) fn give_up(
        &mut self,
        entry: InFlight,
        cause: Cause,
        reason: String,
        stored: Option<StoredRecord>,
    ) {
        let place = (entry.class, entry.token.sequence);
        let one = Undeliverable {
            entry,
            cause,
            reason,
            stored,
        };
        match self.outstanding.get_mut(&place) {
            Some(outstanding) => {
                outstanding.given_up.push(one);
                let letters = outstanding.letters();
                self.undeliverable.extend(letters);
            }
            None => self.undeliverable.push_back(vec![one]),
        }
        self.has_actions |= !self.undeliverable.is_empty();
    }

    /// The dead letter is durable or was one too many, or the record is gone from the log.
    pub(in crate::forward) fn kept(&mut self, undeliverable: &Undeliverable, fate: Fate) {
        let Undeliverable { entry, cause, .. } = undeliverable;
        if *cause == Cause::Poison {
            self.poison.forgive(entry.token);
        }
        self.finish(entry.class, entry.token, fate);
    }

    /// The dead letter is not durable, so the delivery must not be confirmed: it is offered again
    /// and, given up again, comes back as an action.
    pub(in crate::forward) fn not_kept(&mut self, undeliverable: Undeliverable, now: Now) {
        let entry = undeliverable.entry;
        match undeliverable.cause {
            Cause::Refused => self.retry_refused(&entry, undeliverable.reason, now),
            Cause::Poison => self.retry(&entry, entry.attempts + 1, now.instant, entry.refusals),
            Cause::Unreadable | Cause::Rule | Cause::Source => {
                let due = now.instant + self.settings.retry_max;
                self.retry(&entry, entry.attempts, due, entry.refusals);
            }
        }
    }

    /// An output is done with, and with the last one its record.
    pub(in crate::forward) fn finish(&mut self, class: u8, token: Token, fate: Fate) {
        self.seen.remove(&token);
        let place = (class, token.sequence);
        let mut fate = fate;
        if let Some(outstanding) = self.outstanding.get_mut(&place) {
            outstanding.left = outstanding.left.saturating_sub(1);
            outstanding.worst = outstanding.worst.max(fate);
            fate = outstanding.worst;
            if outstanding.left > 0 {
                let letters = outstanding.letters();
                self.undeliverable.extend(letters);
                self.has_actions |= !self.undeliverable.is_empty();
                return;
            }
            self.outstanding.remove(&place);
        }
        let of_class = self.finished[fate as usize].get_mut(usize::from(class));
        if let Some(sequences) = of_class {
            sequences.push(token.sequence);
            self.has_actions = true;
        }
    }
}
