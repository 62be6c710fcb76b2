//! Backup and restore: the copy is a store, holds what was acknowledged before it began, and an unfinished one is told.

use crate::support::{ALL, Case, bytes_of};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidegate_store::{
    Append, BackupError, Commit, OpenError, Options, Route, Store, Writer, inspect, open, restore,
};

fn small(options: &mut Options) {
    options.generation_bytes = 100_000;
}

/// A store's directory beside that of the case.
fn beside(case: &Case, name: &str) -> PathBuf {
    case.dir().with_file_name(name)
}

fn opened(dir: &Path) -> (Writer, Store) {
    let options = Options {
        ballast_bytes: 0,
        free_bytes_min: 0,
        ..Options::new(dir)
    };
    open(options).unwrap()
}

/// Every record in order, byte for byte; gives how many.
fn checked(store: &Store) -> u64 {
    let mut next = 1;
    while next < store.end() {
        let batch = store.scan(next, u64::MAX, ALL).unwrap();
        for record in &batch.records {
            assert_eq!(record.sequence, next);
            assert_eq!(record.bytes.to_vec(), bytes_of(next, record.bytes.len()));
            next += 1;
        }
        assert_eq!(batch.next, next, "nothing may be missing");
    }
    assert!(store.open_report().damage.is_empty());
    assert!(store.verify(|_, _| {}).is_sound());
    next - 1
}

#[test]
fn a_backup_is_a_store_with_everything_in_it() {
    let mut case = Case::with(small);
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..20 {
        case.append_many(&[Route { lane, class: 1 }], 50, 400)
            .unwrap();
    }
    case.append_many(&[], 1, 60_000).unwrap();
    case.store().confirm(lane, 1, &[1, 2, 3, 700]);
    case.store().put_dead_letter((3, 0), b"letter").unwrap();
    let to = beside(&case, "backup");
    let mut told = Vec::new();
    let report = case
        .store()
        .backup(&to, |done, all| told.push((done, all)))
        .unwrap();
    assert_eq!(
        (report.records, report.dead_letters, report.left_out),
        (1001, 1, 0)
    );
    assert!(report.generations >= 3);
    assert!(told.is_sorted() && told.last().is_some_and(|(done, all)| done == all));
    case.append_many(&[], 10, 100).unwrap();
    assert_eq!(
        checked(case.store()),
        1011,
        "the original goes on as it was"
    );

    let (mut writer, copy) = opened(&to);
    assert_eq!(checked(&copy), 1001);
    assert_eq!(copy.backlog(lane).events, 996);
    assert_eq!(copy.dead_letter((3, 0)), Ok(Some(b"letter".to_vec())));
    let mut commit = Commit::new();
    commit.push(Append {
        routes: &[],
        time_ms: 1,
        bytes: b"goes on",
    });
    assert_eq!(writer.commit(&commit).unwrap().first, 1002);
}

#[test]
fn what_was_acknowledged_before_a_backup_under_load_is_in_it() {
    let mut case = Case::with(small);
    let lane = case.store().lane("cloud").unwrap();
    let routes = [Route { lane, class: 1 }];
    let store = case.store().clone();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let (to, again) = (beside(&case, "backup"), beside(&case, "restored"));
    std::thread::scope(|scope| {
        let load = || {
            while !stop.load(Ordering::SeqCst) {
                let committed = case.append_many(&routes, 20, 300).unwrap();
                acknowledged.store(committed.last, Ordering::SeqCst);
            }
        };
        scope.spawn(load);
        for round in 0..5 {
            let until = acknowledged.load(Ordering::SeqCst) + 1000;
            while acknowledged.load(Ordering::SeqCst) < until {
                std::thread::yield_now();
            }
            let before = acknowledged.load(Ordering::SeqCst);
            let to = to.join(round.to_string());
            store.backup(&to, |_, _| {}).unwrap();
            let copy = inspect(&to).unwrap();
            let held = checked(&copy);
            assert!(held >= before, "round {round}: {held} of {before}");
            assert_eq!(copy.backlog(lane).events, held);
        }
        stop.store(true, Ordering::SeqCst);
    });
    let report = restore(&to.join("4"), &again, |_, _| {}).unwrap();
    let (_writer, restored) = opened(&again);
    assert_eq!(checked(&restored), report.records);
}

#[test]
fn what_is_delivered_and_deleted_during_a_backup_is_no_damage_in_it() {
    let mut case = Case::with(|options| {
        small(options);
        options.keep_for_ms = 0;
    });
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..40 {
        case.append_many(&[Route { lane, class: 1 }], 50, 400)
            .unwrap();
    }
    let store = case.store().clone();
    let to = beside(&case, "backup");
    let mut delivered = false;
    let report = store
        .backup(&to, |_, _| {
            if !delivered {
                delivered = true;
                case.drain(lane, 1);
                case.writer().persist_cursors_if_dirty().unwrap();
            }
        })
        .unwrap();
    assert!(report.left_out > 0, "some were deleted meanwhile");
    let (_writer, copy) = opened(&to);
    assert!(copy.open_report().damage.is_empty());
    assert!(copy.verify(|_, _| {}).is_sound());
    copy.scan(1, u64::MAX, ALL).unwrap();
    assert_eq!(copy.stats().damage, []);
}

#[test]
fn an_interrupted_backup_is_told_from_a_whole_one() {
    let mut case = Case::with(small);
    for _ in 0..10 {
        case.append_many(&[], 50, 400).unwrap();
    }
    let to = beside(&case, "backup");
    let store = case.store().clone();
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.backup(&to, |_, _| std::panic::resume_unwind(Box::new(())))
    }));
    assert!(stopped.is_err());
    let unfinished = OpenError::Unfinished { dir: to.clone() };
    assert_eq!(open(Options::new(&to)).err(), Some(unfinished.clone()));
    assert_eq!(inspect(&to).err(), Some(unfinished.clone()));
    assert_eq!(
        restore(&to, &beside(&case, "restored"), |_, _| {}),
        Err(BackupError::Unusable(unfinished))
    );
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let mut case = Case::new();
    case.append(&[], &bytes_of(1, 100));
    let to = beside(&case, "backup");
    case.store().backup(&to, |_, _| {}).unwrap();
    assert_eq!(
        case.store().backup(&to, |_, _| {}),
        Err(BackupError::NotEmpty(to.clone()))
    );
    let inside = case.dir().join("generations/backup");
    assert_eq!(
        case.store().backup(&inside, |_, _| {}),
        Err(BackupError::Inside(inside.clone()))
    );
    assert_eq!(
        restore(&to, &case.dir(), |_, _| {}),
        Err(BackupError::NotEmpty(case.dir()))
    );
    assert!(!inside.exists());
    assert_eq!(checked(case.store()), 1);
}
