//! Every file of a store is harmed, one at a time and in every way: what is read afterwards is what was written, all
//! that is missing is told, cursors pass nothing that was not confirmed, and the store goes on.
//!
//! `TIDEGATE_DAMAGE_TRIALS=10000` (or `TIDEGATE_LONG=1`) runs longer than the 500 trials of the short form,
//! `TIDEGATE_SEED=` repeats a run.

use super::harm::{HARMS, Harm, Random, copy_dir, harm, targets};
use crate::support::bytes_of;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tidegate_store::{
    Append, Commit, OpenError, Options, ReadLimit, Route, Sequence, Store, Writer, open,
};

const RECORDS: Sequence = 400;
const CONFIRMED: Sequence = 150;
const LETTERS: Sequence = 12;
const TIME_MS: u64 = 1_700_000_000_000;

/// Half of the records can be compressed, a few are so large that they go to the value log.
fn content(sequence: Sequence) -> Vec<u8> {
    match sequence / 20 % 2 {
        _ if sequence % 53 == 7 => bytes_of(sequence, 40_000),
        0 => bytes_of(sequence, 200),
        _ => bytes_of(sequence, 20).repeat(10),
    }
}

fn options(dir: &Path) -> Options {
    Options {
        generation_bytes: 12_000,
        tail_bytes: 0,
        ballast_bytes: 4096,
        free_bytes_min: 0,
        ..Options::new(dir)
    }
}

fn fill(dir: &Path) {
    let (mut writer, store) = open(options(dir)).unwrap();
    let [cloud, local] = ["cloud", "local"].map(|name| store.lane(name).unwrap());
    let routes = [cloud, local].map(|lane| Route { lane, class: 1 });
    for sequence in 1..=RECORDS {
        let mut commit = Commit::new();
        commit.push(Append {
            routes: &routes,
            time_ms: TIME_MS + sequence,
            bytes: &content(sequence),
        });
        commit.mark(
            format!("mark {}", sequence / 100).as_bytes(),
            &sequence.to_be_bytes(),
        );
        if sequence % 5 == 0 {
            commit.mark(b"latest", &sequence.to_be_bytes());
        }
        writer.commit(&commit).unwrap();
        if sequence == CONFIRMED {
            store.confirm(cloud, 1, &(1..=CONFIRMED).collect::<Vec<_>>());
        }
    }
    for sequence in 1..=LETTERS {
        store
            .put_dead_letter((sequence, 0), &content(sequence))
            .unwrap();
    }
}

/// What a harmed store gave, and what it told.
#[derive(Clone, Default)]
struct Seen {
    records: BTreeMap<Sequence, Vec<u8>>,
    letters: BTreeMap<Sequence, Vec<u8>>,
    marks_lost: usize,
    /// What a lane's cursor passes, before anything was read.
    passed: BTreeSet<Sequence>,
    end: Sequence,
    /// Ranges that the store reports as missing.
    told: Vec<(Sequence, Sequence)>,
    letters_told: bool,
    sound: bool,
}

fn see(store: &Store) -> Seen {
    let mut seen = Seen {
        end: store.end(),
        ..Seen::default()
    };
    let lane = store.lanes().into_iter().find(|lane| lane.name == "cloud");
    if let Some(lane) = lane {
        let cursor = store.cursor(lane.id, 1);
        let passes = |n: &Sequence| *n < cursor.low || cursor.above.iter().any(|r| r.contains(n));
        seen.passed = (1..=RECORDS).filter(passes).collect();
    }
    let limit = ReadLimit {
        records: 1000,
        bytes: 1 << 20,
    };
    let mut from = 1;
    while from < store.end() {
        let batch = store.scan(from, Sequence::MAX, limit).unwrap();
        assert!(batch.next > from, "a read must get on");
        from = batch.next;
        let records = batch.records.into_iter();
        seen.records
            .extend(records.map(|record| (record.sequence, record.bytes.to_vec())));
    }
    for letter in store.dead_letters((0, 0), 1000).unwrap_or_default() {
        seen.letters.insert(letter.id.0, letter.bytes);
    }
    seen.marks_lost = (0..4).filter(|n| mark(store, *n).is_none()).count();
    told_by(store, &mut seen);
    seen
}

