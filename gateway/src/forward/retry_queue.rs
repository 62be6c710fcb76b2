//! Deliveries that the upstream sent back and that wait to be offered again.
//!
//! Only tokens wait here; the bytes are read again from the log when their time has come.

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_store::Sequence;

use crate::upstream::Token;

/// Why and until when a delivery waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) due: Instant,
    /// Definite refusals so far.
    pub(super) refusals: u32,
    /// Times it was offered so far.
    pub(super) attempts: u32,
    pub(super) historical: bool,
}

/// All deliveries to be offered again, per class in the order of the log.
#[derive(Debug, Default)]
pub(super) struct RetryQueue {
    by_place: BTreeMap<(u8, Token), Retry>,
}

impl RetryQueue {
    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    pub(super) fn insert(&mut self, class: u8, token: Token, retry: Retry) {
        self.by_place.insert((class, token), retry);
    }

    /// Takes the first delivery of the class whose time has come and that `goes`.
    pub(super) fn take_due(
        &mut self,
        class: u8,
        now: Instant,
        goes: impl Fn(Token) -> bool,
    ) -> Option<(Token, Retry)> {
        if self.by_place.is_empty() {
            return None;
        }
        let place = self
            .of_class(class)
            .find(|(token, retry)| retry.due <= now && goes(*token))
            .map(|(token, _)| token)?;
        let retry = self.by_place.remove(&(class, place))?;
        Some((place, retry))
    }

    /// The records of a class that wait, ascending.
    pub(super) fn sequences(&self, class: u8) -> impl Iterator<Item = Sequence> + '_ {
        self.of_class(class).map(|(token, _)| token.sequence)
    }

    /// When the next one is due. One that is held and due already waits for something else.
    pub(super) fn next_due(&self, now: Instant, held: impl Fn(Token) -> bool) -> Option<Instant> {
        let waiting = self.by_place.iter();
        let waiting = waiting.filter(|((_, token), retry)| retry.due > now || !held(*token));
        waiting.map(|(_, retry)| retry.due).min()
    }

    /// Whether the time of one that is held has come.
    pub(super) fn has_due(&self, now: Instant, held: impl Fn(Token) -> bool) -> bool {
        let mut all = self.by_place.iter();
        all.any(|((_, token), retry)| retry.due <= now && held(*token))
    }

    fn of_class(&self, class: u8) -> impl Iterator<Item = (Token, Retry)> + '_ {
        let token = |edge, output| Token {
            sequence: edge,
            output,
        };
        let all = (class, token(0, 0))..=(class, token(Sequence::MAX, u16::MAX));
        self.by_place
            .range(all)
            .map(|((_, token), retry)| (*token, *retry))
    }
}
