//! The lane against a plain model, and its promises one by one.

mod connections;
mod letters;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::lane_driver::LaneDriver;
use super::lane_model::{ListLog, at, settings};
use crate::config::{Backfill, LaneSettings};
use crate::event::dead_letter::{Cause, DeadLetter};
use crate::upstream::{Delivery, Outcome, Token, Trouble};

/// A record with one output of normal priority.
const NORMAL: &[u8] = &[1];

/// Confirms whatever is offered until nothing is left, letting pauses pass.
fn drain(lane: &mut LaneDriver<ListLog>, now: &mut Instant) -> Vec<Delivery> {
    let mut all = Vec::new();
    lane.connected();
    for _ in 0..10_000 {
        let batch = lane.take(at(*now), 100).expect("the lane is there");
        acknowledge(lane, *now, &batch);
        if batch.is_empty() && lane.is_hungry() && lane.next_wake(*now, 1).is_none() {
            return all;
        }
        all.extend(batch);
        *now += Duration::from_millis(100);
    }
    panic!("a lane whose upstream takes everything must get empty");
}

fn acknowledge(lane: &mut LaneDriver<ListLog>, now: Instant, batch: &[Delivery]) {
    let tokens = batch.iter().map(|delivery| delivery.token);
    lane.store.0.borrow_mut().acked.extend(tokens.clone());
    let answers = tokens.map(|token| (token, Outcome::Confirmed)).collect();
    lane.settle(at(now), answers);
}

fn refuse(lane: &mut LaneDriver<ListLog>, now: Instant, token: Token) {
    lane.settle(
        at(now),
        vec![(token, Outcome::Refused("0x99 not to my taste".into()))],
    );
}

fn sequences(batch: &[Delivery]) -> Vec<u64> {
    batch
        .iter()
        .map(|delivery| delivery.token.sequence)
        .collect()
}

