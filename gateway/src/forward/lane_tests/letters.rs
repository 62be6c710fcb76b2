//! What an upstream takes none of becomes one dead letter for each event and cause, however many outputs it has.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_store::DeadLetterId;

use super::{acknowledge, drain, start};
use crate::config::{Backfill, LaneSettings};
use crate::event::dead_letter::outputs::numbers;
use crate::event::dead_letter::{Cause, DeadLetter};
use crate::event::record;
use crate::forward::lane_model::{ListLog, at, settings};
use crate::upstream::{Delivery, Outcome, Trouble};

/// What the upstream says of an output.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Yes,
    No(&'static str),
    /// It cannot be sent at all.
    Never,
    /// It breaks every connection.
    Breaks,
}

use Answer::{Breaks, Never, No, Yes};

type Held = BTreeMap<DeadLetterId, (Cause, Vec<u16>, u32)>;

/// The letters, with their outputs and how often they were offered.
fn letters(log: &ListLog) -> Held {
    let held = log.0.borrow();
    let letters = held.letters.iter().map(|(id, bytes)| {
        let letter = DeadLetter::decode(bytes).expect("a letter");
        let record = record::decode(&letter.record).expect("a record");
        (*id, (letter.cause, numbers(*id, &record), letter.attempts))
    });
    letters.collect()
}

fn refusing_at(refusals_max: u32) -> LaneSettings {
    LaneSettings {
        refusals_max,
        ..settings(100, Backfill::InOrder)
    }
}

/// Lets the upstream answer the outputs of one record, whose numbers begin with 1, until it has nothing more to say. Other
/// events, which it takes, come all the time.
fn answered(classes: &'static [u8], answers: &[Answer], log_of: impl Fn(&ListLog)) -> ListLog {
    let (log, mut lane, mut now) = start(refusing_at(3), &[classes]);
    log_of(&log);
    for _ in 0..200 {
        let batch = lane.take(at(now), 100).expect("a batch");
        let mut broke = false;
        for delivery in &batch {
            let token = delivery.token;
            let answer = match token.sequence {
                1 => answers[usize::from(token.output) - 1],
                _ => Yes,
            };
            let outcome = match answer {
                Yes => {
                    acknowledge(&mut lane, now, std::slice::from_ref(delivery));
                    continue;
                }
                No(why) => Outcome::Refused(why.to_owned()),
                Never => Outcome::Undeliverable("it cannot be sent".to_owned()),
                Breaks => {
                    broke = true;
                    continue;
                }
            };
            lane.settle(at(now), vec![(token, outcome)]);
        }
        if broke {
            lane.broken(at(now), &Trouble::new("closed by the peer"));
            lane.connected();
        }
        log.append(super::NORMAL);
        now += Duration::from_millis(600);
    }
    drain(&mut lane, &mut now);
    assert!(log.is_done());
    assert!(lane.lane.outstanding.is_empty() && lane.lane.retry_queue.len() == 0);
    log
}

