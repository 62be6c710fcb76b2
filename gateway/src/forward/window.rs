//! What is in flight: offered to the upstream and not settled, in the order it was offered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::upstream::Token;

/// When an event was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// When it became durable; of an event of an earlier run, when it was offered.
    pub(super) at: Instant,
    /// How long ago it had arrived by then, by the wall clock: only of an event of an earlier run.
    pub(super) before: Duration,
    pub(super) live: bool,
}

impl Accepted {
    /// What an entry has that is not offered yet.
    pub(super) fn just_now(at: Instant) -> Accepted {
        Accepted {
            at,
            before: Duration::ZERO,
            live: false,
        }
    }

    /// How long ago that is.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.at);
        since.saturating_add(self.before)
    }
}

/// One delivery in flight. Its bytes are with the upstream, and in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) token: Token,
    pub(super) class: u8,
    pub(super) historical: bool,
    pub(super) size_bytes: usize,
    pub(super) offered: Instant,
    pub(super) accepted: Accepted,
    pub(super) refusals: u32,
    pub(super) attempts: u32,
}

/// All deliveries in flight, bounded in number and in bytes.
#[derive(Debug)]
pub(super) struct Window {
    entries: VecDeque<InFlight>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
    /// So many entries at the front were offered before one that is settled already.
    overtaken: usize,
    progress: Option<Instant>,
}

impl Window {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Window {
        Window {
            entries: VecDeque::new(),
            bytes: 0,
            events_max: events_max.max(1),
            bytes_max,
            overtaken: 0,
            progress: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.events_max || (self.bytes >= self.bytes_max && !self.is_empty())
    }

    /// Whether one more of this size fits; one alone always does.
    pub(super) fn fits(&self, size_bytes: usize) -> bool {
        self.is_empty()
            || (self.entries.len() < self.events_max && self.bytes + size_bytes <= self.bytes_max)
    }

    pub(super) fn push(&mut self, entry: InFlight) {
        self.bytes += entry.size_bytes;
        self.entries.push_back(entry);
    }

    /// The one that was offered first.
    pub(super) fn oldest(&self) -> Option<&InFlight> {
        self.entries.front()
    }

    /// Takes out what was settled. Upstreams settle mostly in order, so it is found at once.
    pub(super) fn take(&mut self, token: Token, now: Instant) -> Option<InFlight> {
        let at = self.entries.iter().position(|entry| entry.token == token)?;
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.size_bytes;
        self.overtaken = match at < self.overtaken {
            true => self.overtaken - 1,
            false => at,
        };
        self.progress = Some(now);
        Some(entry)
    }

    /// Everything, in the order it was offered: the connection is gone.
    pub(super) fn drain(&mut self) -> Vec<InFlight> {
        self.bytes = 0;
        self.overtaken = 0;
        self.entries.drain(..).collect()
    }

    /// When the wait for acknowledgements is over. A slow link that settles one delivery after
    /// the other is no dead one; a delivery that later ones have overtaken is waited for no
    /// longer than `ack_timeout`.
    pub(super) fn deadline(&self, ack_timeout: Duration) -> Option<Instant> {
        let oldest = self.oldest()?;
        let since = match self.overtaken {
            0 => self
                .progress
                .map_or(oldest.offered, |p| p.max(oldest.offered)),
            _ => oldest.offered,
        };
        Some(since + ack_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn token(sequence: u64) -> Token {
        Token {
            sequence,
            output: 0,
        }
    }

    fn entry(sequence: u64, size_bytes: usize, offered: Instant) -> InFlight {
        InFlight {
            token: token(sequence),
            class: 1,
            historical: false,
            size_bytes,
            offered,
            accepted: Accepted::just_now(offered),
            refusals: 0,
            attempts: 0,
        }
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes_and_one_alone_always_fits() {
        let now = crate::time::clock::monotonic();
        let mut window = Window::new(3, 1000);
        assert!(window.fits(5000));
        window.push(entry(1, 400, now));
        assert!(window.fits(600) && !window.fits(601));
        window.push(entry(2, 1, now));
        window.push(entry(3, 1, now));
        assert!(window.is_full() && !window.fits(1));
        window.take(token(1), now);
        assert!(window.fits(998) && !window.fits(999));
    }

    #[test]
    fn a_slow_link_in_order_is_patiently_waited_for() {
        let start = crate::time::clock::monotonic();
        let mut window = Window::new(9, 1000);
        (1..=3).for_each(|n| window.push(entry(n, 1, start)));
        assert_eq!(window.deadline(TIMEOUT), Some(start + TIMEOUT));
        let later = start + Duration::from_secs(20);
        window.take(token(1), later);
        assert_eq!(window.deadline(TIMEOUT), Some(later + TIMEOUT));
    }

    #[test]
    fn an_overtaken_delivery_is_waited_for_once() {
        let start = crate::time::clock::monotonic();
        let mut window = Window::new(9, 1000);
        (1..=4).for_each(|n| window.push(entry(n, 1, start)));
        let later = start + Duration::from_secs(20);
        window.take(token(3), later);
        assert_eq!(window.deadline(TIMEOUT), Some(start + TIMEOUT));
        window.take(token(1), later);
        assert_eq!(
            window.deadline(TIMEOUT),
            Some(start + TIMEOUT),
            "2 is left behind"
        );
        window.take(token(2), later);
        assert_eq!(
            window.deadline(TIMEOUT),
            Some(later + TIMEOUT),
            "4 is in order"
        );
    }
}
