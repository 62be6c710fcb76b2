//! What was handed to the intake and what came back: acks go to the device in order, and a
//! refusal takes everything behind it along.

use std::time::Instant;

use tidegate_link::EventId;

use crate::event::ack::{Ack, Verdict};
use crate::event::receipts::{Receipt, Receipts};

/// An event that waits for its verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Handed {
    /// What the link calls it.
    pub(super) id: EventId,
    /// Its number in 64 bits.
    pub(super) sequence: u64,
    /// Bytes of its payload.
    pub(super) bytes: usize,
    /// When it was read.
    pub(super) at: Instant,
}

/// What verdicts mean for the link.
#[derive(Debug, PartialEq)]
pub(super) enum Settled {
    /// This one and all before it are durable.
    Stored(Handed),
    /// This one and all behind it are not, and will not be.
    Refused(Handed),
}

/// Everything of one port that is under way in the intake.
#[derive(Default)]
pub(super) struct Verdicts(Receipts<Handed>);

impl Verdicts {
    /// An ack for what is handed on next.
    pub(super) fn expect(&mut self, handed: Handed) -> Ack {
        self.0.issue(handed)
    }

    /// Nobody waits for what is under way any more.
    pub(super) fn give_up(&mut self) {
        self.0.forget();
    }

    /// How many acks are not settled, those given up included.
    pub(super) fn unsettled(&self) -> usize {
        self.0.unsettled()
    }

    /// Waits until there is a verdict to take.
    pub(super) async fn more(&self) {
        self.0.ready().await;
    }

    /// The next verdict that came. Those of events that were given up are dropped.
    ///
    /// Events of one port are committed in the order they were handed on, so the oldest is
    /// settled first; only a refusal may overtake.
    pub(super) fn take(&mut self) -> Option<Settled> {
        let receipt = self.0.take()?;
        Some(match receipt {
            Receipt {
                value,
                verdict: Verdict::Stored,
                in_order: true,
            } => Settled::Stored(value),
            Receipt { value, .. } => {
                self.0.forget();
                Settled::Refused(value)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_link::Sequence;

    use super::*;
    use crate::event::ack::Refusal;

    fn taken(verdicts: &mut Verdicts) -> Vec<Settled> {
        std::iter::from_fn(|| verdicts.take()).collect()
    }

    fn handed(sequence: u32) -> Handed {
        let id = EventId {
            device: *b"node-001",
            boot: 1,
            sequence: Sequence(sequence),
        };
        Handed {
            id,
            sequence: sequence.into(),
            bytes: 0,
            at: crate::time::clock::monotonic(),
        }
    }

    const REFUSED: Verdict = Verdict::Refused(Refusal::Full);

    #[test]
    fn stored_events_are_told_in_order() {
        let mut verdicts = Verdicts::default();
        let all: Vec<Handed> = (0..3).map(handed).collect();
        let acks: Vec<Ack> = all.iter().map(|one| verdicts.expect(*one)).collect();
        acks.into_iter().for_each(|ack| ack.settle(Verdict::Stored));
        let expected: Vec<Settled> = all.into_iter().map(Settled::Stored).collect();
        assert_eq!(taken(&mut verdicts), expected);
        assert_eq!(verdicts.unsettled(), 0);
    }

    #[test]
    fn a_refusal_is_told_once_and_gives_up_what_is_behind_it() {
        let mut verdicts = Verdicts::default();
        let all: Vec<Handed> = (0..3).map(handed).collect();
        let mut acks: Vec<Ack> = all.iter().map(|one| verdicts.expect(*one)).collect();
        let last = acks.pop().expect("three acks");
        acks.drain(..).for_each(|ack| ack.settle(REFUSED));
        assert_eq!(taken(&mut verdicts), [Settled::Refused(all[0])]);
        assert_eq!(verdicts.unsettled(), 1, "the last is still under way");
        let again = verdicts.expect(all[0]);
        last.settle(REFUSED);
        again.settle(Verdict::Stored);
        assert_eq!(taken(&mut verdicts), [Settled::Stored(all[0])]);
    }

    #[test]
    fn an_ack_that_is_dropped_refuses() {
        let mut verdicts = Verdicts::default();
        drop(verdicts.expect(handed(7)));
        assert!(matches!(taken(&mut verdicts)[..], [Settled::Refused(_)]));
    }
}
