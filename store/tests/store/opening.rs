//! Opening: one process at a time, and whatever a crash, a person or a later release left in the directory.

use crate::support::{ALL, Case, bytes_of};
use std::fs;
use std::path::PathBuf;
use tidegate_store::{OpenError, Options, Route, inspect, open};

fn generations(case: &Case) -> Vec<PathBuf> {
    let entries = fs::read_dir(case.dir().join("generations")).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn a_second_opening_is_refused_and_names_the_first() {
    let mut case = Case::new();
    case.append(&[], b"first");
    let refused = open(case.options.clone()).err().unwrap();
    assert_eq!(
        refused,
        OpenError::InUse {
            dir: case.dir(),
            pid: Some(std::process::id())
        }
    );
    assert!(
        refused
            .to_string()
            .contains(&format!("process {}", std::process::id()))
    );
    assert_eq!(inspect(case.dir()).err(), Some(refused));
    assert_eq!(case.append(&[], b"second"), 2, "the first is unharmed");
}

#[test]
fn a_directory_of_a_later_release_is_refused_untouched() {
    let mut case = Case::new();
    case.close();
    fs::write(case.dir().join("format"), "tidegate-store 5\n").unwrap();
    let names = |case: &Case| {
        fs::read_dir(case.dir())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    let before = names(&case);
    assert!(matches!(
        open(case.options.clone()).err(),
        Some(OpenError::Newer { .. })
    ));
    assert_eq!(names(&case), before);
}

#[test]
fn a_deletion_that_a_crash_interrupted_is_finished() {
    let mut case = Case::new();
    case.append(&[], b"kept");
    case.close();
    let left = case
        .dir()
        .join("generations/00000000-00000000000000000001.dead");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("db"), vec![0; 4096]).unwrap();
    case.reopen();
    assert!(!left.exists());
    assert_eq!(case.store().open_report().finished_deletions, 1);
    assert_eq!(case.store().open_report().ignored, Vec::<String>::new());
    assert_eq!(case.store().end(), 2);
    case.reopen();
    assert_eq!(case.store().open_report().finished_deletions, 0);
}

#[test]
fn garbage_in_the_directory_is_left_alone_and_named() {
    let mut case = Case::new();
    case.append(&[], b"kept");
    case.close();
    fs::write(case.dir().join("notes.txt"), "mine").unwrap();
    fs::create_dir(case.dir().join("generations/backup")).unwrap();
    fs::write(case.dir().join("high_water"), "not a high-water mark").unwrap();
    case.reopen();
    assert_eq!(
        case.store().open_report().ignored,
        ["notes.txt", "generations/backup"]
    );
    assert_eq!(case.store().end(), 2);
    assert!(case.dir().join("notes.txt").exists());
}

#[test]
fn a_torn_snapshot_is_removed_before_it_can_do_harm() {
    let mut case = Case::new();
    case.append_many(&[], 50, 100).unwrap();
    case.close();
    let generation = generations(&case).pop().unwrap();
    fs::write(generation.join("snap.FFFFFFFFFFFFFFFF.generating"), b"torn").unwrap();
    case.reopen();
    assert_eq!(case.store().scan(1, 51, ALL).unwrap().records.len(), 50);
    assert!(case.store().open_report().quarantined.is_empty());
    assert!(
        !generation.join("aside").exists(),
        "the log need not be replayed for it"
    );
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_the_log_replayed() {
    let mut case = Case::new();
    case.append_many(&[], 50, 100).unwrap();
    case.reopen();
    case.close();
    let generation = generations(&case).pop().unwrap();
    fs::write(
        generation.join("snap.FFFFFFFFFFFFFFFF"),
        b"this is not a snapshot",
    )
    .unwrap();
    case.reopen();
    assert_eq!(case.store().scan(1, 51, ALL).unwrap().records.len(), 50);
    assert!(case.store().open_report().quarantined.is_empty());
}

#[test]
fn an_interrupted_deletion_is_finished() {
    let mut case = Case::new();
    case.append(&[], b"kept");
    case.close();
    let dead = case
        .dir()
        .join("generations/00000000-00000000000000000001.dead");
    fs::create_dir_all(dead.join("blobs")).unwrap();
    fs::write(dead.join("db"), b"old").unwrap();
    case.reopen();
    assert!(!dead.exists());
    assert_eq!(case.store().open_report().finished_deletions, 1);
    assert_eq!(case.store().end(), 2);
}

#[test]
fn a_generation_that_was_never_begun_completely_is_discarded() {
    let mut case = Case::new();
    case.append_many(&[], 20, 100).unwrap();
    case.close();
    let half_begun = case.dir().join("generations/00000002-00000000000000000021");
    fs::create_dir_all(half_begun.join("blobs")).unwrap();
    case.reopen();
    assert!(!half_begun.exists());
    assert!(case.store().open_report().quarantined.is_empty());
    assert_eq!(case.append(&[], b"next"), 21);
}

#[test]
fn a_missing_summary_is_counted_anew() {
    let mut case = Case::with(|options| options.generation_bytes = 10_000);
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..10 {
        case.append_many(&[Route { lane, class: 1 }], 20, 200)
            .unwrap();
    }
    case.store().confirm(lane, 1, &[1, 5, 150]);
    case.writer().persist_cursors_if_dirty().unwrap();
    case.close();
    let sealed = generations(&case).len() - 1;
    assert!(sealed >= 2);
    generations(&case)
        .iter()
        .for_each(|dir| drop(fs::remove_file(dir.join("summary"))));
    case.reopen();
    assert_eq!(case.store().open_report().rescanned as usize, sealed);
    assert_eq!(case.store().backlog(lane).events, 197);
    assert_eq!(case.read_all(lane, 1).len(), 200);
}

#[test]
fn an_emptied_store_is_noticed_and_no_sequence_given_out_again() {
    let mut case = Case::with(|options| options.generation_bytes = 20_000);
    for _ in 0..10 {
        case.append_many(&[], 20, 200).unwrap();
    }
    let end = case.store().end();
    case.close();
    fs::remove_dir_all(case.dir().join("generations")).unwrap();
    case.reopen();
    assert!(
        case.store().end() >= end,
        "the mark outside sled says how far it may have been"
    );
    assert_eq!(case.store().open_report().damage.len(), 1);
    let next = case.append(&[], b"goes on");
    case.reopen();
    assert_eq!(case.store().end(), next + 1);
    assert!(case.store().open_report().damage.is_empty(), "said once");
}

#[test]
fn looking_at_a_store_changes_nothing() {
    let mut case = Case::new();
    let lane = case.store().lane("cloud").unwrap();
    case.append_many(&[Route { lane, class: 0 }], 10, 100)
        .unwrap();
    case.store().put_dead_letter((3, 0), b"letter").unwrap();
    case.close();
    assert!(inspect(case.dir().join("absent")).is_err());
    let store = inspect(case.dir()).unwrap();
    assert_eq!(store.scan(1, u64::MAX, ALL).unwrap().records.len(), 10);
    store.confirm(lane, 0, &[1, 2, 3]);
    assert!(store.remove_dead_letter((3, 0)).is_err());
    assert!(store.lane("new").is_err());
    drop(store);
    case.reopen();
    assert_eq!(case.store().backlog(lane).events, 10);
    assert_eq!(
        case.store().dead_letter((3, 0)),
        Ok(Some(b"letter".to_vec()))
    );
}

#[test]
fn the_directory_is_made_with_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        ballast_bytes: 0,
        ..Options::new(dir.path().join("a/b/c"))
    };
    let (mut writer, store) = open(options).unwrap();
    let mut commit = tidegate_store::Commit::new();
    commit.push(tidegate_store::Append {
        routes: &[],
        time_ms: 1,
        bytes: &bytes_of(1, 10),
    });
    writer.commit(&commit).unwrap();
    assert_eq!(store.end(), 2);
}

#[test]
fn a_child_that_is_just_being_started_does_not_keep_the_directory() {
    let mut case = Case::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let _ = std::process::Command::new("true").status();
                }
            });
        }
        for _ in 0..40 {
            case.reopen();
        }
    });
}