fn start(
    settings: LaneSettings,
    classes: &[&'static [u8]],
) -> (ListLog, LaneDriver<ListLog>, Instant) {
    let now = crate::time::clock::monotonic();
    let log = ListLog::default();
    classes.iter().for_each(|classes| {
        log.append(classes);
    });
    let mut lane = log.lane(settings, now);
    lane.connected();
    (log, lane, now)
}

#[test]
fn higher_priorities_overtake_and_each_keeps_its_order() {
    let (_, mut lane, now) = start(
        settings(10, Backfill::InOrder),
        &[&[1], &[1], &[0], &[3], &[2], &[3]],
    );
    let batch = lane.take(at(now), 10).expect("a batch");
    assert_eq!(sequences(&batch), [4, 6, 5, 1, 2, 3]);
}

#[test]
fn an_alarm_overtakes_a_backlog_in_the_middle_of_its_delivery() {
    let (log, mut lane, now) = start(settings(2, Backfill::InOrder), &[NORMAL; 9]);
    let first = lane.take(at(now), 10).expect("a batch");
    assert_eq!(sequences(&first), [1, 2]);
    log.append(&[3]);
    acknowledge(&mut lane, now, &first);
    assert_eq!(
        sequences(&lane.take(at(now), 10).expect("a batch")),
        [10, 3]
    );
}

#[test]
fn a_record_is_confirmed_when_all_its_outputs_are_settled() {
    let (log, mut lane, now) = start(settings(10, Backfill::InOrder), &[&[1, 1, 3]]);
    let batch = lane.take(at(now), 10).expect("a batch");
    assert_eq!(batch.len(), 3);
    acknowledge(&mut lane, now, &batch[..1]);
    assert_eq!(
        log.0.borrow().confirmed,
        [(3, 1)].into(),
        "the critical one alone"
    );
    acknowledge(&mut lane, now, &batch[1..2]);
    assert_eq!(log.0.borrow().confirmed.len(), 1);
    acknowledge(&mut lane, now, &batch[2..]);
    assert_eq!(log.0.borrow().confirmed, [(1, 1), (3, 1)].into());
}

#[test]
fn the_fifth_refusal_makes_a_dead_letter_and_others_do_not_wait_for_it() {
    let (log, mut lane, mut now) = start(settings(10, Backfill::InOrder), &[NORMAL; 3]);
    let mut refusals = 0;
    let mut delivered = Vec::new();
    while refusals < 5 {
        let batch = lane.take(at(now), 10).expect("a batch");
        for delivery in &batch {
            if delivery.token.sequence == 1 {
                assert_eq!(delivery.attempts, refusals);
                refuse(&mut lane, now, delivery.token);
                refusals += 1;
            } else {
                acknowledge(&mut lane, now, std::slice::from_ref(delivery));
                delivered.push(delivery.token.sequence);
            }
        }
        now += Duration::from_millis(500);
    }
    assert_eq!(delivered, [2, 3]);
    assert!(log.is_done());
    let letters = log.0.borrow().letters.clone();
    let letter = DeadLetter::decode(&letters[&(1, 1)]).expect("a letter");
    assert_eq!((letter.cause, letter.attempts), (Cause::Refused, 5));
    assert_eq!(letter.reason, "0x99 not to my taste");
    assert_eq!(letter.rule.as_deref(), Some("a_rule"));
    assert_eq!(lane.happened.len(), 1);
}

#[test]
fn without_room_for_dead_letters_nothing_is_confirmed() {
    let (log, mut lane, mut now) = start(settings(10, Backfill::InOrder), &[&[1]]);
    log.0.borrow_mut().letters_full = true;
    for _ in 0..20 {
        let batch = lane.take(at(now), 10).expect("a batch");
        batch
            .iter()
            .for_each(|delivery| refuse(&mut lane, now, delivery.token));
        now += Duration::from_millis(500);
    }
    assert!(log.0.borrow().confirmed.is_empty());
    log.0.borrow_mut().letters_full = false;
    let batch = lane.take(at(now), 10).expect("a batch");
    refuse(&mut lane, now, batch[0].token);
    assert!(log.is_done());
}

#[test]
fn a_busy_upstream_pauses_the_lane_keeps_the_order_and_never_counts() {
    let (log, mut lane, mut now) = start(settings(3, Backfill::InOrder), &[NORMAL; 5]);
    for _ in 0..20 {
        let batch = lane.take(at(now), 10).expect("a batch");
        assert_eq!(sequences(&batch), [1, 2, 3]);
        let busy = |delivery: &Delivery| {
            let outcome = Outcome::Busy {
                reason: "503".into(),
                retry_ms: Some(2000),
            };
            (delivery.token, outcome)
        };
        lane.settle(at(now), batch.iter().map(busy).collect());
        let wake = lane.next_wake(now, 10).expect("a time to wake up");
        assert!(
            wake >= now + Duration::from_secs(2),
            "what it asked for is honoured"
        );
        assert!(
            lane.take(at(wake - Duration::from_millis(1)), 10)
                .expect("a batch")
                .is_empty()
        );
        now = wake;
    }
    assert_eq!(sequences(&drain(&mut lane, &mut now)), [1, 2, 3, 4, 5]);
    assert!(log.0.borrow().letters.is_empty());
}

#[test]
fn live_events_share_the_link_with_the_backlog_by_weight() {
    let (log, mut lane, now) = start(settings(100, Backfill::LiveFirst), &[NORMAL; 6]);
    (0..9).for_each(|_| {
        log.append(&[1]);
    });
    let batch = lane.take(at(now), 7).expect("a batch");
    assert_eq!(sequences(&batch), [7, 8, 9, 10, 1, 11, 12]);
    let historical: Vec<_> = batch.iter().map(|delivery| delivery.historical).collect();
    assert_eq!(historical, [false, false, false, false, true, false, false]);
    let mut now = now;
    lane.broken(at(now), &Trouble::new("reset"));
    drain(&mut lane, &mut now);
    assert!(log.is_done());
}

#[test]
fn an_acknowledgement_that_never_comes_is_overdue_though_others_flow() {
    let (_, mut lane, now) = start(settings(10, Backfill::InOrder), &[NORMAL; 5]);
    let batch = lane.take(at(now), 10).expect("a batch");
    acknowledge(&mut lane, now + Duration::from_secs(1), &batch[1..]);
    let deadline = now + Duration::from_secs(30);
    assert_eq!(lane.next_wake(now, 10), Some(deadline));
    assert!(!lane.is_overdue(deadline - Duration::from_millis(1)));
    assert!(lane.is_overdue(deadline));
}

#[test]
fn rate_and_bandwidth_hold_back_and_say_until_when() {
    let limits: [fn(&mut LaneSettings); 2] = [
        |settings| settings.rate_max = Some(10),
        |settings| settings.bandwidth_bytes_max = Some(2000),
    ];
    for limit in limits {
        let mut limited = settings(100, Backfill::InOrder);
        limit(&mut limited);
        let (_, mut lane, start) = start(limited, &[NORMAL; 200]);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(5) {
            let batch = lane.take(at(now), 100).expect("a batch");
            acknowledge(&mut lane, now, &batch);
            sent += batch.len();
            now = lane.next_wake(now, 100).expect("a time to wake up");
        }
        assert!((40..=60).contains(&sent), "{sent} in five seconds");
    }
}

#[test]
fn a_log_that_cannot_be_read_is_read_again_later() {
    let (log, mut lane, now) = start(settings(10, Backfill::InOrder), &[NORMAL; 3]);
    log.0.borrow_mut().reads_fail = true;
    assert!(lane.take(at(now), 10).expect("a batch").is_empty());
    log.0.borrow_mut().reads_fail = false;
    let wake = lane.next_wake(now, 10).expect("a time to wake up");
    assert!(wake > now);
    assert_eq!(lane.take(at(wake), 10).expect("a batch").len(), 3);
}

#[test]
fn a_record_that_cannot_be_read_becomes_a_dead_letter_as_it_is() {
    let (log, mut lane, mut now) = start(settings(10, Backfill::InOrder), &[&[1], &[1]]);
    log.0.borrow_mut().records[0].1 = b"\x09 from the future".to_vec();
    log.0.borrow_mut().outputs.remove(&Token {
        sequence: 1,
        output: 1,
    });
    drain(&mut lane, &mut now);
    let letters = log.0.borrow().letters.clone();
    let letter = DeadLetter::decode(&letters[&(1, 0)]).expect("a letter");
    assert_eq!(
        (letter.cause, &*letter.record),
        (Cause::Unreadable, &b"\x09 from the future"[..])
    );
    assert!(log.0.borrow().confirmed.contains(&(1, 1)));
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    Take(usize),
    Confirm(usize),
    Refuse(usize),
    Busy(usize),
    Break,
    Crash,
    Persist,
    Pass(u64),
    LettersFull(bool),
    ReadsFail(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(0u8..4, 1..4).prop_map(Step::Append),
        8 => (1usize..8).prop_map(Step::Take),
        12 => (0usize..8).prop_map(Step::Confirm),
        4 => (0usize..8).prop_map(Step::Refuse),
        1 => (0usize..8).prop_map(Step::Busy),
        2 => Just(Step::Break),
        1 => Just(Step::Crash),
        1 => Just(Step::Persist),
        4 => (0u64..1000).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::LettersFull),
        1 => any::<bool>().prop_map(Step::ReadsFail),
    ]
}

