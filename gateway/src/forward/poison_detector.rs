//! Finds the event that breaks the connection every time it is offered.
//!
//! A broken connection says nothing about an event, and is no refusal. But a peer that closes on one event (too large for
//! it, not allowed, not to its taste) would hold up the lane for ever. So:
//!
//! - A break with several in flight accuses nobody: the next connection is offered half as many at once, down to one, and
//!   each answer allows one more.
//! - An event that was alone in flight, and offered just before, is a suspect, and goes again first, for order.
//! - After [`BREAKS_MAX`] such breaks in a row the suspects step aside for one connection, so that another event shows
//!   whether the link works. Where that one breaks it as well, they go first again, and longer than before.
//! - Where the link works for others, a suspect is tried on the same connection, alone. A break then counts as a refusal;
//!   `refusals_max` of these, and the event is poison.
//!
//! An upstream that answers each request may fail over one event without an end to any connection (a webhook that says 500
//! to it). That is looked into in the same way, but what is answered is never poison: it lets others go first, and waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::window::InFlight;
use crate::upstream::Token;

/// A connection that breaks later than this after the offer did not break because of it.
const SOON: Duration = Duration::from_secs(5);
/// Breaks in a row before suspects step aside; doubled each time that another event broke the connection as well...
const BREAKS_MAX: u32 = 5;
/// ... so often.
const DOUBLED_MAX: u32 = 2;
/// The same of a server that answers and fails: one that is in trouble for a while gets its events in their order.
const ANSWERS_MAX: u32 = 8;
/// Failures over one event, while the upstream worked for others, after which it is said to wait.
const WAITS_AFTER: u32 = 2;
/// Suspects at once.
const SUSPECTS_MAX: usize = 64;
/// So many at once are no longer held back.
const AT_ONCE_MAX: usize = 4096;

/// What a break says of the event that was alone in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    None,
    /// It may be what breaks connections; so often it was while the link worked for others.
    Suspect { strikes: u32 },
    /// It breaks connections.
    Poison,
}

#[derive(Debug, Default)]
struct Suspect {
    breaks: u32,
    strikes: u32,
    /// The upstream answered for it, last: it waits for as long as that takes.
    waits: bool,
}

/// Counts how often the same event, alone in flight, broke the connection.
#[derive(Debug, Default)]
pub(super) struct PoisonDetector {
    suspects: BTreeMap<Token, Suspect>,
    /// Whether the suspects let others go first.
    aside: bool,
    /// Whether this connection has answered for an event that is no suspect.
    proven: bool,
    /// Times in a row that another event broke the connection as well.
    doubled: u32,
    at_once: Option<usize>,
}

impl PoisonDetector {
    /// A connection stands.
    pub(super) fn connected(&mut self) {
        self.proven = false;
    }

    /// The connection broke with `in_flight` deliveries, `oldest` at their head.
    pub(super) fn broken(
        &mut self,
        oldest: Option<&InFlight>,
        in_flight: usize,
        now: Instant,
        refusals_max: u32,
    ) -> Verdict {
        let Some(oldest) = oldest else {
            self.proven = false;
            return Verdict::None;
        };
        if now.saturating_duration_since(oldest.offered) > SOON {
            self.proven = false;
            if in_flight == 1 {
                self.forgive(oldest.token);
            }
            return Verdict::None;
        }
        self.failed(oldest.token, in_flight, Some(refusals_max))
    }