/// The value of a mark that never changed after its hundred of records.
fn mark(store: &Store, hundred: u64) -> Option<u64> {
    let value = store.mark(format!("mark {hundred}").as_bytes())?;
    Some(u64::from_be_bytes(value.try_into().unwrap()))
}

fn told_by(store: &Store, seen: &mut Seen) {
    let verified = store.verify(|_, _| ());
    let (report, stats) = (store.open_report(), store.stats());
    seen.sound = verified.is_sound();
    let damage = report.damage.iter().chain(&stats.damage);
    seen.told
        .extend(damage.map(|damage| (damage.first, damage.last)));
    let aside = stats.quarantined.iter();
    seen.told
        .extend(aside.map(|quarantined| (quarantined.first, quarantined.last)));
    let letters_aside = stats
        .quarantined
        .iter()
        .any(|q| q.name.starts_with("dead-letters"));
    let named = verified
        .unreadable
        .iter()
        .any(|text| text.starts_with("dead letter"));
    seen.letters_told = letters_aside || named;
}

/// How a trial ended.
fn judge(seen: &Seen) -> Result<&'static str, String> {
    let altered = |of: &BTreeMap<Sequence, Vec<u8>>| {
        of.iter()
            .find(|(n, bytes)| **bytes != content(**n))
            .map(|(n, _)| *n)
    };
    if let Some(n) = altered(&seen.records).or(altered(&seen.letters)) {
        return Err(format!("{n} is altered"));
    }
    let told = |n: &Sequence| {
        seen.told
            .iter()
            .any(|(first, last)| (first..=last).contains(&n))
    };
    let missing: Vec<_> = (1..=RECORDS)
        .filter(|n| !seen.records.contains_key(n))
        .collect();
    if let Some(n) = missing.iter().find(|n| !told(n)) {
        return Err(format!("{n} is missing, and nobody tells"));
    }
    let unconfirmed = |n: &&Sequence| **n > CONFIRMED && !missing.contains(n);
    if let Some(n) = seen.passed.iter().find(unconfirmed) {
        return Err(format!("the cursor passed {n}, which was never confirmed"));
    }
    if (seen.letters.len() as u64) < LETTERS && !seen.letters_told {
        return Err("a dead letter is missing, and nobody tells".into());
    }
    if seen.marks_lost > 0 && seen.told.is_empty() {
        return Err("a mark is missing, and nobody tells".into());
    }
    if seen.end <= RECORDS {
        return Err(format!("{} will be given out a second time", seen.end));
    }
    Ok(
        match (
            missing.is_empty() && seen.letters.len() as u64 == LETTERS,
            seen.told.is_empty() && !seen.letters_told && seen.sound,
        ) {
            (true, true) => "unaffected",
            (true, false) => "told, nothing missing",
            (false, _) => "missing and told",
        },
    )
}

fn goes_on(mut writer: Writer, store: &Store) {
    let mut commit = Commit::new();
    let bytes = bytes_of(7, 300);
    commit.push(Append {
        routes: &[],
        time_ms: TIME_MS * 2,
        bytes: &bytes,
    });
    let first = writer.commit(&commit).unwrap().first;
    let limit = ReadLimit {
        records: 1,
        bytes: 1 << 20,
    };
    let read = store.scan(first, first + 1, limit).unwrap();
    assert_eq!(read.records[0].bytes, bytes);
}

