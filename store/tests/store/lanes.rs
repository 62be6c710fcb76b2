//! Lanes and cursors: what is routed is read, what is confirmed stays confirmed, what is not is counted.

use crate::support::{ALL, Case, bytes_of};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_store::{Append, Commit, LaneError, Options, ReadError, ReadLimit, Route};

#[test]
fn a_lane_keeps_its_number_and_sees_only_what_came_after_it() {
    let mut case = Case::new();
    let cloud = case.store().lane("cloud").unwrap();
    let route = [Route {
        lane: cloud,
        class: 0,
    }];
    case.append(&route, b"one");
    let local = case.store().lane("local").unwrap();
    case.append(
        &[Route {
            lane: local,
            class: 0,
        }],
        b"two",
    );
    case.reopen();
    assert_eq!(case.store().lane("cloud"), Ok(cloud));
    assert_eq!(case.store().lane("local"), Ok(local));
    assert_eq!(case.read_all(local, 0), [b"two".to_vec()]);
    assert_eq!(case.store().cursor(local, 0).low, 2);
    assert_eq!(case.store().backlog(local).events, 1);
}

#[test]
fn a_new_lane_given_a_dropped_lanes_number_sees_nothing_of_it() {
    let mut case = Case::new();
    let old = case.store().lane("old").unwrap();
    case.append_many(
        &[Route {
            lane: old,
            class: 2,
        }],
        10,
        100,
    )
    .unwrap();
    assert_eq!(case.store().drop_lane("old"), Ok(true));
    assert_eq!(case.store().drop_lane("old"), Ok(false));
    let new = case.store().lane("new").unwrap();
    assert_eq!(new, old);
    for _ in 0..2 {
        let low = case.store().cursor(new, 2).low;
        assert!(case.read_from(new, 2, low).is_empty());
        assert_eq!(case.store().backlog(new).events, 0);
        case.reopen();
    }
}

#[test]
fn the_sixty_fifth_lane_is_refused() {
    let case = Case::new();
    for n in 0..64 {
        case.store().lane(&format!("lane {n}")).unwrap();
    }
    assert_eq!(case.store().lane("one too many"), Err(LaneError::TooMany));
    assert_eq!(case.store().lane(""), Err(LaneError::BadName));
    assert_eq!(case.store().lanes().len(), 64);
    assert_eq!(
        case.store().read(64, 0, 1, ALL),
        Err(ReadError::UnknownLane)
    );
}

#[test]
fn marks_are_durable_with_their_commit() {
    let mut case = Case::new();
    let mut commit = Commit::new();
    commit.mark(b"dedup/a", b"17");
    commit.mark(b"dedup/b", b"3");
    commit.mark(b"boot", b"9");
    case.writer().commit(&commit).unwrap();
    commit.clear();
    commit.unmark(b"dedup/b");
    case.writer().commit(&commit).unwrap();
    case.reopen();
    assert_eq!(case.store().mark(b"boot"), Some(b"9".to_vec()));
    assert_eq!(
        case.store().marks_with_prefix(b"dedup/"),
        [(b"dedup/a".to_vec(), b"17".to_vec())]
    );
}

#[test]
fn confirming_twice_or_too_early_changes_nothing() {
    let mut case = Case::new();
    let lane = case.store().lane("cloud").unwrap();
    case.append_many(&[Route { lane, class: 1 }], 5, 50)
        .unwrap();
    case.store().confirm(lane, 1, &[2, 2, 4, 99]);
    assert_eq!(case.store().backlog(lane).events, 3);
    let cursor = case.store().cursor(lane, 1);
    assert_eq!((cursor.low, cursor.above), (1, vec![2..=2, 4..=4]));
    case.store().advance(lane, 1, 3);
    assert_eq!(case.store().cursor(lane, 1).low, 5);
    assert_eq!(case.drain(lane, 1), 1);
    assert_eq!(case.store().backlog(lane).events, 0);
    assert_eq!(case.store().backlog(lane).oldest_time_ms, None);
}

#[test]
fn the_backlog_knows_the_age_of_its_oldest_record() {
    let mut case = Case::new();
    let lane = case.store().lane("cloud").unwrap();
    let mut commit = Commit::new();
    for time_ms in [1000, 2000, 3000] {
        commit.push(Append {
            routes: &[Route { lane, class: 0 }],
            time_ms,
            bytes: b"x",
        });
    }
    case.writer().commit(&commit).unwrap();
    assert_eq!(case.store().backlog(lane).oldest_time_ms, Some(1000));
    case.store().confirm(lane, 0, &[1]);
    let one = ReadLimit {
        records: 1,
        bytes: 1,
    };
    assert_eq!(
        case.store().read(lane, 0, 2, one).unwrap().records[0].time_ms,
        2000
    );
    assert_eq!(case.store().backlog(lane).oldest_time_ms, Some(2000));
}

