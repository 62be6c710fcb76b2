//! What was handed to the intake and what came back: acks go to the device in order, and a
//! refusal takes everything behind it along.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tidegate_link::EventId;
use tokio::sync::Notify;

use crate::event::ack::{Ack, Settle, Verdict};

/// Verdicts as the commit thread leaves them; as many as there are acks under way.
#[derive(Default)]
struct Letterbox {
    taken: Mutex<Vec<(u64, Verdict)>>,
    more: Notify,
}

impl Letterbox {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Verdict)>> {
        self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Settle for Letterbox {
    fn settle(&self, token: u64, verdict: Verdict) {
        self.lock().push((token, verdict));
        self.more.notify_one();
    }
}

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
pub(super) struct Verdicts {
    letters: Arc<Letterbox>,
    waiting: VecDeque<(u64, Handed)>,
    next_token: u64,
    /// Acks handed out and not settled, those given up included.
    unsettled: usize,
}

impl Verdicts {
    /// An ack for what is handed on next.
    pub(super) fn expect(&mut self, handed: Handed) -> Ack {
        let token = self.next_token;
        self.next_token += 1;
        self.unsettled += 1;
        self.waiting.push_back((token, handed));
        Ack::new(Arc::clone(&self.letters) as Arc<dyn Settle>, token)
    }

    /// Nobody waits for what is under way any more.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }

    /// How many acks are not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Waits until there is a verdict to take.
    pub(super) async fn more(&self) {
        self.letters.more.notified().await;
    }

    /// Takes the verdicts that came, in order. Those of events that were given up are dropped.
    pub(super) fn take(&mut self) -> Vec<Settled> {
        let letters = std::mem::take(&mut *self.letters.lock());
        self.unsettled -= letters.len();
        letters
            .into_iter()
            .filter_map(|(token, verdict)| self.judge(token, verdict))
            .collect()
    }

    /// Events of one port are committed in the order they were handed on, so the oldest is
    /// settled first; only a refusal may overtake.
    fn judge(&mut self, token: u64, verdict: Verdict) -> Option<Settled> {
        let place = self.waiting.iter().position(|(mine, _)| *mine == token)?;
        match verdict {
            Verdict::Stored if place == 0 => {
                let (_, handed) = self.waiting.pop_front()?;
                Some(Settled::Stored(handed))
            }
            _ => {
                let (_, handed) = *self.waiting.get(place)?;
                self.waiting.clear();
                Some(Settled::Refused(handed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_link::Sequence;

    use super::*;
    use crate::event::ack::Refusal;

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
        assert_eq!(verdicts.take(), expected);
        assert_eq!(verdicts.unsettled(), 0);
    }

    #[test]
    fn a_refusal_is_told_once_and_gives_up_what_is_behind_it() {
        let mut verdicts = Verdicts::default();
        let all: Vec<Handed> = (0..3).map(handed).collect();
        let mut acks: VecDeque<Ack> = all.iter().map(|one| verdicts.expect(*one)).collect();
        let last = acks.pop_back().expect("three acks");
        acks.drain(..).for_each(|ack| ack.settle(REFUSED));
        assert_eq!(verdicts.take(), [Settled::Refused(all[0])]);
        assert_eq!(verdicts.unsettled(), 1, "the last is still under way");
        let again = verdicts.expect(all[0]);
        last.settle(REFUSED);
        again.settle(Verdict::Stored);
        assert_eq!(verdicts.take(), [Settled::Stored(all[0])]);
    }

    #[test]
    fn an_ack_that_is_dropped_refuses() {
        let mut verdicts = Verdicts::default();
        drop(verdicts.expect(handed(7)));
        assert!(matches!(verdicts.take()[..], [Settled::Refused(_)]));
    }
}
