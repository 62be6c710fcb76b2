//! Giving up under pressure: the least urgent first, of that the oldest, each step with its account, and exact books.

use crate::support::{Case, bytes_of, wait_for};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidegate_store::{
    Append, Commit, CommitError, Gap, GapReason, GapWriter, LaneId, Options, Route, Shed, WhenFull,
};

const SMALL: fn(&mut Options) = |options| {
    options.when_full = WhenFull::Shed;
    options.max_size_bytes = 8 << 20;
    options.generation_bytes = 256 << 10;
    options.tail_bytes = 64 << 10;
};

/// A lane of the accounts, which is always read.
fn account_route(case: &Case) -> Route {
    Route {
        lane: case.store().lane("accounts").unwrap(),
        class: 3,
    }
}

fn shed(case: &mut Case, bytes: u64) -> Shed {
    let route = account_route(case);
    let mut label = |bytes: &[u8]| format!("source {}", bytes[0] % 2);
    let mut record = |gap: &Gap, commit: &mut Commit| {
        let text = format!("gap of {}", gap.records);
        commit.push(Append {
            routes: &[route],
            time_ms: gap.time_max_ms,
            bytes: text.as_bytes(),
        });
    };
    case.writer().shed(
        bytes,
        GapWriter {
            label: &mut label,
            record: &mut record,
        },
    )
}

/// Commits; sheds once and tries again where the store is full. Gives what was shed.
fn append_shedding(case: &mut Case, routes: &[Route], count: u64, size: usize) -> Vec<Gap> {
    match case.append_many(routes, count, size) {
        Ok(_) => Vec::new(),
        Err(CommitError::Full { .. }) => {
            let shed = shed(case, count * size as u64);
            assert_eq!(shed.room, Ok(()), "{:?}", shed.gaps);
            case.append_many(routes, count, size).unwrap();
            shed.gaps
        }
        Err(error) => panic!("{error}"),
    }
}

fn sequences(case: &Case, lane: LaneId, class: u8) -> Vec<u64> {
    let from = case.store().cursor(lane, class).low;
    let found = case.read_from(lane, class, from.max(1));
    found.into_iter().map(|(sequence, _)| sequence).collect()
}

#[test]
fn the_least_urgent_goes_first_and_of_that_the_oldest() {
    let mut case = Case::with(|options| {
        SMALL(options);
        options.generation_bytes = 1 << 20;
    });
    let lane = case.store().lane("cloud").unwrap();
    let mut sent: [Vec<u64>; 4] = Default::default();
    let mut lost = [0usize; 4];
    for round in 0..700usize {
        let class = [0, 1, 0, 3, 0, 0, 1, 0, 2, 0, 1, 0][round % 12];
        let gaps = append_shedding(&mut case, &[Route { lane, class }], 20, 1000);
        for gap in &gaps {
            assert_eq!(gap.reason, GapReason::Shed);
            let of = gap.lanes.iter().find(|of| of.lane == lane).unwrap();
            let at = usize::from(of.class);
            assert!(gap.first <= sent[at][lost[at]], "the oldest of class {at}");
            lost[at] += of.events as usize;
            let lower = (0..at).find(|lower| lost[*lower] < sent[*lower].len());
            assert_eq!(lower, None, "class {at} went before it: {gap:?}");
            assert_eq!(gap.labels.iter().map(|(_, n)| n).sum::<u64>(), gap.records);
        }
        let end = case.store().end();
        sent[usize::from(class)].extend(end - 20..end);
        assert!(case.disk_bytes() <= 8 << 20, "{}", case.disk_bytes());
    }
    for class in 0..4u8 {
        let left = sequences(&case, lane, class);
        let at = usize::from(class);
        assert_eq!(
            left,
            sent[at][lost[at]..],
            "class {class} lost {}",
            lost[at]
        );
    }
    println!("given up by class: {lost:?}");
    assert!(lost[0] > 0 && lost[1] > 0 && lost[3] == 0, "{lost:?}");
    let totals: u64 = case.store().gap_totals().iter().map(|t| t.events).sum();
    assert_eq!(totals, lost.iter().sum::<usize>() as u64);
}

#[test]
fn what_survives_is_read_unaltered_and_what_was_left_out_is_no_damage() {
    let mut case = Case::with(SMALL);
    let lane = case.store().lane("cloud").unwrap();
    let mut urgent = BTreeSet::new();
    for round in 0..400u64 {
        let class = if round % 8 == 0 { 3 } else { 0 };
        append_shedding(&mut case, &[Route { lane, class }], 30, 900);
        let end = case.store().end();
        if class == 3 {
            urgent.extend(end - 30..end);
        }
    }
    assert!(case.store().stats().counters.rewritten > 0);
    for _ in 0..2 {
        let found: Vec<_> = case.read_from(lane, 3, 1);
        let expected: Vec<_> = urgent.iter().map(|n| (*n, bytes_of(*n, 900))).collect();
        assert!(found == expected, "{} of {}", found.len(), expected.len());
        let verified = case.store().verify(|_, _| {});
        assert!(verified.is_sound(), "{verified:?}");
        assert_eq!(case.store().stats().damage, []);
        case.reopen();
        let report = case.store().open_report();
        assert!(report.damage.is_empty() && report.quarantined.is_empty());
    }
}

#[test]
fn when_only_the_most_urgent_is_left_its_oldest_goes() {
    let mut case = Case::with(SMALL);
    let lane = case.store().lane("cloud").unwrap();
    let mut lost = 0;
    for _ in 0..300 {
        let gaps = append_shedding(&mut case, &[Route { lane, class: 3 }], 40, 1000);
        lost += gaps
            .iter()
            .flat_map(|gap| &gap.lanes)
            .filter(|of| of.lane == lane)
            .map(|of| of.events)
            .sum::<u64>();
    }
    let left = case.store().backlog(lane).events;
    assert!(lost > 0 && left > 0);
    assert_eq!(lost + left, 300 * 40);
    assert_eq!(case.drain(lane, 3), left);
}

