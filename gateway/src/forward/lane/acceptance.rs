//! When an event was accepted, and whether it is live.
//!
//! *Live* is what was accepted in this run while its upstream was connected, had asked for no pause, and had been offered
//! everything that an earlier outage, pause or start had left. All else is *backlog*: it waited behind an interruption.
//! Under `backfill = "live_first"` what a backlog holds is not waited for. A lane that is merely slower than what comes
//! stays live: its delay is nobody's outage.

use std::time::{Duration, Instant};

use tidegate_store::Sequence;

use super::Lane;
use crate::config::Backfill;
use crate::event::committed_log::CommitTime;
use crate::forward::log::LaneLog;
use crate::forward::window::{Accepted, InFlight};
use crate::time::clock::Now;
use crate::upstream::Delivery;

/// What a lane knows of the acceptance of its events.
#[derive(Debug, Default)]
pub(super) struct Acceptance {
    /// The commit that was asked for last.
    known: Option<CommitTime>,
    /// Records from here on are live; `None` while there is an interruption to catch up with.
    live_from: Option<Sequence>,
}

impl Acceptance {
    /// The upstream is away, or asks for a pause.
    pub(super) fn interrupted(&mut self) {
        self.live_from = None;
    }

    /// Nothing from before `end` waits any more.
    pub(super) fn caught_up(&mut self, end: Sequence) {
        self.live_from.get_or_insert(end);
    }

    /// When the event of a delivery was accepted. A clock that was set meanwhile makes nothing younger than new.
    pub(super) fn of(&mut self, log: &impl LaneLog, delivery: &Delivery, now: Now) -> Accepted {
        let sequence = delivery.token.sequence;
        let is_known = |time: &CommitTime| time.sequences.contains(&sequence);
        if !self.known.as_ref().is_some_and(is_known) {
            self.known = log.commit_time(sequence, now.instant);
        }
        match &self.known {
            Some(time) => Accepted {
                at: time.durable,
                before: Duration::ZERO,
                live: self.live_from.is_some_and(|from| sequence >= from),
            },
            None => {
                let ms = now.unix_ms.saturating_sub(delivery.event.received);
                Accepted {
                    at: now.instant,
                    before: Duration::from_millis(ms.max(0).unsigned_abs()),
                    live: false,
                }
            }
        }
    }
}

impl Lane {
    /// Live traffic shares the link with a backlog: as soon as something may be offered it has caught up.
    pub(super) fn share_link(&mut self, end: Sequence, now: Instant) {
        let shared = self.settings.backfill == Backfill::LiveFirst;
        if shared && self.blocked_until(now).is_none() {
            self.acceptance.caught_up(end);
        }
    }

