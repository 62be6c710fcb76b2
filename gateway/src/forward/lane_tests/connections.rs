//! Connections that break: over a link, and over one event.

use std::time::Duration;

use super::{NORMAL, acknowledge, drain, sequences, start};
use crate::config::{Backfill, LaneSettings};
use crate::event::dead_letter::{Cause, DeadLetter};
use crate::forward::lane_model::{ListLog, at, settings};
use crate::upstream::{Delivery, Outcome, Trouble};

/// Drives a lane over connections that break over what is `bad`, and answer for all else; more comes all the time. Gives
/// how many connections it took until the log was done.
fn over_bad_events(refusals_max: u32, events: u64, bad: &[u64]) -> (ListLog, usize) {
    let settings = LaneSettings {
        refusals_max,
        ..settings(10, Backfill::InOrder)
    };
    let (log, mut lane, mut now) = start(settings, &[]);
    (0..events).for_each(|_| _ = log.append(NORMAL));
    for connections in 1..1_000 {
        lane.connected();
        for round in 0.. {
            assert!(
                round < 100,
                "the bad one is never tried: {:?}",
                log.0.borrow().letters.keys()
            );
            let batch = lane.take(at(now), 10).expect("a batch");
            let is_good = |delivery: &&Delivery| !bad.contains(&delivery.token.sequence);
            let good: Vec<_> = batch.iter().take_while(is_good).cloned().collect();
            acknowledge(&mut lane, now, &good);
            if good.len() < batch.len() {
                break;
            }
            if bad.iter().all(|bad| is_letter(&log, *bad)) {
                return (log, connections);
            }
            // What comes now shows that the link works.
            log.append(NORMAL);
            now += Duration::from_millis(50);
        }
        lane.broken(at(now), &Trouble::new("closed by the peer"));
        log.append(NORMAL);
        now += Duration::from_millis(50);
    }
    panic!("the lane is held up: {:?}", log.0.borrow().confirmed);
}

fn is_letter(log: &ListLog, sequence: u64) -> bool {
    log.0.borrow().letters.contains_key(&(sequence, 1))
}

#[test]
fn an_event_that_alone_breaks_connections_that_work_for_others_becomes_a_dead_letter() {
    for (refusals_max, events, bad) in [
        (5, 5, &[3][..]),
        (5, 5, &[1]),
        (1, 5, &[1]),
        (5, 1, &[1]),
        (5, 9, &[1, 2]),
        (5, 9, &[1, 2, 3]),
        (5, 9, &[4, 7]),
        (2, 9, &[9]),
    ] {
        let (log, connections) = over_bad_events(refusals_max, events, bad);
        let letters = log.0.borrow().letters.clone();
        let dead: Vec<_> = letters.keys().map(|(sequence, _)| *sequence).collect();
        assert_eq!(dead, bad, "after {connections} connections");
        for letter in letters.values() {
            let letter = DeadLetter::decode(letter).expect("a letter");
            assert_eq!(letter.cause, Cause::Poison);
            assert!(
                letter.reason.ends_with("closed by the peer"),
                "{}",
                letter.reason
            );
        }
        let least = refusals_max as usize * bad.len();
        assert!(
            (least..200).contains(&connections),
            "{bad:?}: {connections}"
        );
    }
}

#[test]
fn an_event_that_is_cut_again_and_again_while_it_waits_alone_is_delivered() {
    for (waiting, cuts) in [(1, 1), (1, 5), (1, 100), (3, 1), (3, 4), (3, 30), (40, 100)] {
        let (log, mut lane, mut now) = start(settings(10, Backfill::InOrder), &[]);
        // The link worked once.
        log.append(NORMAL);
        let batch = lane.take(at(now), 10).expect("a batch");
        acknowledge(&mut lane, now, &batch);
        (0..waiting).for_each(|_| _ = log.append(NORMAL));
        for _ in 0..cuts {
            lane.broken(at(now), &Trouble::new("reset"));
            now += Duration::from_millis(50);
            lane.connected();
            lane.take(at(now), 10).expect("a batch");
        }
        lane.broken(at(now), &Trouble::new("reset"));
        let delivered = sequences(&drain(&mut lane, &mut now));
        assert!(log.is_done() && log.0.borrow().letters.is_empty());
        if cuts < 5 {
            assert!(delivered.is_sorted(), "{waiting} {cuts}: {delivered:?}");
        }
    }
}

