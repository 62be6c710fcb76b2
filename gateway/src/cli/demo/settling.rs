//! How long a demo waits, after its last reading, for what is under way.

use std::time::{Duration, Instant};

/// How long what was acknowledged may take to arrive after the last reading.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// With nothing moving for so long, and nobody of whom more is to come, the rest is not waited for.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// The wait, from the last reading on.
#[derive(Debug)]
pub(super) struct Settling {
    began: Instant,
    /// Events acknowledged and arrived when something last moved, and when that was.
    moved: (u64, u64),
    moved_at: Instant,
}

/// How everything was at one moment of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Events acknowledged so far.
    pub accepted: u64,
    /// Events that arrived so far.
    pub arrived: u64,
    /// What waits in the gateway; nothing while it does not answer.
    pub backlog: Option<u64>,
    /// Whether nobody keeps a reading that is not acknowledged.
    pub all_sent: bool,
    /// Whether somebody who keeps readings has a way to the gateway.
    pub more_to_come: bool,
    /// What was acknowledged and has not arrived.
    pub lost: u64,
}

impl Settling {
    /// Begins with the last reading.
    pub(super) fn begin(now: Instant) -> Settling {
        Settling {
            began: now,
            moved: (0, 0),
            moved_at: now,
        }
    }

    /// Whether the books can be closed. Readings that nobody can hand over are not waited for: they were not acknowledged,
    /// and their devices keep them.
    pub(super) fn is_over(&mut self, moment: &Moment, now: Instant) -> bool {
        let seen = (moment.accepted, moment.arrived);
        if seen != self.moved || moment.backlog != Some(0) || moment.more_to_come {
            self.moved = seen;
            self.moved_at = now;
        }
        let quiet = now.saturating_duration_since(self.moved_at) > QUIET_MAX;
        let done = moment.all_sent && moment.lost == 0;
        done || quiet || now.saturating_duration_since(self.began) >= SETTLE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::clock;

    /// All is quiet, and devices keep readings.
    const KEPT: Moment = Moment {
        accepted: 9,
        arrived: 9,
        backlog: Some(0),
        all_sent: false,
        more_to_come: false,
        lost: 0,
    };

    /// After how many seconds the wait for this moment, which does not change, is over.
    fn seconds(moment: Moment) -> u64 {
        let began = clock::monotonic();
        let mut settling = Settling::begin(began);
        let over = (0..100).find(|s| settling.is_over(&moment, began + Duration::from_secs(*s)));
        over.expect("it ends")
    }

    #[test]
    fn devices_that_the_gateway_cannot_hear_are_not_waited_for() {
        assert_eq!(seconds(KEPT), 6);
    }

    #[test]
    fn whoever_may_still_hand_over_is_waited_for() {
        let more_to_come = true;
        assert_eq!(
            seconds(Moment {
                more_to_come,
                ..KEPT
            }),
            60
        );
        let backlog = Some(3);
        assert_eq!(seconds(Moment { backlog, ..KEPT }), 60);
        let backlog = None;
        assert_eq!(seconds(Moment { backlog, ..KEPT }), 60);
    }

    #[test]
    fn it_is_over_at_once_where_everything_arrived_and_soon_where_something_is_lost() {
        let all_sent = true;
        assert_eq!(seconds(Moment { all_sent, ..KEPT }), 0);
        let lost = 1;
        assert_eq!(
            seconds(Moment {
                all_sent,
                lost,
                ..KEPT
            }),
            6
        );
    }

    #[test]
    fn an_acknowledgement_shows_that_it_goes_on() {
        let began = clock::monotonic();
        let mut settling = Settling::begin(began);
        for second in 0..30 {
            let moment = Moment {
                accepted: second,
                ..KEPT
            };
            let now = began + Duration::from_secs(second);
            assert!(!settling.is_over(&moment, now), "{second}");
        }
    }
}
