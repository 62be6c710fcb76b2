//! Records too large for a block: served as any other, written once where there are many bytes of them, and torn,
//! harmed, copied and given up as the rest of the log.

use crate::damage::harm::copy_dir;
use crate::support::{ALL, Case, bytes_of};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tidegate_store::{
    Append, Commit, CommitError, Options, ReadLimit, Route, Store, WhenFull, restore,
};

/// Sizes around every border: a block, a part, the value log, and well beyond.
const SIZES: [usize; 13] = [
    3_900, 4_000, 4_096, 8_200, 16_383, 16_384, 17_000, 20_000, 32_768, 65_536, 200_000, 524_288,
    3_000_000,
];

/// Of so many bytes in a commit the large records go to the value log.
const BESIDE: usize = 16 << 10;

fn small(options: &mut Options) {
    options.tail_bytes = 0;
    options.generation_bytes = 100_000;
}

/// Sequences that are told of as missing, by the opening and by readers.
pub(super) fn damage_of(store: &Store) -> BTreeSet<u64> {
    let (report, stats) = (store.open_report(), store.stats());
    let damage = report.damage.iter().chain(&stats.damage);
    damage
        .flat_map(|damage| damage.first..=damage.last)
        .collect()
}

/// The files of this name in the generations.
pub(super) fn files(dir: &Path, name: &str) -> Vec<PathBuf> {
    let generations = fs::read_dir(dir.join("generations")).unwrap().flatten();
    let mut found: Vec<_> = generations.map(|g| g.path().join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found
}

pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Everything there is, which must be all, in order and byte for byte.
pub(super) fn check(case: &Case, sizes: &[usize]) {
    let mut from = 1;
    while from < case.store().end() {
        let batch = case.store().scan(from, u64::MAX, ALL).unwrap();
        for record in &batch.records {
            let size = sizes[record.sequence as usize - 1];
            assert!(
                record.bytes == bytes_of(record.sequence, size),
                "{}",
                record.sequence
            );
            assert_eq!(record.sequence, from);
            from += 1;
        }
        assert_eq!(batch.next, from);
    }
    assert_eq!(from, sizes.len() as u64 + 1);
}

/// Commits one record of each size, together or each by itself, with a mark or without.
pub(super) fn append(
    case: &mut Case,
    sizes: &[usize],
    routes: &[Route],
    together: bool,
    marked: bool,
) {
    let step = if together { sizes.len() } else { 1 };
    for sizes in sizes.chunks(step) {
        let mut commit = Commit::new();
        let first = case.writer().next_sequence();
        for (sequence, size) in (first..).zip(sizes) {
            let bytes = bytes_of(sequence, *size);
            commit.push_tagged(
                Append {
                    routes,
                    time_ms: 1_700_000_000_000 + sequence,
                    bytes: &bytes,
                },
                &[sequence],
            );
        }
        if marked {
            commit.mark(b"last", &first.to_le_bytes());
        }
        case.writer().commit(&commit).unwrap();
    }
}

#[test]
fn records_of_every_size_come_back_from_memory_from_disk_and_from_a_copy() {
    for (together, marked) in [(false, false), (false, true), (true, false), (true, true)] {
        for tail_bytes in [0, 64 << 20] {
            let mut case = Case::with(|options| {
                small(options);
                options.tail_bytes = tail_bytes;
            });
            let route = Route {
                lane: case.store().lane("cloud").unwrap(),
                class: 1,
            };
            append(&mut case, &SIZES, &[route], together, marked);
            check(&case, &SIZES);
            case.reopen();
            check(&case, &SIZES);
            assert_eq!(case.read_all(route.lane, 1).len(), SIZES.len());
            case.restore_a_copy();
            check(&case, &SIZES);
            let verified = case.store().verify(|_, _| {});
            assert!(verified.is_sound(), "{verified:?}");
            assert_eq!(verified.records, SIZES.len() as u64);
        }
    }
}

#[test]
fn what_a_large_record_is_about_is_read_without_its_bytes() {
    let mut case = Case::with(small);
    let sizes = [100, BESIDE - 1, 200_000, BESIDE, 300];
    append(&mut case, &sizes, &[], false, false);
    let mut found = Vec::new();
    while (found.len() as u64) < case.store().end() - 1 {
        let from = found.len() as u64 + 1;
        let batch = case.store().scan_beginnings(from, u64::MAX, ALL).unwrap();
        found.extend(batch.records);
    }
    for (record, size) in found.iter().zip(sizes) {
        let whole = bytes_of(record.sequence, size);
        assert!(whole.starts_with(&record.bytes), "{}", record.sequence);
        let bytes = if size >= BESIDE { 512 } else { size };
        assert_eq!(record.bytes.len(), bytes, "of {size}");
    }
    fs::remove_file(&files(&case.dir(), "values")[0]).unwrap();
    case.reopen();
    let heads = case.store().scan_beginnings(3, 4, ALL).unwrap();
    assert_eq!(heads.records.len(), 1, "it lies in the database");
    assert!(case.store().scan(3, 4, ALL).unwrap().records.is_empty());
}

#[test]
fn a_backlog_of_large_records_takes_little_more_than_their_bytes() {
    for (count, size) in [
        (150u64, 200_000usize),
        (600, 50_000),
        (1_500, 20_000),
        (8, 3_000_000),
    ] {
        let mut case = Case::with(|options| options.max_size_bytes = 8 << 30);
        let lane = case.store().lane("cloud").unwrap();
        let before = case.disk_bytes();
        for _ in 0..count {
            case.append_many(&[Route { lane, class: 1 }], 1, size)
                .unwrap();
        }
        let (payload, stats) = (count * size as u64, case.store().stats());
        let disk = stats.disk_bytes - before;
        assert!(disk * 10 <= payload * 12, "{disk} on disk for {payload}");
        assert!(!stats.blobs);
        let generations = stats.generations.len() as u64;
        assert!(generations <= 1 + payload / (60 << 20), "{generations}");
        assert_eq!(case.drain(lane, 1), count);
    }
}

#[test]
fn what_a_crash_left_behind_the_last_frame_is_cut_off() {
    for left in [1, 24, 100_000] {
        let mut case = Case::with(|options| options.tail_bytes = 0);
        append(&mut case, &[50_000, 60_000], &[], false, false);
        let values = files(&case.dir(), "values").remove(0);
        let whole = length(&values);
        case.close();
        let mut bytes = fs::read(&values).unwrap();
        bytes.extend(bytes_of(7, left));
        fs::write(&values, bytes).unwrap();
        case.reopen();
        assert_eq!(length(&values), whole, "{left} bytes left");
        append(&mut case, &[70_000], &[], false, false);
        case.reopen();
        check(&case, &[50_000, 60_000, 70_000]);
    }
}

/// A way to harm a value log of two frames, each in a commit of its own.
pub(super) type Harm = fn(&mut Vec<u8>);

#[test]
fn damage_in_a_value_log_is_told_and_alters_nothing() {
    let harms: [(&str, Harm, &[u64]); 8] = [
        ("a bit of the first", |b| b[1_000] ^= 1, &[1]),
        ("a bit of its sequence", |b| b[8] ^= 1, &[1]),
        ("a bit of its length", |b| b[16] ^= 1, &[1]),
        ("a bit of the second", |b| b[60_000] ^= 1, &[2]),
        ("a sector of zeros", |b| b[512..1024].fill(0), &[1]),
        ("cut within the second", |b| b.truncate(60_000), &[2]),
        ("cut within the first", |b| b.truncate(100), &[1, 2]),
        ("emptied", |b| b.clear(), &[1, 2]),
    ];
    for (what, harm, lost) in harms {
        // In the generation that is written to, after an orderly end; and in one that is complete.
        for sealed in [false, true] {
            let mut case = Case::with(|options| {
                options.tail_bytes = 0;
                options.generation_bytes = if sealed { 11_000 } else { 8 << 20 };
            });
            let lane = case.store().lane("cloud").unwrap();
            append(
                &mut case,
                &[50_000, 50_000, 100],
                &[Route { lane, class: 1 }],
                false,
                false,
            );
            let values = files(&case.dir(), "values").remove(0);
            case.close();
            let mut bytes = fs::read(&values).unwrap();
            harm(&mut bytes);
            fs::write(&values, bytes).unwrap();
            case.reopen();
            let found = case.read_from(lane, 1, 1);
            let expected: Vec<_> = (1..=3u64)
                .filter(|n| !lost.contains(n))
                .map(|n| (n, bytes_of(n, if n == 3 { 100 } else { 50_000 })))
                .collect();
            assert!(found == expected, "{what}, sealed {sealed}");
            let told = damage_of(case.store());
            assert!(
                lost.iter().all(|n| told.contains(n)) && told.len() == lost.len(),
                "{what}, sealed {sealed}: told of {told:?}"
            );
            assert!(!case.store().verify(|_, _| {}).is_sound());
            append(&mut case, &[40_000], &[], false, false);
            case.reopen();
            let last = case.store().scan(4, 5, ALL).unwrap();
            assert!(last.records[0].bytes == bytes_of(4, 40_000), "{what}");
        }
    }
}

#[test]
fn a_commit_whose_frame_did_not_arrive_is_taken_back_and_only_that() {
    for (what, harm) in [
        ("nothing of it", (|b| b.truncate(50_024)) as Harm),
        ("half of it", |b| b.truncate(80_000)),
        ("zeros for it", |b| b[50_024..].fill(0)),
    ] {
        let mut case = Case::with(|options| options.tail_bytes = 0);
        append(&mut case, &[50_000], &[], false, false);
        let copy = case.dir().with_file_name("cut");
        append(&mut case, &[100, 60_000, 100], &[], true, false);
        // As a crash leaves it: the mark outside sled knows nothing of the last commit.
        copy_dir(&case.dir(), &copy);
        let values = files(&copy, "values").remove(0);
        let mut bytes = fs::read(&values).unwrap();
        harm(&mut bytes);
        fs::write(&values, bytes).unwrap();
        case.close();
        case.options.dir = copy;
        case.reopen();
        assert_eq!(case.store().open_report().taken_back, 3, "{what}");
        check(&case, &[50_000]);
        assert!(case.store().open_report().damage.is_empty());
        append(&mut case, &[60_000], &[], false, false);
        case.reopen();
        check(&case, &[50_000, 60_000]);
    }
}

#[test]
fn large_records_go_with_their_generation_and_survive_where_they_are_needed() {
    let mut case = Case::with(|options| {
        options.max_size_bytes = 16 << 20;
        options.generation_bytes = 200_000;
        options.keep_for_ms = 0;
        options.when_full = WhenFull::Shed;
        options.tail_bytes = 0;
    });
    let [slow, fast] = ["slow", "fast"].map(|name| case.store().lane(name).unwrap());
    let (mut kept, mut sent) = (Vec::new(), 0);
    for round in 0..400u64 {
        let lane = if round % 16 == 0 { slow } else { fast };
        case.append_many(&[Route { lane, class: 1 }], 1, 100_000)
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        sent += 100_000;
        if lane == slow {
            kept.push(case.store().end() - 1);
        }
        case.drain(fast, 1);
        case.writer().persist_cursors_if_dirty().unwrap();
        assert!(case.disk_bytes() <= 16 << 20, "{}", case.disk_bytes());
    }
    assert!(sent > 2 * (16 << 20));
    assert!(case.store().stats().counters.rewritten > 0);
    for again in [false, true] {
        let found = case.read_from(slow, 1, 1);
        let sequences: Vec<_> = found.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, kept, "after reopening: {again}");
        assert!(
            found
                .iter()
                .all(|(n, bytes)| *bytes == bytes_of(*n, 100_000))
        );
        assert!(damage_of(case.store()).is_empty());
        let rewritten = files(&case.dir(), "kept");
        assert!(
            rewritten
                .iter()
                .any(|kept| kept.with_file_name("beginnings").exists())
        );
        let mut about = beginnings(&case);
        about.retain(|(sequence, _)| kept.contains(sequence));
        let expected = kept.iter().map(|n| (*n, bytes_of(*n, 512)));
        assert!(
            about == expected.collect::<Vec<_>>(),
            "after reopening: {again}"
        );
        case.reopen();
    }
    assert_eq!(case.drain(slow, 1), kept.len() as u64);
    case.writer().persist_cursors_if_dirty().unwrap();
    assert!(case.disk_bytes() < 1 << 20, "{}", case.disk_bytes());
}

