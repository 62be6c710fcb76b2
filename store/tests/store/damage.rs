//! Damaged files: what is read is what was written, the rest is reported missing, and the store goes on.

use crate::support::{Case, bytes_of};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tidegate_store::{Options, ReadLimit, Route, Store};

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

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if entry.is_dir() {
            found.extend(files(&entry))
        } else {
            found.push(entry)
        }
    }
    found.retain(|path| fs::metadata(path).is_ok_and(|found| found.len() > 0));
    found.sort();
    found
}

/// Reads everything; what comes must be unaltered. Gives the number of records.
fn read_unaltered(store: &Store) -> u64 {
    let (mut from, mut count) = (1, 0);
    while from < store.end() {
        let batch = store
            .scan(
                from,
                u64::MAX,
                ReadLimit {
                    records: 1000,
                    bytes: 1 << 20,
                },
            )
            .unwrap();
        assert!(batch.next > from);
        from = batch.next;
        for record in batch.records {
            assert_eq!(
                record.bytes,
                bytes_of(record.sequence, 200),
                "record {} is altered",
                record.sequence
            );
            count += 1;
        }
    }
    count
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
fn no_damage_anywhere_alters_a_record_or_keeps_the_store_from_opening() {
    let (mut case, _) = filled();
    let backup = tempfile::tempdir().unwrap();
    let pristine = backup.path().join("pristine");
    copy_dir(&case.dir(), &pristine);
    let names: Vec<_> = files(&pristine)
        .iter()
        .map(|path| path.strip_prefix(&pristine).unwrap().to_owned())
        .collect();
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let trials = std::env::var("TIDEGATE_DAMAGE_TRIALS").map_or(120, |text| text.parse().unwrap());
    // Every second trial goes for the database that was written last: it holds the cursors, too.
    let newest = names
        .iter()
        .rfind(|name| name.ends_with("db") && name.starts_with("generations"))
        .unwrap();
    for trial in 0..trials {
        let name = if trial % 2 == 0 {
            newest
        } else {
            &names[trial / 2 % names.len()]
        };
        if ["format", "lock", "ballast"]
            .iter()
            .any(|fixed| name == Path::new(fixed))
        {
            continue;
        }
        fs::remove_dir_all(case.dir()).unwrap();
        copy_dir(&pristine, &case.dir());
        let what = harm(&case.dir().join(name), trial, &mut random);
        case.reopen();
        let found = read_unaltered(case.store());
        let (report, stats) = (case.store().open_report().clone(), case.store().stats());
        let told =
            !report.damage.is_empty() || !stats.quarantined.is_empty() || !stats.damage.is_empty();
        assert!(
            found == RECORDS || told,
            "{what} of {}: {found} records and not a word",
            name.display()
        );
        let end = case.store().end();
        assert!(
            end > RECORDS,
            "{what} of {}: sequences up to {RECORDS} were given out, next is {end}",
            name.display()
        );
        assert_eq!(case.append(&[], &bytes_of(end, 200)), end);
        case.close();
    }
}

/// Damages a file: a flipped bit, a zeroed sector, a cut tail, or an emptied file.
fn harm(path: &Path, trial: usize, random: &mut u64) -> String {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(trial as u64 | 1);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let len = file.metadata().unwrap().len();
    // Most of a database's file is unused: aim at where the bytes are.
    let at = (*random >> 20) % len.min(150_000);
    match (*random >> 10) % 4 {
        0 => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
            format!("bit flip at {at}")
        }
        1 => {
            let sector = at / 512 * 512;
            file.write_all_at(&vec![0; (len - sector).min(512) as usize], sector)
                .unwrap();
            format!("zeroed sector at {sector}")
        }
        2 => {
            file.set_len(at).unwrap();
            format!("cut at {at}")
        }
        _ => {
            file.set_len(0).unwrap();
            "emptying".into()
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
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
