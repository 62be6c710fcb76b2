//! A full disk, on a small file system of its own: nothing is accepted that was not stored, reading goes on, and the
//! store works again when there is room.

use super::small_disk::SmallDisk;
use crate::support::{Case, bytes_of};
use std::fs;
use std::path::Path;
use tidegate_store::{Append, Commit, CommitError, LaneId, Options, Route};

fn options(dir: &Path) -> Options {
    Options {
        ballast_bytes: 6 << 20,
        free_bytes_min: 4 << 20,
        generation_bytes: 1 << 20,
        keep_for_ms: 0,
        ..Options::new(dir.join("store"))
    }
}

#[test]
fn below_the_minimum_of_free_disk_nothing_is_accepted_until_there_is_room() {
    SmallDisk::each(40).for_each(|disk| below_the_minimum(&disk));
}

fn below_the_minimum(disk: &SmallDisk) {
    let mut case = Case::with(|given| *given = options(&disk.dir));
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    case.append_many(&route, 100, 300).unwrap();
    let hog = disk.hog(case.store().stats().free_bytes as usize - (2 << 20));
    let refused = case.append_many(&route, 1, 300).unwrap_err();
    assert!(
        matches!(
            refused,
            CommitError::NoSpace {
                free_bytes_min: 4_194_304,
                reserve_bytes: 0,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(case.drain(lane, 0), 100);
    case.writer().persist_cursors_if_dirty().unwrap();
    fs::remove_file(hog).unwrap();
    assert_eq!(case.append_many(&route, 1, 300).unwrap().first, 101);
    case.close();
}

/// Offers records until a refusal has cost the ballast; gives the last one accepted. Every refusal says why.
fn offer_until_the_ballast_goes(case: &mut Case, route: &[Route], count: u64) -> u64 {
    let mut accepted = 0;
    for _ in 0..1000 {
        match case.append_many(route, count, 300) {
            Ok(committed) => accepted = committed.last,
            Err(CommitError::NoSpace { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        if case.store().stats().counters.ballast_released > 0 {
            return accepted;
        }
    }
    panic!("the ballast was never needed");
}

#[test]
fn a_disk_filled_to_the_brim_loses_nothing_and_recovers_without_a_reopen() {
    SmallDisk::each(40).for_each(|disk| filled_to_the_brim(&disk));
}

fn filled_to_the_brim(disk: &SmallDisk) {
    let mut case = Case::with(|given| {
        *given = Options {
            free_bytes_min: 0,
            ..options(&disk.dir)
        }
    });
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    let mut accepted = 0;
    for _ in 0..8 {
        accepted = case.append_many(&route, 500, 300).unwrap().last;
    }
    let hog = disk.hog(64 << 20);
    accepted = accepted.max(offer_until_the_ballast_goes(&mut case, &route, 500));
    let refused = case.append_many(&route, 500, 300).unwrap_err();
    assert!(refused.to_string().contains("in reserve"), "{refused}");
    assert_eq!(case.store().end(), accepted + 1);
    let found = case.read_from(lane, 0, 1);
    assert_eq!(found.len() as u64, accepted, "reading goes on");
    assert!(
        found
            .iter()
            .all(|(sequence, bytes)| *bytes == bytes_of(*sequence, 300))
    );
    case.drain(lane, 0);
    case.writer().persist_cursors_if_dirty().unwrap();
    fs::remove_file(hog).unwrap();
    assert_eq!(
        case.append_many(&route, 500, 300).unwrap().first,
        accepted + 1
    );
    assert!(case.store().stats().ballast, "the ballast is made again");
    case.reopen();
    assert_eq!(case.read_from(lane, 0, accepted + 1).len(), 500);
    case.close();
}

#[test]
fn a_full_disk_can_be_opened_and_drained() {
    SmallDisk::each(40).for_each(|disk| opened_and_drained(&disk));
}

fn opened_and_drained(disk: &SmallDisk) {
    let mut case = Case::with(|given| {
        *given = Options {
            free_bytes_min: 0,
            ..options(&disk.dir)
        }
    });
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..8 {
        case.append_many(&[Route { lane, class: 0 }], 500, 300)
            .unwrap();
    }
    case.close();
    let hog = disk.hog(64 << 20);
    case.reopen();
    assert_eq!(case.store().backlog(lane).events, 4000);
    case.reopen();
    assert_eq!(case.drain(lane, 0), 4000);
    fs::remove_file(hog).unwrap();
    case.reopen();
    assert_eq!(case.append_many(&[], 1, 300).unwrap().first, 4001);
    case.close();
}

#[test]
fn a_disk_that_has_nothing_left_is_opened_again_and_again_without_a_ballast() {
    for ended_well in [true, false] {
        SmallDisk::each(40).for_each(|disk| opened_without_room(&disk, ended_well));
    }
}

/// 4000 records for the first lane, and behind them a generation that has next to nothing but the marks, and
/// dead letters.
fn with_a_bare_newest_generation(
    case: &mut Case,
    (lane, idle): (LaneId, LaneId),
    ended_well: bool,
) {
    for _ in 0..8 {
        case.append_many(&[Route { lane, class: 0 }], 500, 300)
            .unwrap();
    }
    case.close();
    for entry in fs::read_dir(case.dir().join("generations")).unwrap() {
        fs::write(entry.unwrap().path().join("failed"), b"").unwrap();
    }
    case.reopen();
    let mut commit = Commit::new();
    commit.mark(b"boot", b"7");
    commit.push(Append {
        routes: &[Route {
            lane: idle,
            class: 0,
        }],
        time_ms: 1,
        bytes: b"last",
    });
    case.writer().commit(&commit).unwrap();
    for n in 1..=5 {
        let letter = bytes_of(n, 500);
        case.store().put_dead_letter((n, 0), &letter).unwrap();
    }
    case.close();
    if !ended_well {
        // As after a kill before the newest summary was written: more is to be opened.
        for entry in fs::read_dir(case.dir().join("generations")).unwrap() {
            let _ = fs::remove_file(entry.unwrap().path().join("summary"));
        }
    }
}

fn opened_without_room(disk: &SmallDisk, ended_well: bool) {
    let mut case = Case::with(|given| {
        *given = Options {
            free_bytes_min: 0,
            ballast_bytes: 0,
            ..options(&disk.dir)
        }
    });
    let lane = case.store().lane("cloud").unwrap();
    let idle = case.store().lane("idle").unwrap();
    with_a_bare_newest_generation(&mut case, (lane, idle), ended_well);
    let (hog, hogs) = (disk.hog(64 << 20), disk.hog_inodes());
    let mut next = 4002;
    for round in 0..3 {
        case.reopen();
        match case.append_many(&[], 1, 300) {
            // What is done with gave room.
            Ok(committed) => next = committed.last + 1,
            Err(refused) => assert!(
                matches!(refused, CommitError::NoSpace { .. }),
                "{refused:?}"
            ),
        }
        assert_eq!(case.store().backlog(lane).events, 4000);
        let found = case.read_from(lane, 0, 1);
        let right = |(sequence, bytes): &(u64, Vec<u8>)| *bytes == bytes_of(*sequence, 300);
        assert!(found.len() == 4000 && found.iter().all(right));
        let letters = case.store().dead_letters((0, 0), 100).unwrap();
        assert_eq!(letters.len(), 5);
        if round == 1 {
            // The cursors may not be written; what is delivered then is there once more.
            assert_eq!(case.drain(idle, 0), 1);
        }
        let _ = case.writer().persist_cursors_if_dirty();
        assert_eq!(case.store().mark(b"boot"), Some(b"7".to_vec()));
        assert!(case.store().open_report().damage.is_empty());
    }
    let new = case.store().lane("new").unwrap();
    assert_eq!(case.drain(lane, 0), 4000);
    assert_eq!(case.store().remove_all_dead_letters(), Ok(5));
    assert_eq!(case.store().dead_letter_count(), 0);
    let _ = case.writer().persist_cursors_if_dirty();
    fs::remove_dir_all(hogs).unwrap();
    fs::remove_file(hog).unwrap();
    let route = [Route {
        lane: new,
        class: 0,
    }];
    assert_eq!(case.append_many(&route, 10, 300).unwrap().first, next);
    case.reopen();
    assert_eq!(case.store().lane("new"), Ok(new));
    assert_eq!(case.drain(new, 0), 10);
    assert_eq!(case.store().backlog(lane).events, 0);
    assert!(case.store().open_report().quarantined.is_empty());
    assert!(case.store().open_report().damage.is_empty());
    case.close();
}

#[test]
fn when_all_inodes_are_used_the_backlog_is_delivered_and_the_store_recovers_without_a_reopen() {
    for keep_for_ms in [0, u64::MAX] {
        if let Some(disk) = SmallDisk::ext4(60, 200) {
            all_inodes_used(&disk, keep_for_ms);
        }
    }
}

fn all_inodes_used(disk: &SmallDisk, keep_for_ms: u64) {
    let mut case = Case::with(|given| {
        *given = Options {
            free_bytes_min: 0,
            tail_bytes: 10_000,
            keep_for_ms,
            ..options(&disk.dir)
        }
    });
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    let mut accepted = 0;
    for _ in 0..20 {
        accepted = case.append_many(&route, 1000, 300).unwrap().last;
    }
    let hogs = disk.hog_inodes();
    accepted = accepted.max(offer_until_the_ballast_goes(&mut case, &route, 1000));
    assert_eq!(case.store().end(), accepted + 1);
    let mut delivered = 0;
    while delivered < accepted {
        let from = case.store().cursor(lane, 0).low;
        let limit = tidegate_store::ReadLimit {
            records: 500,
            bytes: 1 << 20,
        };
        let batch = case.store().read(lane, 0, from, limit).unwrap();
        for record in &batch.records {
            assert_eq!(record.bytes, bytes_of(record.sequence, 300));
        }
        let sequences: Vec<_> = batch.records.iter().map(|record| record.sequence).collect();
        delivered += sequences.len() as u64;
        case.store().confirm(lane, 0, &sequences);
        let _ = case.writer().persist_cursors_if_dirty();
    }
    assert_eq!(case.store().backlog(lane).events, 0);
    fs::remove_dir_all(hogs).unwrap();
    assert_eq!(
        case.append_many(&route, 1000, 300).unwrap().first,
        accepted + 1
    );
    assert!(case.store().stats().ballast, "the ballast is made again");
    case.reopen();
    assert_eq!(case.read_from(lane, 0, accepted + 1).len(), 1000);
    case.close();
}