    /// The upstream failed with `in_flight` deliveries, this one among them. Without `refusals_max` it answered, which never
    /// makes poison of the event.
    pub(super) fn failed(
        &mut self,
        token: Token,
        in_flight: usize,
        refusals_max: Option<u32>,
    ) -> Verdict {
        let proven = std::mem::take(&mut self.proven);
        self.at_once = Some((in_flight / 2).max(1));
        let is_suspect = self.suspects.contains_key(&token);
        if in_flight > 1 || (!is_suspect && self.suspects.len() >= SUSPECTS_MAX) {
            return Verdict::None;
        }
        if self.aside && !is_suspect && !proven {
            // The link breaks for others too.
            self.aside = false;
            self.doubled = (self.doubled + 1).min(DOUBLED_MAX);
            self.suspects.values_mut().for_each(|of| of.breaks = 0);
        }
        let enough = match refusals_max {
            Some(_) => BREAKS_MAX << self.doubled,
            None => ANSWERS_MAX << self.doubled,
        };
        let suspect = self.suspects.entry(token).or_default();
        suspect.breaks = suspect.breaks.saturating_add(1);
        suspect.strikes = suspect.strikes.saturating_add(proven.into());
        suspect.waits = refusals_max.is_none();
        let strikes = suspect.strikes;
        if strikes > 0 && refusals_max.is_some_and(|max| strikes >= max) {
            return Verdict::Poison;
        }
        self.aside |= suspect.breaks >= enough;
        Verdict::Suspect { strikes }
    }

    /// The upstream said something about this event: it is not what breaks the connection.
    pub(super) fn settled(&mut self, token: Token) {
        if !self.suspects.contains_key(&token) {
            self.proven = true;
            self.doubled = 0;
        }
        self.forgive(token);
        self.at_once = self
            .at_once
            .map(|at_once| at_once + 1)
            .filter(|at_once| *at_once < AT_ONCE_MAX);
    }

    /// Nothing counts against this event any more.
    pub(super) fn forgive(&mut self, token: Token) {
        self.suspects.remove(&token);
        self.aside &= !self.suspects.is_empty();
    }

    /// Whether this event lets others go first.
    pub(super) fn holds(&self, token: Token) -> bool {
        self.aside && self.suspects.contains_key(&token)
    }

    /// Whether suspects may be tried, each alone: this connection works for others.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Suspects that let others go first.
    pub(super) fn held(&self) -> usize {
        match self.aside {
            true => self.suspects.len(),
            false => 0,
        }
    }