#[test]
fn at_the_cap_large_records_are_refused_and_accepted_again_when_delivered() {
    let mut case = Case::with(|options| options.max_size_bytes = 8 << 20);
    let lane = case.store().lane("cloud").unwrap();
    let routes = [Route { lane, class: 1 }];
    let mut held = 0;
    let refused = loop {
        match case.append_many(&routes, 1, 200_000) {
            Ok(_) => held += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CommitError::Full { .. }), "{refused}");
    assert!((20..40).contains(&held), "{held}");
    assert!(case.disk_bytes() <= 8 << 20);
    case.reopen();
    assert!(case.append_many(&routes, 1, 200_000).is_err());
    assert_eq!(case.drain(lane, 1), held);
    case.append_many(&routes, 1, 200_000).unwrap();
}

/// Whether sled opened the database: it makes a snapshot where it opens one that was written to.
fn opened(generation: &Path) -> bool {
    let entries = fs::read_dir(generation).unwrap().flatten();
    entries
        .map(|entry| entry.file_name())
        .any(|name| name.to_string_lossy().starts_with("snap."))
}

/// The complete generations with a value log; no snapshot is left in any.
fn complete_unopened(dir: &Path) -> Vec<PathBuf> {
    let mut found = files(dir, "values");
    found.retain(|values| values.with_file_name("summary").exists());
    for generation in found.iter_mut() {
        generation.pop();
        for entry in fs::read_dir(&*generation).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    found
}

/// What all records are about, read a few at a time.
fn beginnings(case: &Case) -> Vec<(u64, Vec<u8>)> {
    let (mut found, mut from) = (Vec::new(), 1);
    let limit = ReadLimit {
        records: 7,
        bytes: 1 << 20,
    };
    while from < case.store().end() {
        let batch = case.store().scan_beginnings(from, u64::MAX, limit).unwrap();
        assert!(batch.next > from, "it gets on");
        from = batch.next;
        let records = batch.records.into_iter();
        found.extend(records.map(|record| (record.sequence, record.bytes.to_vec())));
    }
    found
}

/// Large records over several generations, with small ones and some in parts among them.
fn several_generations(size: usize) -> (Case, Vec<(u64, Vec<u8>)>) {
    let mut case = Case::with(|options| {
        options.tail_bytes = 0;
        options.generation_bytes = 400_000;
        options.max_size_bytes = 8 << 30;
    });
    let lane = case.store().lane("cloud").unwrap();
    let routes = [Route { lane, class: 1 }];
    let mut expected = Vec::new();
    while files(&case.dir(), "summary").len() < 3 {
        for size in [100, size, size] {
            let first = case.append_many(&routes, 1, size).unwrap().first;
            let mut bytes = bytes_of(first, size);
            bytes.truncate(if size >= BESIDE { 512 } else { size });
            expected.push((first, bytes));
        }
    }
    (case, expected)
}

#[test]
fn what_large_records_are_about_is_read_without_opening_their_databases() {
    for size in [BESIDE, 20_000, 200_000, 3_000_000] {
        let (mut case, expected) = several_generations(size);
        let first = beginnings(&case);
        assert!(first == expected, "{size}: as they were written");
        // As a kill leaves it, after an orderly end, and from a backup.
        let ways =
            ["killed", "closed", "restored"].map(|way| (way, case.dir().with_file_name(way)));
        copy_dir(&case.dir(), &ways[0].1);
        let copy = case.dir().with_file_name("copy");
        case.store().backup(&copy, |_, _| {}).unwrap();
        restore(&copy, &ways[2].1, |_, _| {}).unwrap();
        case.close();
        copy_dir(&case.dir(), &ways[1].1);
        for (way, dir) in ways {
            let complete = complete_unopened(&dir);
            assert!(complete.len() >= 3, "{size}, {way}: {complete:?}");
            case.close();
            case.options.dir = dir;
            case.reopen();
            let found = beginnings(&case);
            assert!(found == expected, "{size}, {way}");
            let opened: Vec<_> = complete.iter().filter(|found| opened(found)).collect();
            assert!(opened.is_empty(), "{size}, {way}: {opened:?}");
            assert!(damage_of(case.store()).is_empty(), "{size}, {way}");
        }
    }
}

/// A way to harm a file, which may use one of the same name in another generation.
type HarmFile = fn(&Path, &Path);

#[test]
fn a_harmed_file_of_beginnings_is_not_believed() {
    let (mut case, expected) = several_generations(200_000);
    let harms: [(&str, HarmFile); 7] = [
        ("a bit", |path, _| flip(path, 2_000)),
        ("a bit of its range", |path, _| flip(path, 1)),
        ("a bit of its checksum", |path, _| {
            flip(path, length(path) as usize - 1)
        }),
        ("cut", |path, _| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(length(path) / 2).unwrap();
        }),
        ("emptied", |path, _| fs::write(path, b"").unwrap()),
        ("gone", |path, _| fs::remove_file(path).unwrap()),
        ("another generation's", |path, other| {
            fs::copy(other, path).unwrap();
        }),
    ];
    case.close();
    for (what, harm) in harms {
        let dir = case.dir().with_file_name(what.replace(' ', "-"));
        copy_dir(&case.dir(), &dir);
        let found = files(&dir, "beginnings");
        assert!(found.len() >= 3, "{what}: {found:?}");
        harm(&found[1], &found[2]);
        let whole = std::mem::replace(&mut case.options.dir, dir);
        case.reopen();
        assert!(beginnings(&case) == expected, "{what}");
        assert!(damage_of(case.store()).is_empty(), "{what}");
        case.close();
        case.options.dir = whole;
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}
