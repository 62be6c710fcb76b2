//! What only the inside can stage: a commit that failed although its bytes arrived, and one cut in half by a crash.

use crate::api::batch::ReadLimit;
use crate::api::error::CommitError;
use crate::api::options::Options;
use crate::append::commit::{Append, Commit};
use crate::append::packing::pack;
use crate::catalog::small_keys;
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::Writes;
use crate::format::compression::Compressor;
use crate::open;
use crate::store::Store;
use crate::store::writer::Writer;
use std::path::Path;

const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

fn store(dir: &Path) -> (Writer, Store) {
    open(Options {
        ballast_bytes: 0,
        ..Options::new(dir.join("store"))
    })
    .unwrap()
}

fn commit(text: &str, count: u64, mark: Option<&[u8]>) -> Commit {
    let mut commit = Commit::new();
    for n in 0..count {
        let bytes = format!("{text} {n}");
        commit.push(Append {
            routes: &[],
            time_ms: n,
            bytes: bytes.as_bytes(),
        });
    }
    if let Some(value) = mark {
        commit.mark(b"mark", value);
    }
    commit
}

fn texts(store: &Store) -> Vec<String> {
    let found = store.scan(1, u64::MAX, ALL).unwrap();
    assert_eq!(found.next, store.end());
    found
        .records
        .iter()
        .map(|record| String::from_utf8_lossy(&record.bytes).into_owned())
        .collect()
}

/// Puts the records of a commit on the disk, and its small keys if `whole`, without telling anybody.
fn write_behind(writer: &Writer, commit: &Commit, whole: bool) {
    let engine = locked(&writer.catalog)
        .generations
        .back()
        .and_then(|last| last.engine.clone())
        .unwrap();
    let mut writes = Writes::to(&engine);
    let next = writer.next_sequence();
    let mut compressor = Compressor::new(false);
    let packed = pack(commit, next, true, &mut compressor, &mut writes);
    if whole {
        commit
            .marks()
            .iter()
            .for_each(|(key, value)| small_keys::put_mark(&mut writes, key, value.as_deref()));
        small_keys::put_through(&mut writes, packed.summary.end - 1);
    }
    engine.write(writes).unwrap();
}

#[test]
fn a_failed_commit_whose_bytes_arrived_never_comes_to_light() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, held) = store(dir.path());
    writer.commit(&commit("kept", 10, Some(b"kept"))).unwrap();
    write_behind(&writer, &commit("failed", 20, Some(b"failed")), true);
    let error = EngineError::Failed("input/output error".into());
    let failed = locked(&writer.appender).replace_failed(error);
    assert!(
        matches!(failed, CommitError::Failed { replaced: true, .. }),
        "{failed:?}"
    );
    let again = writer.commit(&commit("again", 5, None)).unwrap();
    assert_eq!((again.first, again.last), (11, 15));
    let expected: Vec<_> = (0..10)
        .map(|n| format!("kept {n}"))
        .chain((0..5).map(|n| format!("again {n}")))
        .collect();
    assert_eq!(texts(&held), expected);
    drop((writer, held));
    for _ in 0..2 {
        let (_writer, held) = store(dir.path());
        assert_eq!(texts(&held), expected);
        assert_eq!(held.mark(b"mark"), Some(b"kept".to_vec()));
        assert!(held.open_report().damage.is_empty() && held.verify(|_, _| ()).is_sound());
        for entry in std::fs::read_dir(dir.path().join("store/generations")).unwrap() {
            let _ = std::fs::remove_file(entry.unwrap().path().join("summary"));
        }
    }
}

#[test]
fn a_commit_of_which_only_the_records_arrived_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, held) = store(dir.path());
    writer.commit(&commit("kept", 10, Some(b"kept"))).unwrap();
    write_behind(&writer, &commit("half", 100, Some(b"half")), false);
    drop((writer, held));
    let (mut writer, held) = store(dir.path());
    assert_eq!(held.open_report().taken_back, 100);
    assert_eq!(held.end(), 11);
    assert_eq!(writer.commit(&commit("next", 1, None)).unwrap().first, 11);
    assert_eq!(texts(&held).last().map(String::as_str), Some("next 0"));
}

#[test]
fn a_whole_commit_that_was_never_reported_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, held) = store(dir.path());
    writer.commit(&commit("kept", 10, Some(b"kept"))).unwrap();
    write_behind(&writer, &commit("whole", 100, Some(b"whole")), true);
    drop((writer, held));
    let (_writer, held) = store(dir.path());
    assert_eq!(
        (held.end(), held.mark(b"mark")),
        (111, Some(b"whole".to_vec()))
    );
}
