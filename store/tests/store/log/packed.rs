//! Small records of large commits: written once, into the value log; served, torn, harmed and copied as the rest of the log.

use super::large::{Harm, append, check, damage_of, files, length};
use crate::damage::harm::copy_dir;
use crate::support::{ALL, Case, bytes_of};
use std::fs;
use tidegate_store::{Commit, Route};

/// From so many bytes on they go to the value log; with marks in the commit from the second on.
const BESIDE: [usize; 2] = [24 << 10, 64 << 10];

/// A commit of so many records of 200 bytes.
fn readings(count: usize) -> Vec<usize> {
    vec![200; count]
}

fn value_log_bytes(case: &Case) -> u64 {
    files(&case.dir(), "values")
        .iter()
        .map(|path| length(path))
        .sum()
}

fn reads_nothing_from_memory(options: &mut tidegate_store::Options) {
    options.tail_bytes = 0;
    options.ballast_bytes = 0;
}

#[test]
fn from_a_size_on_they_are_in_the_value_log_and_come_back_from_everywhere() {
    for (marked, beside) in [(false, BESIDE[0]), (true, BESIDE[1])] {
        for (count, is_beside) in [(beside / 200, false), (beside / 200 + 1, true)] {
            let mut case = Case::with(reads_nothing_from_memory);
            let lane = case.store().lane("cloud").unwrap();
            let sizes = readings(count);
            append(&mut case, &sizes, &[Route { lane, class: 1 }], true, marked);
            assert_eq!(
                value_log_bytes(&case) > 0,
                is_beside,
                "{count} of 200 bytes, marked {marked}"
            );
            check(&case, &sizes);
            case.reopen();
            check(&case, &sizes);
            assert_eq!(case.read_all(lane, 1).len(), count);
            let (third, end) = (count as u64 / 3, count as u64 + 1);
            let found = case.store().scan_beginnings(third, end, ALL).unwrap();
            assert_eq!(found.records[0].sequence, third);
            assert_eq!(found.records[0].bytes, bytes_of(third, 200));
            case.restore_a_copy();
            check(&case, &sizes);
            let verified = case.store().verify(|_, _| {});
            assert!(verified.is_sound(), "{verified:?}");
            assert_eq!(verified.records, count as u64);
            assert_eq!(case.drain(lane, 1), count as u64);
        }
    }
}

#[test]
fn a_generation_of_them_is_as_large_as_any_other() {
    let mut case = Case::with(|options| {
        options.generation_bytes = 200_000;
        options.tail_bytes = 0;
        options.compress = false;
    });
    let sizes: Vec<usize> = readings(5_000);
    for commit in sizes.chunks(250) {
        append(&mut case, commit, &[], true, false);
    }
    let generations = case.store().stats().generations.len();
    assert!((4..=8).contains(&generations), "{generations}");
    check(&case, &sizes);
    case.reopen();
    check(&case, &sizes);
    // The complete ones need not be opened to learn what is in them.
    assert!(!files(&case.dir(), "beginnings").is_empty());
    let mut from = 1;
    while from < case.store().end() {
        let batch = case.store().scan_beginnings(from, u64::MAX, ALL).unwrap();
        for record in batch.records {
            assert_eq!(record.sequence, from);
            assert_eq!(record.bytes, bytes_of(from, 200));
            from += 1;
        }
    }
    assert_eq!(from, 5_001);
}

#[test]
fn they_are_written_little_more_than_once() {
    let mut case = Case::with(|options| options.compress = false);
    let sizes = readings(30_000);
    let before = case.disk_bytes();
    for commit in sizes.chunks(300) {
        append(&mut case, commit, &[], true, false);
    }
    let (disk, payload) = (case.disk_bytes() - before, 30_000 * 200);
    assert!(disk * 10 <= payload * 15, "{disk} on disk for {payload}");
}

