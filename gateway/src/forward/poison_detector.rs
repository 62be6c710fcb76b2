//! Finds the event that breaks the connection every time it is offered.
//!
//! A broken connection says nothing about an event, and is no refusal. But a peer that closes on
//! one event (too large for it, not allowed, not to its taste) would hold up the lane for ever.
//! So: a break soon after an offer counts against an event that was alone in flight, to an
//! upstream that has answered for others; `refusals_max` of these in a row, and the event is
//! poison. A break with several in flight accuses nobody: the next connection is offered half as
//! many at once, down to one, and each answer allows one more.

use std::time::{Duration, Instant};

use super::window::InFlight;
use crate::upstream::Token;

/// A connection that breaks later than this after the offer did not break because of it.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// So many at once are no longer held back.
const AT_ONCE_MAX: usize = 4096;

/// Counts how often the same event, alone in flight, broke the connection.
#[derive(Debug, Default)]
pub(super) struct PoisonDetector {
    suspect: Option<(Token, u32)>,
    at_once: Option<usize>,
    worked: bool,
}

impl PoisonDetector {
    /// The connection broke with `in_flight` deliveries, `oldest` at their head. Gives how many
    /// such breaks count against that one.
    pub(super) fn broken(
        &mut self,
        oldest: Option<&InFlight>,
        in_flight: usize,
        now: Instant,
    ) -> u32 {
        let Some(oldest) = oldest else {
            return 0;
        };
        if now.saturating_duration_since(oldest.offered) > SOON {
            self.suspect = None;
            return 0;
        }
        self.at_once = Some((in_flight / 2).max(1));
        if in_flight > 1 || !self.worked {
            return 0;
        }
        let strikes = match self.suspect {
            Some((token, strikes)) if token == oldest.token => strikes + 1,
            _ => 1,
        };
        self.suspect = Some((oldest.token, strikes));
        strikes
    }

    /// The upstream said something about this event: it is not what breaks the connection.
    pub(super) fn settled(&mut self, token: Token) {
        self.worked = true;
        self.forgive(token);
        self.at_once = self
            .at_once
            .map(|at_once| at_once + 1)
            .filter(|at_once| *at_once < AT_ONCE_MAX);
    }

    /// Nothing counts against this event any more.
    pub(super) fn forgive(&mut self, token: Token) {
        if self.suspect.is_some_and(|(suspect, _)| suspect == token) {
            self.suspect = None;
        }
    }

    /// Whether the upstream has ever said anything about an event.
    pub(super) fn has_worked(&self) -> bool {
        self.worked
    }

    /// How many may be in flight, to see which one it is.
    pub(super) fn in_flight_max(&self) -> usize {
        self.at_once.unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::Accepted;
    use super::*;

    fn offered(sequence: u64, offered: Instant) -> InFlight {
        InFlight {
            token: Token {
                sequence,
                output: 0,
            },
            class: 1,
            historical: false,
            size_bytes: 1,
            offered,
            accepted: Accepted::just_now(offered),
            refusals: 0,
            attempts: 0,
        }
    }

    const GOOD: Token = Token {
        sequence: 1,
        output: 0,
    };

    #[test]
    fn only_breaks_with_the_event_alone_on_an_upstream_that_works_count() {
        let now = crate::time::clock::monotonic();
        let (mut poison, bad) = (PoisonDetector::default(), offered(7, now));
        (0..20).for_each(|_| assert_eq!(poison.broken(Some(&bad), 1, now), 0, "never worked"));
        poison.settled(GOOD);
        (0..20).for_each(|_| assert_eq!(poison.broken(Some(&bad), 2, now), 0, "not alone"));
        (0..20).for_each(|_| assert_eq!(poison.broken(None, 0, now), 0, "nothing in flight"));
        for strike in 1..=5 {
            assert_eq!(poison.broken(Some(&bad), 1, now), strike);
        }
    }

    #[test]
    fn another_one_an_answer_or_a_late_break_clears_it() {
        let now = crate::time::clock::monotonic();
        let (bad, other) = (offered(7, now), offered(8, now));
        let late = now + SOON + Duration::from_millis(1);
        let clear: [&dyn Fn(&mut PoisonDetector); 3] = [
            &|poison| assert_eq!(poison.broken(Some(&other), 1, now), 1),
            &|poison| poison.settled(bad.token),
            &|poison| assert_eq!(poison.broken(Some(&bad), 1, late), 0),
        ];
        for clear in clear {
            let mut poison = PoisonDetector::default();
            poison.settled(GOOD);
            (1..5).for_each(|strike| assert_eq!(poison.broken(Some(&bad), 1, now), strike));
            clear(&mut poison);
            assert_eq!(poison.broken(Some(&bad), 1, now), 1);
        }
    }

    #[test]
    fn after_a_break_half_as_many_go_at_once_and_each_answer_allows_one_more() {
        let now = crate::time::clock::monotonic();
        let (mut poison, head) = (PoisonDetector::default(), offered(7, now));
        assert_eq!(poison.in_flight_max(), usize::MAX);
        for (in_flight, at_once) in [(100, 50), (50, 25), (3, 1), (1, 1)] {
            poison.broken(Some(&head), in_flight, now);
            assert_eq!(poison.in_flight_max(), at_once);
        }
        poison.settled(GOOD);
        assert_eq!(poison.in_flight_max(), 2);
        (0..AT_ONCE_MAX).for_each(|_| poison.settled(GOOD));
        assert_eq!(poison.in_flight_max(), usize::MAX);
    }
}