/// What the model knows beside the log.
struct World {
    log: ListLog,
    lane: LaneDriver<ListLog>,
    now: Instant,
    settings: LaneSettings,
    in_flight: Vec<Delivery>,
    first_offers: BTreeMap<u8, Vec<u64>>,
    offered: BTreeSet<Token>,
}

impl World {
    fn new(settings: LaneSettings) -> World {
        let (log, lane, now) = start(settings.clone(), &[]);
        World {
            log,
            lane,
            now,
            settings,
            in_flight: Vec::new(),
            first_offers: BTreeMap::new(),
            offered: BTreeSet::new(),
        }
    }

    fn take(&mut self, room: usize) {
        let batch = self
            .lane
            .take(at(self.now), room)
            .expect("the lane is there");
        assert!(batch.len() <= room);
        self.note(&batch);
        self.in_flight.extend(batch);
        let bytes: usize = self.in_flight.iter().map(Delivery::size_bytes).sum();
        assert!(self.in_flight.len() <= self.settings.inflight_max);
        assert!(bytes <= self.settings.inflight_bytes_max || self.in_flight.len() == 1);
        assert_eq!(self.lane.in_flight(), self.in_flight.len());
    }

    fn note(&mut self, batch: &[Delivery]) {
        for delivery in batch {
            if self.offered.insert(delivery.token) {
                let class = delivery.output.priority as u8;
                self.first_offers
                    .entry(class)
                    .or_default()
                    .push(delivery.token.sequence);
            }
        }
    }