/// What a lane must show, kept in the plainest way.
#[derive(Default)]
struct Model {
    routed: BTreeMap<(u16, u8), BTreeSet<u64>>,
    confirmed: BTreeMap<(u16, u8), BTreeSet<u64>>,
    next: u64,
}

impl Model {
    fn left(&self, key: (u16, u8)) -> Vec<u64> {
        let none = BTreeSet::new();
        let confirmed = self.confirmed.get(&key).unwrap_or(&none);
        self.routed
            .get(&key)
            .unwrap_or(&none)
            .difference(confirmed)
            .copied()
            .collect()
    }

    fn check(&self, case: &Case) {
        assert_eq!(case.store().end(), self.next);
        for lane in 0..3 {
            let mut events = 0;
            for class in 0..4 {
                let left = self.left((lane, class));
                events += left.len() as u64;
                let low = case.store().cursor(lane, class).low;
                assert!(
                    left.first().is_none_or(|first| low <= *first),
                    "the cursor is ahead of what is confirmed"
                );
                let above = case.store().cursor(lane, class).above;
                let found = case.read_from(lane, class, low);
                let open: Vec<_> = found
                    .iter()
                    .map(|(s, _)| *s)
                    .filter(|s| !above.iter().any(|r| r.contains(s)))
                    .collect();
                assert_eq!(open, left, "lane {lane} class {class}");
                assert!(
                    found
                        .iter()
                        .all(|(sequence, bytes)| *bytes == bytes_of(*sequence, bytes.len()))
                );
            }
            assert_eq!(
                case.store().backlog(lane).events,
                events,
                "backlog of lane {lane}"
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        count: u64,
        lane: u16,
        class: u8,
        both: bool,
        size: usize,
    },
    Confirm {
        lane: u16,
        class: u8,
        every: usize,
    },
    Idle,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (
        1u64..40,
        0u16..3,
        0u8..4,
        any::<bool>(),
        prop_oneof![8usize..400, Just(9000)],
    )
        .prop_map(|(count, lane, class, both, size)| Step::Append {
            count,
            lane,
            class,
            both,
            size,
        });
    let confirm = (0u16..3, 0u8..4, 1usize..4).prop_map(|(lane, class, every)| Step::Confirm {
        lane,
        class,
        every,
    });
    prop::collection::vec(
        prop_oneof![5 => append, 4 => confirm, 1 => Just(Step::Idle), 2 => Just(Step::Reopen)],
        1..30,
    )
}

fn apply(step: &Step, case: &mut Case, model: &mut Model) {
    match *step {
        Step::Append {
            count,
            lane,
            class,
            both,
            size,
        } => {
            let mut routes = vec![Route { lane, class }];
            if both {
                routes.push(Route {
                    lane: (lane + 1) % 3,
                    class: 3 - class,
                });
            }
            let committed = case.append_many(&routes, count, size).unwrap();
            assert_eq!(
                (committed.first, committed.last),
                (model.next, model.next + count - 1)
            );
            for route in routes {
                model
                    .routed
                    .entry((route.lane, route.class))
                    .or_default()
                    .extend(committed.first..=committed.last);
            }
            model.next += count;
        }
        Step::Confirm { lane, class, every } => {
            let left: Vec<_> = model
                .left((lane, class))
                .into_iter()
                .step_by(every)
                .collect();
            case.store().confirm(lane, class, &left);
            model
                .confirmed
                .entry((lane, class))
                .or_default()
                .extend(left);
        }
        Step::Idle => drop(case.writer().persist_cursors_if_dirty().unwrap()),
        Step::Reopen => {
            case.writer().persist_cursors_if_dirty().unwrap();
            case.reopen();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lanes_equal_a_plain_model_through_rotation_and_reopening(steps in steps()) {
        let small = |options: &mut Options| {
            options.generation_bytes = 12_000;
            options.tail_bytes = 6_000;
        };
        let mut case = Case::with(small);
        (0..3).for_each(|lane| assert_eq!(case.store().lane(&format!("{lane}")), Ok(lane)));
        let mut model = Model { next: 1, ..Model::default() };
        for step in &steps {
            apply(step, &mut case, &mut model);
        }
        model.check(&case);
        case.writer().persist_cursors_if_dirty().unwrap();
        case.reopen();
        model.check(&case);
    }
}
