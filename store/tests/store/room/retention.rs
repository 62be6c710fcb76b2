//! Room: what is delivered goes, what is not stays, and a full store works again when upstreams confirm.

use crate::support::{ALL, Case, bytes_of};
use tidegate_store::{CommitError, Options, Route};

const SMALL: fn(&mut Options) = |options| {
    options.generation_bytes = 100_000;
    options.keep_for_ms = 0;
};

#[test]
fn delivered_generations_give_their_room_back() {
    let mut case = Case::with(SMALL);
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    let mut peak = 0;
    for _ in 0..40 {
        case.append_many(&route, 100, 200).unwrap();
        peak = peak.max(case.disk_bytes());
    }
    assert!(case.store().stats().generations.len() > 5);
    assert_eq!(case.drain(lane, 0), 4000);
    case.writer().persist_cursors_if_dirty().unwrap();
    let stats = case.store().stats();
    assert_eq!(
        stats.generations.len(),
        1,
        "only the one being written is left"
    );
    assert!(
        stats.disk_bytes < peak / 4,
        "{} of {peak} bytes are left",
        stats.disk_bytes
    );
    let on_disk = std::fs::read_dir(case.dir().join("generations"))
        .unwrap()
        .count();
    assert_eq!(on_disk, 1);
    assert_eq!(case.append(&route, b"next"), 4001);
    case.reopen();
    assert_eq!(case.read_from(lane, 0, 4001), [(4001, b"next".to_vec())]);
}

/// The short form of `examples/churn.rs`; there is no cap in the way, only what is delivered goes.
#[test]
fn a_small_backlog_keeps_the_disk_small_however_much_goes_through() {
    const BEHIND: u64 = 2_000;
    let mut case = Case::with(|options| {
        options.generation_bytes = 256 << 10;
        options.keep_for_ms = 0;
    });
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    let (mut disk_bytes, mut generations) = (0, 0);
    for end in (64..=200_000).step_by(64) {
        case.append_many(&route, 64, 200).unwrap();
        case.store().advance(lane, 0, end.max(BEHIND) - BEHIND);
        if end % 6_400 == 0 {
            let stats = case.store().stats();
            disk_bytes = stats.disk_bytes.max(disk_bytes);
            generations = stats.generations.len().max(generations);
        }
    }
    assert!(generations <= 4, "{generations} generations");
    assert!(
        disk_bytes <= 4 << 20,
        "{disk_bytes} bytes for {BEHIND} records"
    );
}

#[test]
fn what_one_lane_has_not_confirmed_stays() {
    let mut case = Case::with(SMALL);
    let (fast, slow) = (
        case.store().lane("fast").unwrap(),
        case.store().lane("slow").unwrap(),
    );
    let routes = [
        Route {
            lane: fast,
            class: 0,
        },
        Route {
            lane: slow,
            class: 3,
        },
    ];
    for _ in 0..10 {
        case.append_many(&routes, 100, 200).unwrap();
    }
    case.drain(fast, 0);
    case.writer().persist_cursors_if_dirty().unwrap();
    case.reopen();
    assert_eq!(case.store().first(), 1);
    assert_eq!(
        case.read_all(slow, 3),
        (1..=1000).map(|n| bytes_of(n, 200)).collect::<Vec<_>>()
    );
    assert_eq!(case.store().drop_lane("slow"), Ok(true));
    case.writer().persist_cursors_if_dirty().unwrap();
    assert!(case.store().first() > 400, "a dropped lane pins nothing");
}

#[test]
fn delivered_records_stay_for_keep_for() {
    let mut case = Case::with(|options| {
        SMALL(options);
        options.keep_for_ms = 2000;
    });
    for _ in 0..10 {
        case.append_many(&[], 100, 200).unwrap();
    }
    assert_eq!(
        case.store().first(),
        1,
        "1 s of records is younger than keep_for"
    );
    for _ in 0..30 {
        case.append_many(&[], 100, 200).unwrap();
    }
    let first = case.store().first();
    assert!(
        first > 1 && first <= 2001,
        "records of the last 2 s are kept, first is {first}"
    );
    assert_eq!(
        case.store()
            .scan(first, first + 1, ALL)
            .unwrap()
            .records
            .len(),
        1
    );
}

#[test]
fn a_full_store_refuses_and_accepts_again_after_confirms_without_a_reopen() {
    let mut case = Case::with(|options| {
        options.max_size_bytes = 16 << 20;
        options.generation_bytes = 1 << 20;
    });
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    let mut accepted = 0;
    let refused = loop {
        match case.append_many(&route, 256, 1000) {
            Ok(_) => accepted += 256,
            Err(refused) => break refused,
        }
    };
    assert!(
        matches!(
            refused,
            CommitError::Full {
                max_size_bytes: 16_777_216,
                ..
            }
        ),
        "{refused:?}"
    );
    assert!(
        accepted > 4000,
        "only {accepted} records fitted into 16 MiB"
    );
    assert!(case.disk_bytes() <= 16 << 20);
    assert!(matches!(
        case.append_many(&route, 256, 1000),
        Err(CommitError::Full { .. })
    ));
    assert_eq!(
        case.store().end(),
        accepted + 1,
        "a refused commit leaves nothing behind"
    );
    assert_eq!(case.drain(lane, 0), accepted);
    case.append_many(&route, 256, 1000).unwrap();
    assert_eq!(case.read_from(lane, 0, accepted + 1).len(), 256);
}

#[test]
fn a_full_store_with_everything_confirmed_in_one_generation_recovers_too() {
    let mut case = Case::with(|options| {
        options.max_size_bytes = 6 << 20;
        options.keep_for_ms = u64::MAX;
    });
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..40 {
        let committed = case
            .append_many(&[Route { lane, class: 0 }], 256, 1000)
            .unwrap();
        case.store().confirm(
            lane,
            0,
            &(committed.first..=committed.last).collect::<Vec<_>>(),
        );
    }
}