    fn settle(&mut self, index: usize, outcome: Outcome) {
        if self.in_flight.is_empty() {
            return;
        }
        let delivery = self.in_flight.remove(index % self.in_flight.len());
        if outcome == Outcome::Confirmed {
            self.log.0.borrow_mut().acked.insert(delivery.token);
        }
        self.lane
            .settle(at(self.now), vec![(delivery.token, outcome)]);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(classes) => {
                self.log.append(&classes);
            }
            Step::Take(room) => self.take(room),
            Step::Confirm(index) => self.settle(index, Outcome::Confirmed),
            Step::Refuse(index) => self.settle(index, Outcome::Refused("no".into())),
            Step::Busy(index) => {
                let busy = Outcome::Busy {
                    reason: "later".into(),
                    retry_ms: None,
                };
                self.settle(index, busy);
            }
            Step::Break => {
                self.lane.broken(at(self.now), &Trouble::new("reset"));
                self.in_flight.clear();
                self.lane.connected();
            }
            Step::Crash => {
                self.log.crash();
                self.lane = self.log.lane(self.settings.clone(), self.now);
                self.in_flight.clear();
                self.lane.connected();
            }
            Step::Persist => self.log.persist(),
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
            Step::LettersFull(full) => self.log.0.borrow_mut().letters_full = full,
            Step::ReadsFail(fail) => self.log.0.borrow_mut().reads_fail = fail,
        }
    }

    /// Everything arrives in the end, and order was kept on first offers.
    fn finish(mut self) {
        self.log.0.borrow_mut().letters_full = false;
        self.log.0.borrow_mut().reads_fail = false;
        self.lane.broken(at(self.now), &Trouble::new("the end"));
        self.now += Duration::from_secs(2);
        let rest = drain(&mut self.lane, &mut self.now);
        self.note(&rest);
        assert!(self.log.is_done(), "something was lost");
        if self.settings.backfill == Backfill::InOrder {
            for (class, offers) in &self.first_offers {
                assert!(offers.is_sorted(), "class {class}: {offers:?}");
            }
        }
        let lane = &self.lane.lane;
        assert!(lane.outstanding.is_empty() && lane.retry_queue.len() == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_happens_nothing_is_lost_and_order_is_kept(
        steps in prop::collection::vec(step(), 1..120),
        inflight_max in 1usize..6,
        live_first in any::<bool>(),
    ) {
        let backfill = if live_first { Backfill::LiveFirst } else { Backfill::InOrder };
        let mut world = World::new(LaneSettings {
            inflight_bytes_max: 1000,
            ..settings(inflight_max, backfill)
        });
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
    }
}
