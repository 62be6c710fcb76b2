//! Everything at once: a writer, readers that keep up or lag, rotation and deletion, on threads of their own.

use crate::support::{Case, bytes_of};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate_store::{Append, Commit, LaneId, ReadLimit, Route, Store};

const RECORDS: u64 = 12_000;

/// Reads a lane to the end, confirms in another order than it read, and gives the sequences in reading order.
fn forward(store: &Store, lane: LaneId, class: u8, pause: Duration, done: &AtomicBool) -> Vec<u64> {
    let mut seen = Vec::new();
    let mut from = 1;
    // In this order: what was there when it was done is seen.
    while !done.load(Ordering::Acquire) || from < store.end() {
        let batch = store
            .read(
                lane,
                class,
                from,
                ReadLimit {
                    records: 64,
                    bytes: 32 << 10,
                },
            )
            .unwrap();
        let sequences: Vec<_> = batch.records.iter().map(|record| record.sequence).collect();
        for record in &batch.records {
            assert_eq!(record.bytes, bytes_of(record.sequence, 150));
        }
        let (even, odd): (Vec<u64>, Vec<u64>) =
            sequences.iter().partition(|sequence| *sequence % 2 == 0);
        store.confirm(lane, class, &odd);
        store.confirm(lane, class, &even);
        seen.extend(sequences);
        from = batch.next;
        std::thread::sleep(pause);
    }
    seen
}

#[test]
fn readers_at_their_own_pace_each_see_every_record_once_while_generations_come_and_go() {
    let mut case = Case::with(|options| {
        options.generation_bytes = 60_000;
        options.tail_bytes = 40_000;
        options.keep_for_ms = 0;
    });
    let lanes = ["fast", "slow", "urgent"].map(|name| case.store().lane(name).unwrap());
    let store = case.store().clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let paces = [(lanes[0], 1, 0), (lanes[1], 1, 3), (lanes[2], 3, 1)];
        let readers = paces.map(|(lane, class, millis)| {
            let (store, done) = (store.clone(), &done);
            scope.spawn(move || forward(&store, lane, class, Duration::from_millis(millis), done))
        });
        let route = |lane: usize, class| Route {
            lane: lanes[lane],
            class,
        };
        let mut commit = Commit::new();
        while case.writer().next_sequence() <= RECORDS {
            commit.clear();
            let first = case.writer().next_sequence();
            for n in first..first + 50 {
                let urgent = (n % 100 == 0).then_some(route(2, 3));
                let all = [route(0, 1), route(1, 1)].into_iter().chain(urgent);
                commit.push(Append {
                    routes: &all.collect::<Vec<_>>(),
                    time_ms: n,
                    bytes: &bytes_of(n, 150),
                });
            }
            case.writer().commit(&commit).unwrap();
        }
        done.store(true, Ordering::Release);
        let seen = readers.map(|reader| reader.join().unwrap());
        let stats = store.stats();
        for (seen, step) in seen.iter().zip([1, 1, 100]) {
            let wanted = (step..=RECORDS).step_by(step as usize);
            let differs = seen
                .iter()
                .copied()
                .zip(wanted.clone())
                .find(|(a, b)| a != b);
            assert_eq!(
                differs, None,
                "damage {:?}, quarantined {:?}",
                stats.damage, stats.quarantined
            );
            assert_eq!(seen.len(), wanted.count());
        }
    });
    case.writer().persist_cursors_if_dirty().unwrap();
    assert!(
        lanes
            .iter()
            .all(|lane| case.store().backlog(*lane).events == 0)
    );
    assert_eq!(case.store().stats().generations.len(), 1);
    assert!(case.store().stats().counters.deleted > 10);
    assert!(case.store().stats().damage.is_empty());
}
