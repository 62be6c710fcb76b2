//! The log as its users see it: order, reopening, lanes, large records, retention.

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
