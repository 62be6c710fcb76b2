//! Stores as earlier releases wrote them: opened, read whole, and gone on with. A fixture is never made again; a new
//! version of the format gets one of its own, by `TIDEGATE_WRITE_FIXTURE=DIR cargo test -p tidegate-store fixture`.

use crate::support::{ALL, bytes_of};
use std::fs;
use std::path::{Path, PathBuf};
use tidegate_store::{Append, Commit, OpenError, Options, ReadLimit, Route, Store, Writer, open};

/// Records in a fixture, among them one large one.
const RECORDS: u64 = 300;
const LARGE: u64 = 250;
/// From version 3 on two more, of which this one is in the value log.
const BESIDE: u64 = 301;

fn record(sequence: u64) -> Vec<u8> {
    match sequence {
        LARGE => bytes_of(sequence, 20_000),
        BESIDE => bytes_of(sequence, 40_000),
        _ => format!(
            "{{\"sensor\":\"floor/{}\",\"celsius\":{}.{},\"sequence\":{sequence}}}",
            sequence % 7,
            sequence % 40,
            sequence % 10
        )
        .into_bytes(),
    }
}

fn options(dir: PathBuf) -> Options {
    Options {
        ballast_bytes: 0,
        free_bytes_min: 0,
        generation_bytes: 16 << 10,
        ..Options::new(dir)
    }
}

fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}"))
}

fn append(writer: &mut Writer, routes: &[Route], sequences: std::ops::Range<u64>) {
    let mut commit = Commit::new();
    for sequence in sequences.clone() {
        let routes = &routes[..1 + (sequence % 2) as usize];
        commit.push(Append {
            routes,
            time_ms: 1_700_000_000_000 + sequence * 1000,
            bytes: &record(sequence),
        });
    }
    commit.mark(b"dedup/7", &sequences.end.to_le_bytes());
    assert_eq!(writer.commit(&commit).unwrap().first, sequences.start);
}

fn routes(store: &Store) -> [Route; 2] {
    [("cloud", 1), ("local", 3)].map(|(name, class)| Route {
        lane: store.lane(name).unwrap(),
        class,
    })
}

#[test]
fn a_fixture_is_written_where_one_is_asked_for() {
    let Some(dir) = std::env::var_os("TIDEGATE_WRITE_FIXTURE") else {
        return;
    };
    let (mut writer, store) = open(options(dir.into())).unwrap();
    let routes = routes(&store);
    let mut at = 1;
    while at <= RECORDS {
        let end = (at + 1 + at % 19).min(RECORDS + 1);
        append(&mut writer, &routes, at..end);
        at = end;
    }
    append(&mut writer, &routes, BESIDE..BESIDE + 2);
    let done: Vec<u64> = (1..=100).chain(200..=210).collect();
    store.confirm(routes[0].lane, 1, &done);
    store.put_dead_letter((50, 0), b"letter 50").unwrap();
    store.put_dead_letter((60, 1), &bytes_of(60, 6000)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    // What git does not keep: empty folders.
    if from.join("db").exists() {
        fs::create_dir_all(to.join("blobs")).unwrap();
    }
}

/// All records that a store holds.
fn all(store: &Store) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = 1;
    while at < store.end() {
        let batch = store.scan(at, u64::MAX, ALL).unwrap();
        at = batch.next;
        found.extend(
            batch
                .records
                .into_iter()
                .map(|stored| (stored.sequence, stored.bytes.to_vec())),
        );
    }
    found
}

fn check(store: &Store, routes: &[Route; 2], end: u64) {
    let expected: Vec<_> = (1..end).map(|n| (n, record(n))).collect();
    assert!(all(store) == expected, "records differ");
    assert_eq!(store.mark(b"dedup/7"), Some(end.to_le_bytes().to_vec()));
    let cursor = store.cursor(routes[0].lane, 1);
    assert_eq!(cursor.low, 101);
    let local = ReadLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    let local = store.read(routes[1].lane, 3, 1, local).unwrap();
    assert!(local.records.iter().all(|record| record.sequence % 2 == 1));
    let letters = store.dead_letters((0, 0), 10).unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(
        store.dead_letter((60, 1)).unwrap(),
        Some(bytes_of(60, 6000))
    );
    let verified = store.verify(|_, _| {});
    assert_eq!(verified.records, end - 1);
    assert!(verified.damage.is_empty() && verified.unreadable.is_empty());
}

#[test]
fn a_store_of_every_version_is_read_and_gone_on_with() {
    for (version, end) in [(1, RECORDS + 1), (2, RECORDS + 1), (3, BESIDE + 2)] {
        let dir = tempfile::tempdir().unwrap();
        copy(&folder(version), dir.path());
        let options = options(dir.path().into());
        let (mut writer, store) = open(options.clone()).unwrap();
        let known = routes(&store);
        assert_eq!(store.backlog(known[0].lane).events, end - 1 - 111);
        check(&store, &known, end);
        append(&mut writer, &known, end..end + 49);
        check(&store, &known, end + 49);
        drop((writer, store));
        let (_writer, store) = open(options).unwrap();
        check(&store, &known, end + 49);
    }
}

#[test]
fn a_store_of_a_later_version_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    copy(&folder(1), dir.path());
    fs::write(dir.path().join("format"), "tidegate-store 99\n").unwrap();
    let before = tree(dir.path());
    let refused = open(options(dir.path().into())).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { .. }), "{refused}");
    assert_eq!(tree(dir.path()), before);
}

/// Every file with its bytes, but for the lock.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}
