//! What one sender has under way: a value for each ack it waits for, given back with the verdict.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ack::{Ack, Queue, Settled, Verdict};

/// Values that wait for what becomes of their acks.
///
/// The values stay with their owner; acks carry a number back, which is never used again. So a late
/// ack settles its own value or, when that was forgotten or its box is gone, nothing at all. There
/// is a place for each number between the oldest ack not settled and the newest.
pub struct Receipts<T> {
    settled: Arc<Settled>,
    /// Taken from the acks' side and not given back yet.
    taken: Queue,
    /// By number; none where it was given back before an older one.
    values: VecDeque<Option<T>>,
    /// The number of the first value.
    first: u64,
    unsettled: usize,
}

/// A value whose ack was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<T> {
    /// What the ack was issued for.
    pub value: T,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether no value issued before it still waits.
    pub in_order: bool,
}

impl<T> Default for Receipts<T> {
    fn default() -> Self {
        Receipts {
            settled: Arc::default(),
            taken: Queue::new(),
            values: VecDeque::new(),
            first: 0,
            unsettled: 0,
        }
    }
}

impl<T> Receipts<T> {
    /// The ack for what is handed on next; `value` comes back with its verdict.
    pub fn issue(&mut self, value: T) -> Ack {
        let number = self.first + self.values.len() as u64;
        self.values.push_back(Some(value));
        self.unsettled += 1;
        Ack::new(Arc::clone(&self.settled), number)
    }

    /// Acks issued whose verdicts were not given back, those of forgotten values included.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// The next verdict that is there, in the order they were settled.
    pub fn take(&mut self) -> Option<Receipt<T>> {
        loop {
            if self.taken.is_empty() {
                std::mem::swap(&mut self.taken, &mut self.settled.lock());
            }
            let (number, verdict) = self.taken.pop_front()?;
            self.unsettled -= 1;
            if let Some((value, in_order)) = self.value(number) {
                return Some(Receipt {
                    value,
                    verdict,
                    in_order,
                });
            }
        }
    }

    /// Waits until there may be something to take. Dropping the future loses nothing.
    pub async fn ready(&self) {
        if self.taken.is_empty() {
            self.settled.arrived().await;
        }
    }

    /// Waits for the next verdict; none when no value waits for one. Dropping the future loses
    /// nothing.
    pub async fn settled(&mut self) -> Option<Receipt<T>> {
        loop {
            if let Some(receipt) = self.take() {
                return Some(receipt);
            }
            if self.unsettled == 0 {
                return None;
            }
            self.ready().await;
        }
    }

    /// Gives up all values that wait: their verdicts, when they come, are about nothing.
    pub fn forget(&mut self) {
        self.first += self.values.len() as u64;
        self.values.clear();
    }

    fn value(&mut self, number: u64) -> Option<(T, bool)> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let value = self.values.get_mut(at)?.take()?;
        while self.values.pop_front_if(|value| value.is_none()).is_some() {
            self.first += 1;
        }
        Some((value, at == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ack::Refusal;
    use super::*;

    const FULL: Verdict = Verdict::Refused(Refusal::Full);
    const CLOSING: Verdict = Verdict::Refused(Refusal::Closing);

    fn taken<T>(receipts: &mut Receipts<T>) -> Vec<(T, Verdict)> {
        std::iter::from_fn(|| receipts.take())
            .map(|receipt| (receipt.value, receipt.verdict))
            .collect()
    }

    #[test]
    fn each_value_comes_back_once_in_the_order_its_ack_was_settled() {
        let mut receipts = Receipts::default();
        let mut acks: Vec<Ack> = "abcd".chars().map(|value| receipts.issue(value)).collect();
        assert_eq!((receipts.unsettled(), receipts.take()), (4, None));
        acks.remove(2).settle(FULL);
        Ack::settle_all(acks, Verdict::Stored);
        let stored = |value| (value, Verdict::Stored);
        let expected = [('c', FULL), stored('a'), stored('b'), stored('d')];
        assert_eq!(taken(&mut receipts), expected);
        assert_eq!((receipts.unsettled(), receipts.take()), (0, None));
        assert!(receipts.values.is_empty(), "no place is left behind");
    }

    #[test]
    fn what_overtakes_is_out_of_order_until_the_older_ones_are_settled() {
        let mut receipts = Receipts::default();
        let mut acks: Vec<Ack> = (0..3).map(|value| receipts.issue(value)).collect();
        let mut order = Vec::new();
        for at in [1, 0, 0] {
            acks.remove(at).settle(Verdict::Stored);
            let receipt = receipts.take().expect("a verdict");
            order.push((receipt.value, receipt.in_order));
        }
        assert_eq!(order, [(1, false), (0, true), (2, true)]);
    }

    #[test]
    fn an_ack_that_is_dropped_refuses() {
        let mut receipts = Receipts::default();
        drop(receipts.issue("event"));
        assert_eq!(taken(&mut receipts), [("event", CLOSING)]);
    }

    #[test]
    fn a_late_ack_never_settles_what_came_after() {
        let mut receipts = Receipts::default();
        let late = receipts.issue("earlier");
        receipts.forget();
        let next = receipts.issue("next");
        late.settle(Verdict::Stored);
        assert_eq!(receipts.take(), None);
        assert_eq!(receipts.unsettled(), 1);
        next.settle(FULL);
        assert_eq!(taken(&mut receipts), [("next", FULL)]);
    }

    #[test]
    fn an_ack_outlives_its_box_and_settles_nothing_of_another() {
        let mut earlier = Receipts::default();
        let late = earlier.issue("earlier");
        drop(earlier);
        let mut receipts = Receipts::default();
        let next = receipts.issue("next");
        Ack::settle_all([late, Ack::none(), next], Verdict::Stored);
        assert_eq!(taken(&mut receipts), [("next", Verdict::Stored)]);
    }

    #[test]
    fn a_thread_that_panicked_spoils_nothing() {
        let mut receipts = Receipts::default();
        let ack = receipts.issue(1);
        let settled = Arc::clone(&receipts.settled);
        let panicked = std::thread::spawn(move || {
            let _queue = settled.lock();
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        ack.settle(Verdict::Stored);
        assert_eq!(taken(&mut receipts), [(1, Verdict::Stored)]);
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_every_verdict_of_many_threads() {
        const THREADS: usize = 4;
        const EACH: usize = 2_000;
        let mut receipts = Receipts::default();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let acks: Vec<Ack> = (0..EACH)
                    .map(|at| receipts.issue(thread * EACH + at))
                    .collect();
                std::thread::spawn(move || {
                    acks.into_iter().for_each(|ack| ack.settle(Verdict::Stored));
                })
            })
            .collect();
        let mut seen = vec![0; THREADS * EACH];
        while let Some(receipt) = receipts.settled().await {
            seen[receipt.value] += 1;
        }
        assert!(seen.iter().all(|count| *count == 1));
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("a thread"));
    }

    #[tokio::test]
    async fn nothing_is_waited_for_where_no_value_waits() {
        let mut receipts = Receipts::<u8>::default();
        assert_eq!(receipts.settled().await, None);
        let ack = receipts.issue(1);
        receipts.forget();
        let late = std::thread::spawn(|| ack.settle(Verdict::Stored));
        assert_eq!(receipts.settled().await, None);
        late.join().expect("a thread");
    }
}
