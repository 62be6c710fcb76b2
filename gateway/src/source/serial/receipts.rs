//! What was offered to the intake and what came back: acks go to the device in order, and a
//! refusal takes everything behind it along.

use std::time::Instant;

use tidegate_link::EventId;

use crate::event::ack::{Ack, Verdict};
use crate::event::receipts::{Receipt, Receipts};

/// An event that waits for its verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OfferedEvent {
    /// What the link calls it.
    pub(super) id: EventId,
    /// Its number in 64 bits.
    pub(super) sequence: u64,
    /// Bytes of its payload.
    pub(super) bytes: usize,
    /// When it was read.
    pub(super) at: Instant,
}

/// What a receipt means for the link.
#[derive(Debug, PartialEq)]
pub(super) enum Settlement {
    /// This one and all before it are durable.
    Stored(OfferedEvent),
    /// This one and all behind it are not, and will not be.
    Refused(OfferedEvent),
}

/// Everything of one port that is under way in the intake.
#[derive(Default)]
pub(super) struct DeviceReceipts(Receipts<OfferedEvent>);

impl DeviceReceipts {
    /// An ack for what is offered next.
    pub(super) fn issue(&mut self, offered: OfferedEvent) -> Ack {
        self.0.issue(offered)
    }

    /// Nobody waits for what is under way any more.
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }

    /// How many acks are not settled, those given up included.
    pub(super) fn unsettled(&self) -> usize {
        self.0.unsettled()
    }

    /// Waits until there is a verdict to take.
    pub(super) async fn ready(&self) {
        self.0.ready().await;
    }

    /// The next verdict that came. Those of events that were given up are dropped.
    ///
    /// Events of one port are committed in the order they were offered, so the oldest is
    /// settled first; only a refusal may overtake.
    pub(super) fn take(&mut self) -> Option<Settlement> {
        let receipt = self.0.take()?;
        Some(match receipt {
            Receipt {
                value,
                verdict: Verdict::Stored,
                in_order: true,
            } => Settlement::Stored(value),
            Receipt { value, .. } => {
                self.0.forget();
                Settlement::Refused(value)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_link::Sequence;

    use super::*;
    use crate::event::ack::Refusal;

    fn taken(receipts: &mut DeviceReceipts) -> Vec<Settlement> {
        std::iter::from_fn(|| receipts.take()).collect()
    }

    fn offered(sequence: u32) -> OfferedEvent {
        let id = EventId {
            device: *b"node-001",
            boot: 1,
            sequence: Sequence(sequence),
        };
        OfferedEvent {
            id,
            sequence: sequence.into(),
            bytes: 0,
            at: crate::time::clock::monotonic(),
        }
    }

    const REFUSED: Verdict = Verdict::Refused(Refusal::Full);

    #[test]
    fn stored_events_are_told_in_order() {
        let mut receipts = DeviceReceipts::default();
        let all: Vec<OfferedEvent> = (0..3).map(offered).collect();
        let acks: Vec<Ack> = all.iter().map(|one| receipts.issue(*one)).collect();
        acks.into_iter().for_each(|ack| ack.settle(Verdict::Stored));
        let expected: Vec<Settlement> = all.into_iter().map(Settlement::Stored).collect();
        assert_eq!(taken(&mut receipts), expected);
        assert_eq!(receipts.unsettled(), 0);
    }

    #[test]
    fn a_refusal_is_told_once_and_gives_up_what_is_behind_it() {
        let mut receipts = DeviceReceipts::default();
        let all: Vec<OfferedEvent> = (0..3).map(offered).collect();
        let mut acks: Vec<Ack> = all.iter().map(|one| receipts.issue(*one)).collect();
        let last = acks.pop().expect("three acks");
        acks.drain(..).for_each(|ack| ack.settle(REFUSED));
        assert_eq!(taken(&mut receipts), [Settlement::Refused(all[0])]);
        assert_eq!(receipts.unsettled(), 1, "the last is still under way");
        let again = receipts.issue(all[0]);
        last.settle(REFUSED);
        again.settle(Verdict::Stored);
        assert_eq!(taken(&mut receipts), [Settlement::Stored(all[0])]);
    }

    #[test]
    fn an_ack_that_is_dropped_refuses() {
        let mut receipts = DeviceReceipts::default();
        drop(receipts.issue(offered(7)));
        assert!(matches!(taken(&mut receipts)[..], [Settlement::Refused(_)]));
    }
}