#[test]
fn outputs_that_are_given_up_for_one_cause_are_one_letter_in_their_order() {
    const NO: Answer = No("no");
    let refused = Cause::Refused;
    /// What is so, the classes of the outputs, what is answered, and the letters: the number of each, its cause, its outputs.
    type Case<'a> = (
        &'a str,
        &'static [u8],
        &'a [Answer],
        &'a [(u16, Cause, &'a [u16])],
    );
    let cases: [Case<'_>; 9] = [
        ("one", &[1], &[NO], &[(1, refused, &[1])]),
        ("all", &[1; 4], &[NO; 4], &[(1, refused, &[1, 2, 3, 4])]),
        (
            "all, for reasons that differ",
            &[1; 3],
            &[No("no"), No("never"), No("no")],
            &[(1, refused, &[1, 2, 3])],
        ),
        (
            "all, unsent",
            &[1; 3],
            &[Never; 3],
            &[(1, refused, &[1, 2, 3])],
        ),
        (
            "all but the first",
            &[1; 3],
            &[Yes, NO, NO],
            &[(2, refused, &[2, 3])],
        ),
        (
            "all but one between",
            &[1; 3],
            &[NO, Yes, NO],
            &[(1, refused, &[1, 3])],
        ),
        (
            "all but the last",
            &[1; 3],
            &[NO, NO, Yes],
            &[(1, refused, &[1, 2])],
        ),
        (
            "in two priorities",
            &[1, 3, 1, 3],
            &[NO; 4],
            &[(1, refused, &[1, 3]), (2, refused, &[2, 4])],
        ),
        (
            "for two causes",
            &[1; 4],
            &[NO, Breaks, Yes, Never],
            &[(1, refused, &[1, 4]), (2, Cause::Poison, &[2])],
        ),
    ];
    for (what, classes, answers, expected) in cases {
        let log = answered(classes, answers, |_| {});
        let found: Vec<_> = letters(&log)
            .into_iter()
            .map(|((_, first), (cause, numbers, _))| (first, cause, numbers))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(first, cause, numbers)| (*first, *cause, numbers.to_vec()))
            .collect();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn each_output_of_a_letter_has_what_was_said_of_it() {
    let log = answered(&[1; 3], &[No("no"), No("never"), No("no")], |_| {});
    let held = log.0.borrow();
    let letter = DeadLetter::decode(&held.letters[&(1, 1)]).expect("a letter");
    let record = record::decode(&letter.record).expect("a record");
    let said: Vec<_> = record
        .outputs
        .iter()
        .map(|routed| routed.output.reason.as_deref())
        .collect();
    assert_eq!(
        (&*letter.reason, said),
        ("no", vec![None, Some("never"), None])
    );
    assert_eq!(letter.attempts, 3);
}

#[test]
fn outputs_that_are_too_large_for_one_letter_make_several() {
    for (bytes_max, letters_expected) in [(usize::MAX, 1), (60, 2), (30, 4), (1, 4)] {
        let log = answered(&[1; 4], &[No("no"); 4], |log| {
            log.0.borrow_mut().letter_bytes_max = Some(bytes_max);
        });
        let found = letters(&log);
        assert_eq!(found.len(), letters_expected, "{bytes_max}: {found:?}");
        let outputs: Vec<u16> = found.into_values().flat_map(|of| of.1).collect();
        assert_eq!(outputs, [1, 2, 3, 4], "{bytes_max}");
    }
}

#[test]
fn what_is_given_up_waits_for_its_siblings_and_a_crash_meanwhile_loses_none() {
    let (log, mut lane, mut now) = start(refusing_at(1), &[&[1; 3]]);
    let refuse = |delivery: &Delivery| (delivery.token, Outcome::Refused("no".to_owned()));
    let batch = lane.take(at(now), 10).expect("a batch");
    lane.settle(at(now), batch[..2].iter().map(refuse).collect());
    assert!(letters(&log).is_empty() && log.0.borrow().confirmed.is_empty());
    // Before the last one is answered.
    log.crash();
    lane = log.lane(refusing_at(1), now);
    lane.connected();
    let batch = lane.take(at(now), 10).expect("a batch");
    assert_eq!(batch.len(), 3);
    lane.settle(at(now), batch.iter().map(refuse).collect());
    // Before the record's place is on disk.
    log.crash();
    lane = log.lane(refusing_at(1), now);
    lane.connected();
    let batch = lane.take(at(now), 10).expect("a batch");
    lane.settle(at(now), batch.iter().map(refuse).collect());
    drain(&mut lane, &mut now);
    assert!(log.is_done());
    assert_eq!(letters(&log).len(), 1);
}

#[test]
fn a_letter_that_cannot_be_stored_takes_all_its_outputs_back_and_becomes_one_later() {
    let (log, mut lane, mut now) = start(refusing_at(1), &[&[1; 3]]);
    for round in 0..5 {
        log.0.borrow_mut().letters_full = round < 4;
        let batch = lane.take(at(now), 10).expect("a batch");
        assert_eq!(batch.len(), 3, "round {round}");
        let refused = |delivery: &Delivery| (delivery.token, Outcome::Refused("no".to_owned()));
        lane.settle(at(now), batch.iter().map(refused).collect());
        assert_eq!(log.0.borrow().confirmed.is_empty(), round < 4);
        now += Duration::from_secs(1);
    }
    assert!(log.is_done());
    let expected = [((1, 1), (Cause::Refused, vec![1, 2, 3], 5))];
    assert_eq!(letters(&log), expected.into());
}