/// A store that is harmed again and again.
struct Trials {
    scratch: tempfile::TempDir,
    targets: BTreeMap<String, Vec<String>>,
    random: Random,
    counts: BTreeMap<(String, &'static str), u64>,
}

impl Trials {
    fn new(seed: u64) -> Trials {
        let scratch = match Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm").unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let pristine = scratch.path().join("pristine");
        fill(&pristine);
        let targets = targets(&pristine);
        Trials {
            scratch,
            targets,
            random: Random(seed),
            counts: BTreeMap::new(),
        }
    }

    /// Harms one file and opens the store; `None` where it rightly refused.
    fn trial(&mut self, number: u64) -> (String, Option<Seen>) {
        let dir = self.scratch.path().join("store");
        let _ = std::fs::remove_dir_all(&dir);
        copy_dir(&self.scratch.path().join("pristine"), &dir);
        // Databases hold what counts: each gets as many trials as five small files.
        let of_records = |kind: &String| kind.ends_with("db") || kind.ends_with("values");
        let weight = |kind: &String| if of_records(kind) { 5 } else { 1 };
        let kinds = self.targets.keys();
        let kinds: Vec<_> = kinds
            .flat_map(|kind| vec![kind.clone(); weight(kind)])
            .collect();
        let kind = &kinds[(number % kinds.len() as u64) as usize];
        let names = &self.targets[kind];
        let name = &names[self.random.below(names.len() as u64) as usize];
        let how: Harm = HARMS[(number / kinds.len() as u64 % HARMS.len() as u64) as usize];
        let place = harm(&dir.join(name), how, &mut self.random);
        let what = format!("trial {number}: {how:?} of {name}, {place}");
        let seen = match open(options(&dir)) {
            Ok((writer, store)) => {
                let seen = see(&store);
                goes_on(writer, &store);
                Some(seen)
            }
            // A flipped bit can make it a later release's.
            Err(OpenError::Newer { .. }) if kind == "format" && how == Harm::Flip => None,
            Err(error) => panic!("{what}: {error}"),
        };
        let outcome = seen.as_ref().map_or(Ok("refused untouched"), judge);
        let outcome = outcome.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
        *self
            .counts
            .entry((format!("{how:?} of {kind}"), outcome))
            .or_default() += 1;
        (what, seen)
    }
}

fn seed() -> u64 {
    let given = std::env::var("TIDEGATE_SEED").ok();
    given.map_or(20_261_123, |text| text.parse().unwrap())
}

fn trials() -> u64 {
    let long = std::env::var("TIDEGATE_LONG").is_ok_and(|long| long == "1");
    let given = std::env::var("TIDEGATE_DAMAGE_TRIALS").ok();
    given.map_or(if long { 10_000 } else { 500 }, |text| {
        text.parse().unwrap()
    })
}

#[test]
fn no_damage_anywhere_alters_a_record_or_goes_untold_or_keeps_the_store_from_opening() {
    let (seed, count) = (seed(), trials());
    println!("seed {seed}");
    let mut trials = Trials::new(seed);
    for number in 0..count {
        trials.trial(number);
    }
    for ((what, outcome), count) in &trials.counts {
        println!("{count:5}  {what}: {outcome}");
    }
}

#[test]
fn a_store_that_kept_silent_or_altered_a_byte_would_be_found_out() {
    let mut trials = Trials::new(seed());
    let mut silent = 0;
    for number in 0..60 {
        let (what, Some(seen)) = trials.trial(number) else {
            continue;
        };
        let mute = Seen {
            told: Vec::new(),
            letters_told: false,
            ..seen.clone()
        };
        let whole = seen.records.len() as u64 == RECORDS && seen.letters.len() as u64 == LETTERS;
        assert!(whole || judge(&mute).is_err(), "{what}");
        silent += u64::from(!whole);
        let mut altered = seen;
        let Some(bytes) = altered.records.values_mut().next_back() else {
            continue;
        };
        bytes[0] ^= 1;
        assert!(judge(&altered).is_err(), "{what}");
    }
    assert!(silent > 0, "nothing was ever missing");
}