    /// Events that the upstream answers for and does not take, again and again, while it takes others.
    pub(super) fn waiting(&self) -> usize {
        let waits = |of: &&Suspect| of.waits && of.strikes >= WAITS_AFTER;
        self.suspects.values().filter(waits).count()
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

    const REFUSALS_MAX: u32 = 5;

    fn token(sequence: u64) -> Token {
        Token {
            sequence,
            output: 0,
        }
    }

    fn offered(sequence: u64, offered: Instant) -> InFlight {
        InFlight {
            token: token(sequence),
            class: 1,
            historical: false,
            size_bytes: 1,
            offered,
            accepted: Accepted::just_now(offered),
            refusals: 0,
            attempts: 0,
        }
    }

    /// A detector and its breaks, each at once after the offer.
    struct Link {
        poison: PoisonDetector,
        now: Instant,
    }

    impl Link {
        fn new() -> Link {
            Link {
                poison: PoisonDetector::default(),
                now: crate::time::clock::monotonic(),
            }
        }

        /// A connection that answers for `good` and breaks with `bad` alone.
        fn breaks(&mut self, good: &[u64], bad: u64) -> Verdict {
            self.poison.connected();
            good.iter()
                .for_each(|good| self.poison.settled(token(*good)));
            let bad = offered(bad, self.now);
            self.poison.broken(Some(&bad), 1, self.now, REFUSALS_MAX)
        }
    }

    const UNPROVEN: Verdict = Verdict::Suspect { strikes: 0 };

    #[test]
    fn a_link_that_worked_once_and_then_breaks_makes_no_poison() {
        let mut link = Link::new();
        link.poison.settled(token(1));
        for _ in 0..100 {
            assert_eq!(link.breaks(&[], 7), UNPROVEN);
        }
        let mut late = offered(7, link.now);
        late.offered = link.now;
        let now = link.now + SOON + Duration::from_millis(1);
        let verdict = link.poison.broken(Some(&late), 1, now, REFUSALS_MAX);
        assert_eq!(verdict, Verdict::None, "broken late");
        for in_flight in [2, 10] {
            let verdict = link
                .poison
                .broken(Some(&late), in_flight, link.now, REFUSALS_MAX);
            assert_eq!(verdict, Verdict::None, "not alone");
        }
        assert_eq!(
            link.poison.broken(None, 0, link.now, REFUSALS_MAX),
            Verdict::None
        );
    }

    #[test]
    fn only_connections_that_worked_for_others_count() {
        let mut link = Link::new();
        for strikes in 1..REFUSALS_MAX {
            for _ in 0..3 {
                let before = Verdict::Suspect {
                    strikes: strikes - 1,
                };
                assert_eq!(link.breaks(&[], 7), before);
            }
            assert_eq!(link.breaks(&[1], 7), Verdict::Suspect { strikes });
        }
        assert_eq!(link.breaks(&[1], 7), Verdict::Poison);
    }

    #[test]
    fn an_answer_for_it_clears_it() {
        let mut link = Link::new();
        (1..REFUSALS_MAX).for_each(|_| _ = link.breaks(&[1], 7));
        link.poison.settled(token(7));
        assert_eq!(link.breaks(&[1], 7), Verdict::Suspect { strikes: 1 });
    }

    #[test]
    fn a_suspect_steps_aside_after_some_breaks_until_another_event_breaks_the_link_too() {
        let mut link = Link::new();
        let enough = [1, 2, 4, 4].map(|times| times * BREAKS_MAX);
        for (other, enough) in (8..).zip(enough) {
            for _ in 0..enough {
                assert!(!link.poison.holds(token(7)), "it goes first");
                link.breaks(&[], 7);
            }
            assert!(link.poison.holds(token(7)));
            link.breaks(&[], other);
        }
        (0..4 * BREAKS_MAX).for_each(|_| _ = link.breaks(&[], 7));
        assert!(link.poison.holds(token(8)), "all that broke it step aside");
        link.poison.settled(token(20));
        assert!(link.poison.is_proven() && link.poison.holds(token(7)));
        assert_eq!(link.breaks(&[20], 7), Verdict::Suspect { strikes: 1 });
        assert!(link.poison.holds(token(7)), "the link is not what it is");
    }

    #[test]
    fn what_is_answered_waits_and_is_never_poison() {
        let mut link = Link::new();
        let failed = |link: &mut Link| link.poison.failed(token(7), 1, None);
        for _ in 0..ANSWERS_MAX {
            assert!(!link.poison.holds(token(7)), "it goes first");
            assert_eq!(failed(&mut link), UNPROVEN);
        }
        assert!(link.poison.holds(token(7)));
        assert_eq!(link.poison.waiting(), 0, "nothing else was taken");
        for strikes in 1..10 * REFUSALS_MAX {
            link.poison.settled(token(1));
            assert_eq!(failed(&mut link), Verdict::Suspect { strikes });
            assert_eq!(link.poison.waiting(), usize::from(strikes > 1));
        }
        link.poison.settled(token(7));
        assert_eq!(link.poison.waiting(), 0);
    }

    #[test]
    fn after_a_break_half_as_many_go_at_once_and_each_answer_allows_one_more() {
        let now = crate::time::clock::monotonic();
        let (mut poison, head) = (PoisonDetector::default(), offered(7, now));
        assert_eq!(poison.in_flight_max(), usize::MAX);
        for (in_flight, at_once) in [(100, 50), (50, 25), (3, 1), (1, 1)] {
            poison.broken(Some(&head), in_flight, now, REFUSALS_MAX);
            assert_eq!(poison.in_flight_max(), at_once);
        }
        poison.settled(token(1));
        assert_eq!(poison.in_flight_max(), 2);
        (0..AT_ONCE_MAX).for_each(|_| poison.settled(token(1)));
        assert_eq!(poison.in_flight_max(), usize::MAX);
    }
}
