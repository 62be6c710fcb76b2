//! Connections that break: over a link, and over one event.

use std::time::Duration;

use super::{NORMAL, acknowledge, drain, sequences, start};
use crate::config::{Backfill, LaneSettings};
use crate::event::dead_letter::{Cause, DeadLetter};
use crate::forward::lane_model::{ListLog, at, settings};
use crate::upstream::{Delivery, Trouble};

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
