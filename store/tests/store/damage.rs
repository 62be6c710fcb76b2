//! Damaged files: what is read is what was written, the rest is reported missing, and the store goes on.

mod damage_trials;
pub(crate) mod harm;
mod making_room;

use crate::support::{Case, bytes_of};
use std::fs;
use tidegate_store::{Options, Route};

const RECORDS: u64 = 400;

fn small(options: &mut Options) {
    options.generation_bytes = 30_000;
    options.tail_bytes = 0;
}

fn filled() -> (Case, u16) {
    let mut case = Case::with(small);
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..RECORDS / 20 {
        case.append_many(&[Route { lane, class: 1 }], 20, 200)
            .unwrap();
    }
    case.reopen();
    case.close();
    (case, lane)
}

#[test]
fn a_flipped_block_is_reported_missing_and_the_lane_gets_past_it() {
    let (mut case, lane) = filled();
    let generation = fs::read_dir(case.dir().join("generations"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .min()
        .unwrap();
    let sought = bytes_of(30, 200);
    let path = generation.join("db");
    let mut bytes = fs::read(&path).unwrap();
    let copies: Vec<_> = (0..bytes.len() - 200)
        .filter(|at| bytes[*at..*at + 200] == sought)
        .collect();
    assert!(!copies.is_empty());
    copies.into_iter().for_each(|at| bytes[at + 100] ^= 4);
    fs::write(&path, bytes).unwrap();
    case.reopen();
    let found = case.read_from(lane, 1, 1);
    assert!(
        found
            .iter()
            .all(|(sequence, bytes)| *bytes == bytes_of(*sequence, 200) && *sequence != 30)
    );
    let sequences: Vec<_> = found.iter().map(|(sequence, _)| *sequence).collect();
    case.store().confirm(lane, 1, &sequences);
    assert_eq!(case.store().cursor(lane, 1).low, RECORDS + 1);
    assert_eq!(case.store().backlog(lane).events, 0);
    let stats = case.store().stats();
    let damaged = |missing: u64| {
        stats
            .damage
            .iter()
            .any(|damage| (damage.first..=damage.last).contains(&missing))
    };
    let isolated = |missing: u64| {
        stats
            .quarantined
            .iter()
            .any(|q| (q.first..=q.last).contains(&missing))
    };
    assert!(damaged(30) || isolated(30), "{stats:?}");
    assert_eq!(
        case.append(&[Route { lane, class: 1 }], b"goes on"),
        RECORDS + 1
    );
}

#[test]
fn a_generation_that_lost_everything_is_kept_in_quarantine_and_told_of() {
    let mut case = Case::with(|given| given.generation_bytes = 16 << 10);
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..8 {
        case.append_many(&[Route { lane, class: 0 }], 50, 200)
            .unwrap();
    }
    case.close();
    let mut folders: Vec<_> = fs::read_dir(case.dir().join("generations"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    let database = folders[0].join("db");
    let bytes = fs::metadata(&database).unwrap().len() as usize;
    fs::write(&database, vec![0x5a; bytes]).unwrap();
    fs::remove_file(folders[0].join("summary")).unwrap();
    case.reopen();
    let lost = case.store().open_report().damage.clone();
    assert_eq!((lost.len(), lost[0].first), (1, 1));
    case.writer().persist_cursors_if_dirty().unwrap();
    assert_eq!(case.store().stats().quarantined.len(), 1);
    assert_eq!(case.store().backlog(lane).events, 400 - lost[0].last);
    case.reopen();
    assert_eq!(case.store().stats().quarantined.len(), 1);
    case.close();
}