#[test]
fn a_link_that_breaks_again_and_again_makes_no_dead_letter() {
    let (log, mut lane, mut now) = start(settings(4, Backfill::InOrder), &[NORMAL; 40]);
    while !log.is_done() {
        lane.connected();
        let batch = lane.take(at(now), 10).expect("a batch");
        acknowledge(&mut lane, now, &batch[..1]);
        lane.broken(at(now), &Trouble::new("reset"));
        now += Duration::from_millis(50);
    }
    assert!(log.0.borrow().letters.is_empty());
}

/// A server that answers for all but what is `bad`: that it fails over, with or without breaking the connection.
fn over_failures(bad: &[u64], events: u64, at_once: usize, broke: bool) -> (ListLog, usize) {
    let (log, mut lane, mut now) = start(settings(10, Backfill::InOrder), &[]);
    (0..events).for_each(|_| _ = log.append(NORMAL));
    for rounds in 1..20_000 {
        let batch = lane.take(at(now), at_once).expect("a batch");
        let fails = batch
            .iter()
            .any(|delivery| bad.contains(&delivery.token.sequence));
        match fails {
            false => acknowledge(&mut lane, now, &batch),
            true => {
                let failed = |delivery: &Delivery| {
                    let reason = "500".to_owned();
                    (delivery.token, Outcome::Failed { reason, broke })
                };
                lane.settle(at(now), batch.iter().map(failed).collect());
            }
        }
        if log.0.borrow().acked.len() as u64 >= events + 5 - bad.len() as u64
            && bad.iter().all(|bad| !broke || is_letter(&log, *bad))
        {
            return (log, rounds);
        }
        if rounds % 400 == 0 && log.0.borrow().acked.len() as u64 >= events - bad.len() as u64 {
            // What comes now is not held up either.
            log.append(NORMAL);
        }
        now += Duration::from_millis(50);
    }
    panic!("the lane is held up: {:?}", log.0.borrow().acked);
}

#[test]
fn an_event_that_a_server_fails_over_holds_up_no_other() {
    for at_once in [1, 10] {
        for (bad, events) in [
            (&[1][..], 9),
            (&[3], 9),
            (&[9], 9),
            (&[2, 3, 4], 9),
            (&[1, 5, 9], 9),
            (&[1], 40),
        ] {
            let (log, _) = over_failures(bad, events, at_once, false);
            assert!(log.0.borrow().letters.is_empty(), "it may be the server");
            let (log, _) = over_failures(bad, events, at_once, true);
            let letters = log.0.borrow().letters.clone();
            let dead: Vec<_> = letters.keys().map(|(sequence, _)| *sequence).collect();
            assert_eq!(dead, bad, "{at_once} at once");
        }
    }
}

#[test]
fn a_server_that_fails_over_everything_for_a_while_gets_everything_and_in_order_unless_it_takes_long()
 {
    for (failures, in_order) in [
        (1, true),
        (5, true),
        (7, true),
        (100, false),
        (1_000, false),
    ] {
        let (log, mut lane, mut now) = start(settings(10, Backfill::InOrder), &[NORMAL; 9]);
        let mut failed = 0;
        let mut delivered = Vec::new();
        while !log.is_done() {
            let batch = lane.take(at(now), 1).expect("a batch");
            for delivery in &batch {
                let reason = "502".to_owned();
                let outcome = Outcome::Failed {
                    reason,
                    broke: failed % 2 == 1,
                };
                if failed < failures {
                    lane.settle(at(now), vec![(delivery.token, outcome)]);
                    failed += 1;
                } else {
                    delivered.push(delivery.token.sequence);
                    acknowledge(&mut lane, now, std::slice::from_ref(delivery));
                }
            }
            now += Duration::from_millis(100);
        }
        assert!(log.0.borrow().letters.is_empty(), "{failures}");
        assert_eq!(delivered.len(), 9, "{failures}");
        assert!(
            delivered.is_sorted() || !in_order,
            "{failures}: {delivered:?}"
        );
    }
}
