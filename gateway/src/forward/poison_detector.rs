//! Finds the event that breaks the connection every time it is offered.
//!
//! A broken connection says nothing about an event, and never counts as a refusal. But a peer
//! that closes on one event (too large for it, not allowed, not to its taste) would hold up the
//! lane for ever. So: if the connection breaks [`STRIKES_MAX`] times in a row soon after the
//! same event was offered, with that event the oldest in flight, the event is poison. From the
//! second strike on it is offered alone, so that a flapping link, which lets it through in
//! between, clears it.

use std::time::{Duration, Instant};

use super::window::InFlight;
use crate::upstream::Token;

/// Broken connections that make an event poison.
pub(super) const STRIKES_MAX: u32 = 5;

/// A connection that breaks later than this after the offer did not break because of it.
const SOON: Duration = Duration::from_secs(5);

/// Counts how often the same event broke the connection.
#[derive(Debug, Default)]
pub(super) struct PoisonDetector {
    suspect: Option<(Token, u32)>,
}

impl PoisonDetector {
    /// The connection broke with `oldest` at the head of what was in flight. Gives its token
    /// when that was once too often.
    pub(super) fn broken(&mut self, oldest: Option<&InFlight>, now: Instant) -> Option<Token> {
        let oldest = oldest?;
        if now.saturating_duration_since(oldest.offered) > SOON {
            self.suspect = None;
            return None;
        }
        let strikes = match self.suspect {
            Some((token, strikes)) if token == oldest.token => strikes + 1,
            _ => 1,
        };
        self.suspect = Some((oldest.token, strikes));
        (strikes >= STRIKES_MAX).then_some(oldest.token)
    }

    /// The upstream said something about this event: it is not what breaks the connection.
    pub(super) fn settled(&mut self, token: Token) {
        if self.suspect.is_some_and(|(suspect, _)| suspect == token) {
            self.suspect = None;
        }
    }

    /// Whether only one delivery may be in flight, to see which one it is.
    pub(super) fn is_suspecting(&self) -> bool {
        self.suspect.is_some_and(|(_, strikes)| strikes >= 2)
    }
}

#[cfg(test)]
mod tests {
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
            refusals: 0,
            attempts: 0,
        }
    }

    #[test]
    fn the_fifth_break_in_a_row_right_after_the_same_event_gives_it_away() {
        let now = crate::time::clock::monotonic();
        let (mut poison, bad) = (PoisonDetector::default(), offered(7, now));
        for strike in 1..STRIKES_MAX {
            assert_eq!(poison.broken(Some(&bad), now), None);
            assert_eq!(poison.is_suspecting(), strike >= 2);
        }
        assert_eq!(poison.broken(Some(&bad), now), Some(bad.token));
    }

    #[test]
    fn another_head_an_answer_or_a_late_break_clears_it() {
        let now = crate::time::clock::monotonic();
        let (bad, other) = (offered(7, now), offered(8, now));
        let clear: [fn(&mut PoisonDetector, &InFlight, &InFlight, Instant); 3] = [
            |poison, _, other, now| assert_eq!(poison.broken(Some(other), now), None),
            |poison, bad, _, _| poison.settled(bad.token),
            |poison, bad, _, now| {
                let late = now + SOON + Duration::from_millis(1);
                assert_eq!(poison.broken(Some(bad), late), None);
            },
        ];
        for clear in clear {
            let mut poison = PoisonDetector::default();
            (1..STRIKES_MAX).for_each(|_| assert_eq!(poison.broken(Some(&bad), now), None));
            clear(&mut poison, &bad, &other, now);
            assert_eq!(poison.broken(Some(&bad), now), None);
        }
    }

    #[test]
    fn a_connection_that_breaks_with_nothing_in_flight_accuses_nobody() {
        let mut poison = PoisonDetector::default();
        (0..20)
            .for_each(|_| assert_eq!(poison.broken(None, crate::time::clock::monotonic()), None));
    }
}