    /// Measures what was acknowledged.
    pub(super) fn measure(&self, entry: &InFlight, now: Instant) {
        let confirm = now.saturating_duration_since(entry.offered);
        self.metrics.observe_confirm(confirm);
        let accepted = &entry.accepted;
        let times = &self.metrics.deliveries;
        times.observe(entry.class, accepted.live, accepted.age(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LaneSettings;
    use crate::forward::lane_driver::LaneDriver;
    use crate::forward::lane_model::{ListLog, at, settings};
    use crate::upstream::{Outcome, Trouble};

    /// A lane whose records become durable as time goes on, and whose upstream answers what it is told to.
    struct Field {
        log: ListLog,
        lane: LaneDriver<ListLog>,
        now: Instant,
    }

    impl Field {
        fn start(settings: LaneSettings, before: usize) -> Field {
            let (log, now) = (ListLog::default(), Instant::now());
            (0..before).for_each(|_| assert!(log.append(&[1]) > 0));
            let mut lane = log.lane(settings, now);
            lane.connected();
            Field { log, lane, now }
        }

        fn accept(&mut self, records: usize) {
            for _ in 0..records {
                let sequence = self.log.append(&[1]);
                self.log.0.borrow_mut().times.push((sequence, self.now));
            }
        }

        fn after(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
        }

        fn answer(&mut self, room: usize, outcome: &Outcome) {
            let batch = self
                .lane
                .take(at(self.now), room)
                .expect("the lane is there");
            let tokens: Vec<_> = batch.iter().map(|delivery| delivery.token).collect();
            self.log.0.borrow_mut().acked.extend(&tokens);
            let answers = tokens.into_iter().map(|token| (token, outcome.clone()));
            self.lane.settle(at(self.now), answers.collect());
        }

        fn confirm(&mut self) {
            self.answer(100, &Outcome::Confirmed);
        }

        /// A look that finds nothing to send.
        fn idle(&mut self) {
            assert_eq!(
                self.lane.take(at(self.now), 100).expect("the lane").len(),
                0
            );
        }

        fn lose_connection(&mut self) {
            let trouble = Trouble::new("gone".to_owned());
            self.lane.broken(at(self.now), &trouble);
        }

        /// Live events and their p99, those of the backlog and theirs, in milliseconds.
        fn seen(&self) -> [(u64, f64); 2] {
            let status = self.lane.lane.metrics.deliveries.status(self.now);
            let window = status.since_start;
            let seen = |of: &crate::observe::status::DeliveryTraffic| {
                (of.events, of.p99_ms.unwrap_or_default())
            };
            [seen(&window.live), seen(&window.backlog)]
        }
    }

    fn busy() -> Outcome {
        Outcome::Busy {
            reason: "503".into(),
            retry_ms: Some(1_000),
        }
    }

    #[track_caller]
    fn check(field: &Field, live: (u64, f64), backlog: (u64, f64)) {
        for (found, expected) in field.seen().iter().zip([live, backlog]) {
            assert_eq!(found.0, expected.0, "{:?}", field.seen());
            let near = (found.1 - expected.1).abs() <= expected.1 * 0.26;
            assert!(near, "{:?}", field.seen());
        }
    }

    #[test]
    fn what_no_interruption_held_up_is_live() {
        let mut field = Field::start(settings(10, Backfill::InOrder), 0);
        field.idle();
        field.accept(4);
        field.after(20);
        field.confirm();
        check(&field, (4, 20.0), (0, 0.0));
    }

    #[test]
    fn what_an_earlier_run_left_is_backlog_and_what_waits_behind_it_too() {
        let mut field = Field::start(settings(2, Backfill::InOrder), 3);
        field.accept(1);
        field.after(50);
        field.confirm();
        field.confirm();
        // By the wall clock these are as old as their `received` of 1970 says.
        let [live, backlog] = field.seen();
        assert_eq!((live.0, backlog.0), (0, 4));
        field.idle();
        field.accept(1);
        field.after(5);
        field.confirm();
        assert_eq!(field.seen().map(|(events, _)| events), [1, 4]);
    }

    #[test]
    fn what_waits_behind_an_outage_is_backlog_until_the_lane_has_caught_up() {
        let mut field = Field::start(settings(10, Backfill::InOrder), 0);
        field.idle();
        field.accept(1);
        field.after(2);
        field.confirm();
        field.lose_connection();
        field.accept(5);
        field.after(60_000);
        field.lane.connected();
        field.answer(3, &Outcome::Confirmed);
        field.accept(1);
        field.answer(3, &Outcome::Confirmed);
        check(&field, (1, 2.0), (6, 60_000.0));
        field.idle();
        field.accept(2);
        field.after(3);
        field.confirm();
        check(&field, (3, 3.0), (6, 60_000.0));
    }

    #[test]
    fn what_is_in_flight_when_the_connection_breaks_is_backlog_when_it_is_sent_again() {
        let mut field = Field::start(settings(10, Backfill::InOrder), 0);
        field.idle();
        field.accept(3);
        assert_eq!(field.lane.take(at(field.now), 100).expect("three").len(), 3);
        field.after(1_000);
        field.lose_connection();
        field.after(1_000);
        field.lane.connected();
        // A connection that broke is tried with less in flight.
        (0..3).for_each(|_| field.confirm());
        check(&field, (0, 0.0), (3, 2_000.0));
    }

    #[test]
    fn what_waits_for_a_pause_that_the_upstream_asked_for_is_backlog() {
        let mut field = Field::start(settings(10, Backfill::InOrder), 0);
        field.idle();
        field.accept(1);
        field.answer(100, &busy());
        field.accept(2);
        field.after(1_000);
        field.confirm();
        check(&field, (0, 0.0), (3, 1_000.0));
        field.idle();
        field.accept(1);
        field.after(8);
        field.confirm();
        check(&field, (1, 8.0), (3, 1_000.0));
    }

    #[test]
    fn one_event_that_is_refused_makes_no_backlog_of_the_others() {
        let mut field = Field::start(settings(10, Backfill::InOrder), 0);
        field.idle();
        field.accept(1);
        field.answer(100, &Outcome::Refused("0x99".into()));
        field.accept(2);
        field.confirm();
        field.after(1_000);
        field.confirm();
        assert_eq!(field.seen()[0].0 + field.seen()[1].0, 3);
        assert!(field.seen()[0].0 >= 2, "{:?}", field.seen());
    }

    #[test]
    fn a_lane_that_is_slower_than_what_comes_is_live_and_its_delay_is_seen() {
        let mut field = Field::start(settings(2, Backfill::InOrder), 0);
        field.idle();
        for _ in 0..50 {
            field.accept(4);
            field.after(100);
            field.confirm();
        }
        let [live, backlog] = field.seen();
        assert_eq!((live.0, backlog.0), (100, 0));
        assert!(live.1 > 2_000.0, "{live:?}");
    }

    #[test]
    fn live_first_does_not_wait_for_its_backlog() {
        let mut field = Field::start(settings(10, Backfill::LiveFirst), 0);
        field.accept(30);
        field.after(5_000);
        field.lose_connection();
        field.lane.connected();
        field.answer(1, &Outcome::Confirmed);
        field.accept(4);
        field.after(10);
        field.answer(4, &Outcome::Confirmed);
        let [live, backlog] = field.seen();
        assert!(live.0 >= 3 && live.1 <= 13.0, "{live:?} {backlog:?}");
        assert!(backlog.0 >= 1 && backlog.1 >= 4_000.0, "{backlog:?}");
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_only_what_an_earlier_run_left_and_never_below_nothing() {
        for (step_ms, of_earlier_run_ms) in [
            (-86_400_000_000_000, 0.1),
            (0, 0.1),
            (3_600_000, 3_600_000.0),
        ] {
            let mut field = Field::start(settings(10, Backfill::InOrder), 1);
            // Its `received` is 0, the wall clock of the test says 2023.
            let wall = |now| Now {
                unix_ms: step_ms,
                ..at(now)
            };
            let batch = field.lane.take(wall(field.now), 10).expect("one");
            field.log.0.borrow_mut().acked.insert(batch[0].token);
            let answers = vec![(batch[0].token, Outcome::Confirmed)];
            field.lane.settle(wall(field.now), answers);
            let [_, (events, p99)] = field.seen();
            assert_eq!(events, 1);
            assert!(
                (p99 - of_earlier_run_ms).abs() <= of_earlier_run_ms * 0.26,
                "{step_ms}: {p99}"
            );
            assert_eq!(field.lane.take(wall(field.now), 10).expect("none").len(), 0);
            field.accept(1);
            field.after(30);
            let batch = field.lane.take(wall(field.now), 10).expect("one");
            field.log.0.borrow_mut().acked.insert(batch[0].token);
            field
                .lane
                .settle(wall(field.now), vec![(batch[0].token, Outcome::Confirmed)]);
            let [(events, p99), _] = field.seen();
            assert_eq!(events, 1);
            assert!((p99 - 30.0).abs() <= 30.0 * 0.26, "{step_ms}: {p99}");
        }
    }
}
