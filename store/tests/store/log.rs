//! The log as its users see it: order, reopening, lanes, large records, retention.

mod large;
mod packed;

use crate::support::{ALL, Case, bytes_of};
use tidegate_store::{Commit, Route};

#[test]
fn records_come_back_in_order_after_a_reopen() {
    let mut case = Case::new();
    let lane = case.store().lane("cloud").unwrap();
    for n in 1..=500 {
        case.append(&[Route { lane, class: 1 }], &bytes_of(n, 300));
    }
    case.reopen();
    assert_eq!(case.store().end(), 501);
    assert_eq!(
        case.read_all(lane, 1),
        (1..=500).map(|n| bytes_of(n, 300)).collect::<Vec<_>>()
    );
    assert!(case.read_all(lane, 0).is_empty());
    case.append(&[Route { lane, class: 1 }], b"after");
    assert_eq!(
        case.store().scan(501, 502, ALL).unwrap().records[0].bytes,
        &b"after"[..]
    );
}

#[test]
fn a_group_is_assigned_sequences_in_the_order_it_was_built() {
    let mut case = Case::new();
    let mut commit = Commit::new();
    for n in 0..1000u64 {
        let index = commit.push(tidegate_store::Append {
            routes: &[],
            time_ms: n,
            bytes: &bytes_of(n, 200),
        });
        assert_eq!(index as u64, n);
    }
    let committed = case.writer().commit(&commit).unwrap();
    assert_eq!((committed.first, committed.last), (1, 1000));
    let found = case.store().scan(1, 2000, ALL).unwrap();
    assert_eq!(found.next, 1001);
    for record in found.records {
        assert_eq!(record.bytes, bytes_of(record.sequence - 1, 200));
        assert_eq!(record.time_ms, record.sequence - 1);
    }
}

#[test]
fn records_of_every_size_come_back_and_nothing_lands_in_blobs() {
    let mut case = Case::with(|options| options.tail_bytes = 0);
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 2 }];
    let around = |n: usize| [n - 1, n, n + 1];
    let sizes: Vec<usize> = [4000, 4032, 4096, 8176, 16_384, 131_072]
        .into_iter()
        .flat_map(around)
        .chain([8, 5 << 20])
        .collect();
    for size in &sizes {
        let n = case.writer().next_sequence();
        for _ in 0..if *size < 20_000 { 17 } else { 1 } {
            case.append(&route, &bytes_of(n, *size));
        }
    }
    let check = |case: &Case| {
        let mut from = 1;
        for size in &sizes {
            for again in 0..if *size < 20_000 { 17 } else { 1 } {
                let batch = case
                    .store()
                    .read(
                        lane,
                        2,
                        from,
                        tidegate_store::ReadLimit {
                            records: 1,
                            bytes: 1,
                        },
                    )
                    .unwrap();
                assert_eq!(batch.next, from + 1);
                assert_eq!(
                    batch.records[0].bytes,
                    bytes_of(from - again, *size),
                    "{size} bytes"
                );
                from += 1;
            }
        }
    };
    check(&case);
    assert!(!case.store().stats().blobs);
    case.reopen();
    check(&case);
    assert!(case.store().verify(|_, _| ()).is_sound());
}

#[test]
fn a_large_record_is_served_from_memory_as_from_disk() {
    for tail_bytes in [0, 64 << 20] {
        let mut case = Case::with(|options| options.tail_bytes = tail_bytes);
        let lane = case.store().lane("cloud").unwrap();
        let mut commit = Commit::new();
        for n in 0..30u64 {
            let size = if n % 3 == 0 { 30_000 } else { 100 };
            let routes = [Route {
                lane,
                class: (n % 2) as u8,
            }];
            commit.push(tidegate_store::Append {
                routes: &routes,
                time_ms: n,
                bytes: &bytes_of(n, size),
            });
        }
        case.writer().commit(&commit).unwrap();
        let found = case.store().scan(1, u64::MAX, ALL).unwrap();
        assert_eq!(found.records.len(), 30);
        for class in 0..2 {
            let of_class: Vec<_> = (1..=30)
                .filter(|s| (s - 1) % 2 == u64::from(class))
                .collect();
            let read: Vec<_> = case
                .read_from(lane, class, 1)
                .into_iter()
                .map(|(sequence, _)| sequence)
                .collect();
            assert_eq!(read, of_class);
        }
    }
}

#[test]
fn a_commit_that_breaks_a_limit_is_refused_whole() {
    let mut case = Case::new();
    let mut commit = Commit::new();
    commit.push(tidegate_store::Append {
        routes: &[],
        time_ms: 1,
        bytes: b"fine",
    });
    let bad = [Route { lane: 64, class: 0 }];
    commit.push(tidegate_store::Append {
        routes: &bad,
        time_ms: 1,
        bytes: b"bad",
    });
    let refused = case.writer().commit(&commit);
    assert!(
        matches!(
            refused,
            Err(tidegate_store::CommitError::Invalid { index: Some(1), .. })
        ),
        "{refused:?}"
    );
    assert_eq!(case.store().end(), 1);
    commit.clear();
    commit.mark(b"key", &[0; 2000]);
    assert!(case.writer().commit(&commit).is_err());
}

#[test]
fn a_read_limit_of_one_still_gets_on() {
    let mut case = Case::new();
    let lane = case.store().lane("cloud").unwrap();
    case.append_many(&[Route { lane, class: 0 }], 20, 100)
        .unwrap();
    let mut from = 1;
    for expected in 1..=20 {
        let batch = case
            .store()
            .read(
                lane,
                0,
                from,
                tidegate_store::ReadLimit {
                    records: 1,
                    bytes: 0,
                },
            )
            .unwrap();
        assert_eq!(
            batch.records.iter().map(|r| r.sequence).collect::<Vec<_>>(),
            [expected]
        );
        from = batch.next;
    }
}

#[test]
fn every_commit_waits_for_a_write_barrier() {
    let mut case = Case::new();
    for _ in 0..20 {
        let before = case.store().stats().barriers;
        case.append(&[], b"durable");
        assert!(case.store().stats().barriers > before);
    }
}
