//! Numbers that no 32 bits hold, which are what a `usize` has on half of the machines this runs on: sequences, generations and
//! times of a store that has been in use for long.

use crate::api::batch::ReadLimit;
use crate::api::lane::Route;
use crate::api::options::Options;
use crate::append::commit::{Append, Commit};
use crate::generation::high_water::HighWater;
use crate::open;
use crate::store::Store;
use crate::store::writer::Writer;
use std::path::Path;

const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

/// With what is left out where generations are missing, three below what 32 bits count to, so that the first commit passes that.
const NEXT: u64 = (1 << 32) - (1 << 24) - 3;
/// In the year 2106, where the seconds of 32 bits end, and the milliseconds of them long have.
const TIME_MS: u64 = (1 << 32) * 1000;
/// Where a lane is.
const MIDDLE: u64 = (1 << 32) + 2;
/// Records of one commit.
const COUNT: u64 = 10;

fn reopened(dir: &Path) -> (Writer, Store) {
    open(Options {
        ballast_bytes: 0,
        free_bytes_min: 0,
        max_size_bytes: 8 << 30,
        ..Options::new(dir)
    })
    .expect("it opens")
}

/// A store that had come as far as [`NEXT`] when its generations were taken away.
fn far_on(dir: &Path) -> (Writer, Store) {
    drop(reopened(dir));
    std::fs::remove_dir_all(dir.join("generations")).expect("there were some");
    let mark = HighWater {
        generation: 1 << 32,
        next: NEXT,
    };
    mark.save(dir).expect("it is written");
    reopened(dir)
}

fn append(writer: &mut Writer, routes: &[Route]) -> (u64, u64) {
    let mut commit = Commit::new();
    let first = writer.next_sequence();
    for n in first..first + COUNT {
        commit.push(Append {
            routes,
            time_ms: TIME_MS + n,
            bytes: format!("record {n}").as_bytes(),
        });
    }
    let done = writer.commit(&commit).expect("it is stored");
    (done.first, done.last)
}

/// Every record says its own sequence, and has its own time.
fn assert_whole(store: &Store, from: u64, to: u64) {
    let found = store.scan(from, to, ALL).expect("it can be read");
    let numbers: Vec<u64> = found.records.iter().map(|one| one.sequence).collect();
    assert_eq!(numbers, (from..to).collect::<Vec<_>>());
    for record in &found.records {
        let text = String::from_utf8_lossy(&record.bytes);
        assert_eq!(text, format!("record {}", record.sequence));
        assert_eq!(record.time_ms, TIME_MS + record.sequence);
    }
}

#[test]
fn sequences_and_times_beyond_32_bits_are_kept_read_confirmed_and_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("store");
    let (mut writer, store) = far_on(&dir);
    let lane = store.lane("cloud").expect("a lane");
    let routes = [Route { lane, class: 1 }];
    let (first, last) = append(&mut writer, &routes);
    assert!(first < 1 << 32 && last > 1 << 32, "{first} to {last}");
    let (_, last) = match append(&mut writer, &routes) {
        (next, end) if next == last + 1 => (next, end),
        other => panic!("{other:?} after {last}"),
    };
    let end = last + 1;
    assert_whole(&store, first, end);
    let confirmed: Vec<u64> = (first..MIDDLE).collect();
    store.confirm(lane, 1, &confirmed);
    assert_eq!(store.cursor(lane, 1).low, MIDDLE);
    store
        .put_dead_letter((last, 1), b"set aside")
        .expect("it is kept");
    writer.persist_cursors_if_dirty().expect("it is kept");
    drop((writer, store));

    let (mut writer, store) = reopened(&dir);
    assert_eq!((store.first(), store.end()), (first, end));
    assert_whole(&store, first, end);
    let lane = store.lane("cloud").expect("the lane");
    assert_eq!(store.cursor(lane, 1).low, MIDDLE);
    assert_eq!(store.backlog(lane).events, end - MIDDLE);
    let left = store.read(lane, 1, MIDDLE, ALL).expect("it is read");
    assert_eq!(left.records.first().map(|one| one.sequence), Some(MIDDLE));
    assert_eq!(
        store.dead_letter((last, 1)).expect("it is read"),
        Some(b"set aside".to_vec())
    );
    assert!(store.verify(|_, _| ()).is_sound());
    assert_eq!(append(&mut writer, &[]).0, end);
}

#[test]
fn a_copy_of_such_a_store_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("store");
    let (mut writer, store) = far_on(&dir);
    let (first, last) = append(&mut writer, &[]);
    let (copy, restored) = (folder.path().join("copy"), folder.path().join("restored"));
    store.backup(&copy, |_, _| ()).expect("a copy");
    crate::restore(&copy, &restored, |_, _| ()).expect("a store");
    let (mut writer, store) = reopened(&restored);
    assert_whole(&store, first, last + 1);
    assert_eq!(append(&mut writer, &[]).0, last + 1);
}