#[test]
fn a_commit_of_which_a_frame_did_not_arrive_is_taken_back_and_only_that() {
    let harms: [(&str, Harm); 5] = [
        ("nothing of it", |b| b.truncate(b.len() / 2)),
        ("half of it", |b| b.truncate(b.len() * 3 / 4)),
        ("all but a byte", |b| b.truncate(b.len() - 1)),
        ("zeros for it", |b| {
            let half = b.len() / 2;
            b[half..].fill(0)
        }),
        ("a bit of its first frame", |b| {
            let half = b.len() / 2;
            b[half + 100] ^= 1;
        }),
    ];
    for (what, harm) in harms {
        let mut case = Case::with(|options| {
            reads_nothing_from_memory(options);
            options.compress = false;
        });
        let mut sizes = readings(200);
        append(&mut case, &sizes.clone(), &[], true, false);
        let copy = case.dir().with_file_name("cut");
        append(&mut case, &sizes.clone(), &[], true, false);
        // As a crash leaves it: the mark outside sled knows nothing of the last commit.
        copy_dir(&case.dir(), &copy);
        let values = files(&copy, "values").remove(0);
        let mut bytes = fs::read(&values).unwrap();
        harm(&mut bytes);
        fs::write(&values, bytes).unwrap();
        case.close();
        case.options.dir = copy;
        case.reopen();
        assert_eq!(case.store().open_report().taken_back, 200, "{what}");
        assert!(case.store().open_report().damage.is_empty(), "{what}");
        check(&case, &sizes);
        append(&mut case, &readings(150), &[], true, false);
        sizes.extend(readings(150));
        case.reopen();
        check(&case, &sizes);
        assert!(case.store().verify(|_, _| {}).is_sound(), "{what}");
    }
}

#[test]
fn damage_is_told_and_what_was_not_harmed_is_read() {
    let harms: [(&str, Harm); 5] = [
        ("a bit of the first frame", |b| b[500] ^= 1),
        ("a bit of a frame's length", |b| b[16] ^= 1),
        ("a bit within", |b| {
            let half = b.len() / 2;
            b[half] ^= 1
        }),
        ("a sector of zeros", |b| b[8_192..8_704].fill(0)),
        ("its end", |b| b.truncate(b.len() - 10)),
    ];
    for (what, harm) in harms {
        for sealed in [false, true] {
            let mut case = Case::with(|options| {
                reads_nothing_from_memory(options);
                options.generation_bytes = if sealed { 30_000 } else { 8 << 20 };
            });
            let lane = case.store().lane("cloud").unwrap();
            let route = [Route { lane, class: 1 }];
            append(&mut case, &readings(200), &route, true, false);
            append(&mut case, &[100], &route, true, false);
            let values = files(&case.dir(), "values").remove(0);
            case.close();
            let mut bytes = fs::read(&values).unwrap();
            harm(&mut bytes);
            fs::write(&values, bytes).unwrap();
            case.reopen();
            let found = case.read_from(lane, 1, 1);
            let told = damage_of(case.store());
            assert!(!told.is_empty() && told.len() < 120, "{what}: {told:?}");
            assert_eq!(found.len() + told.len(), 201, "{what}, sealed {sealed}");
            for (sequence, bytes) in found {
                let size = if sequence == 201 { 100 } else { 200 };
                assert!(bytes == bytes_of(sequence, size), "{what}: {sequence}");
                assert!(!told.contains(&sequence), "{what}: {sequence}");
            }
            assert!(!case.store().verify(|_, _| {}).is_sound());
            append(&mut case, &readings(200), &route, true, false);
            case.reopen();
            let last = case.store().scan(401, 402, ALL).unwrap();
            assert!(last.records[0].bytes == bytes_of(401, 200), "{what}");
        }
    }
}

#[test]
fn marks_come_with_their_records_or_not_at_all() {
    let mut case = Case::with(reads_nothing_from_memory);
    append(&mut case, &readings(400), &[], true, true);
    let copy = case.dir().with_file_name("cut");
    copy_dir(&case.dir(), &copy);
    case.close();
    case.options.dir = copy;
    case.reopen();
    check(&case, &readings(400));
    assert_eq!(
        case.store().mark(b"last"),
        Some(1u64.to_le_bytes().to_vec())
    );
    let mut commit = Commit::new();
    commit.unmark(b"last");
    case.writer().commit(&commit).unwrap();
    assert_eq!(case.store().mark(b"last"), None);
}