#[test]
fn a_late_confirmation_of_what_was_shed_does_not_count() {
    let mut case = Case::with(SMALL);
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    append_shedding(&mut case, &route, 40, 1000);
    let in_flight: Vec<_> = (1..=40).collect();
    assert_eq!(case.store().confirm(lane, 0, &in_flight[..10]), 10);
    let mut gaps = Vec::new();
    while gaps.is_empty() {
        gaps.extend(append_shedding(&mut case, &route, 40, 1000));
    }
    assert_eq!(gaps[0].first, 11, "the first ten were delivered");
    assert_eq!(case.store().confirm(lane, 0, &in_flight), 0);
}

#[test]
fn a_store_that_is_to_refuse_sheds_nothing() {
    let mut case = Case::with(|options| {
        SMALL(options);
        options.when_full = WhenFull::Refuse;
    });
    let lane = case.store().lane("cloud").unwrap();
    while case
        .append_many(&[Route { lane, class: 0 }], 40, 1000)
        .is_ok()
    {}
    let before = case.store().backlog(lane).events;
    let shed = shed(&mut case, 40_000);
    assert!(matches!(shed.room, Err(CommitError::Full { .. })) && shed.gaps.is_empty());
    assert_eq!(case.store().backlog(lane).events, before);
}

#[test]
fn one_stuck_lane_does_not_keep_what_others_are_done_with() {
    let mut case = Case::with(|options| {
        SMALL(options);
        options.when_full = WhenFull::Refuse;
        options.keep_for_ms = u64::MAX;
    });
    let (stuck, quick) = (
        case.store().lane("stuck").unwrap(),
        case.store().lane("quick").unwrap(),
    );
    case.append(
        &[Route {
            lane: stuck,
            class: 1,
        }],
        b"held",
    );
    for round in 0..800 {
        let lane = if round % 100 == 50 { stuck } else { quick };
        case.append_many(&[Route { lane, class: 1 }], 40, 1000)
            .unwrap();
        case.drain(quick, 1);
    }
    assert_eq!(case.store().backlog(stuck).events, 1 + 8 * 40);
    case.reopen();
    assert!(
        case.store().open_report().damage.is_empty(),
        "{:?}",
        case.store().open_report()
    );
    assert_eq!(sequences(&case, stuck, 1).len(), 1 + 8 * 40);
    assert_eq!(case.read_from(stuck, 1, 1)[0], (1, b"held".to_vec()));
}

#[test]
fn what_nobody_took_for_too_long_expires_with_an_account() {
    let mut case = Case::with(|options| {
        SMALL(options);
        options.expire_after_ms = Some(200);
    });
    let lane = case.store().lane("cloud").unwrap();
    let appended = Instant::now();
    case.append_many(&[Route { lane, class: 3 }], 5, 100)
        .unwrap();
    let expire = |case: &mut Case| {
        let mut record = |_: &Gap, _: &mut Commit| {};
        let gap_writer = GapWriter {
            label: &mut |_| String::new(),
            record: &mut record,
        };
        case.writer().expire(gap_writer)
    };
    assert_eq!(expire(&mut case).gaps, []);
    let gaps = wait_for("the records to expire", || {
        let gaps = expire(&mut case).gaps;
        (!gaps.is_empty()).then_some(gaps)
    });
    let waited = appended.elapsed();
    assert_eq!(
        (gaps[0].reason, gaps[0].events(), gaps[0].records),
        (GapReason::Expired, 5, 5)
    );
    // Both ends of the 200 ms are read in whole milliseconds.
    assert!(waited >= Duration::from_millis(199), "too early");
    assert_eq!(case.store().backlog(lane).events, 0);
    assert_eq!(case.store().gap_totals()[0].reason, GapReason::Expired);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_books_balance_whatever_comes(
        rounds in prop::collection::vec((0usize..3, 0u8..4, 1u64..60, 1000usize..3000, 0u8..20), 120..160),
    ) {
        let mut case = Case::with(|options| {
            SMALL(options);
            options.max_size_bytes = 4 << 20;
        });
        let lanes = ["a", "b", "c"].map(|name| case.store().lane(name).unwrap());
        let (mut accepted, mut confirmed, mut given_up) = ([0u64; 3], [0u64; 3], [0u64; 3]);
        for (which, class, count, size, then) in rounds {
            let routes = [Route { lane: lanes[which], class }, Route { lane: lanes[2], class: 1 }];
            let gaps = append_shedding(&mut case, &routes, count, size);
            accepted[which] += count;
            if which != 2 || class != 1 {
                accepted[2] += count;
            }
            for of in gaps.iter().flat_map(|gap| &gap.lanes) {
                if let Some(at) = lanes.iter().position(|lane| *lane == of.lane) {
                    given_up[at] += of.events;
                }
            }
            match then {
                0 => confirmed[0] += (0..4).map(|class| case.drain(lanes[0], class)).sum::<u64>(),
                1 => { case.writer().persist_cursors_if_dirty().unwrap(); case.reopen() }
                _ => {}
            }
            for at in 0..3 {
                let held = case.store().backlog(lanes[at]).events;
                prop_assert_eq!(accepted[at], confirmed[at] + given_up[at] + held, "lane {}", at);
            }
        }
        prop_assert!(case.store().stats().damage.is_empty());
        for (at, lane) in lanes.iter().enumerate() {
            let left: u64 = (0..4).map(|class| case.drain(*lane, class)).sum();
            prop_assert_eq!(accepted[at], confirmed[at] + given_up[at] + left);
        }
    }
}
