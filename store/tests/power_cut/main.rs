//! Power cuts: every file call of a store at work is recorded, and images of the disk are made as a cut between any two
//! of them may leave it; each is opened with the real recovery and compared with what had been promised by then.
//!
//! `TIDEGATE_POWER_CUTS=50000` makes so many images instead of 2,000; `TIDEGATE_SEED=` repeats a run.

mod calls;
mod disk;
mod driver;
mod oracle;
mod recorder;

use disk::{Broken, CUTS, Disk, Op};
use driver::{Driver, Happened, Wrong};
use oracle::Promised;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Only one test at a time records.
static TURN: Mutex<()> = Mutex::new(());

fn seed() -> u64 {
    let given = std::env::var("TIDEGATE_SEED").ok();
    let given = given.and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1)
}

fn images() -> u64 {
    let given = std::env::var("TIDEGATE_POWER_CUTS").ok();
    given.and_then(|images| images.parse().ok()).unwrap_or(2000)
}

/// In memory where there is such a place: nothing here needs a real disk.
fn scratch() -> tempfile::TempDir {
    match Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm").unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}

/// A run of the store: what it did to the disk and what it promised.
struct Run {
    root: PathBuf,
    start: Disk,
    ops: Vec<Op>,
    happened: Vec<Happened>,
}

fn run(seed: u64, wrong: Wrong, broken: Broken, scratch: &Path) -> Run {
    let root = scratch.join("recorded");
    std::fs::create_dir(&root).unwrap();
    let mut driver = Driver::new(seed, wrong);
    let ops = recorder::recorded(&root, || driver.run(&root, 3, 14));
    Run {
        start: Disk::new(&root, broken),
        root,
        ops,
        happened: driver.happened,
    }
}

/// What came of the images of a run.
#[derive(Default)]
struct Tally {
    images: BTreeMap<String, u64>,
    /// Runs in which something was shed, and runs in which something went to quarantine.
    shed: u64,
    quarantined: u64,
    broken: Vec<String>,
}

/// Makes about `wanted` images of a run and checks each; some of them are cut once more, while they are recovered.
fn cut(run: &Run, wanted: u64, random: &mut Random, scratch: &Path, tally: &mut Tally) {
    let mut disk = run.start.clone();
    let mut promised = Promised::default();
    let calls = run.ops.len() as u64 * CUTS.len() as u64;
    for (at, op) in run.ops.iter().enumerate() {
        disk.apply(op);
        if let Op::Note(number) = op {
            promised.add(&run.happened[*number]);
        }
        for cut in CUTS {
            if random.next() % calls >= wanted {
                continue;
            }
            let image = scratch.join("image");
            disk.cut(cut, &mut || random.next(), &image);
            *tally.images.entry(format!("{cut:?}")).or_default() += 1;
            let again = random.next().is_multiple_of(10);
            let checked = match again {
                true => cut_again(&promised, &image, random, scratch, tally),
                false => promised.check(&image),
            };
            if let Err(why) = checked {
                tally.broken.push(format!("call {at} {cut:?}: {why}"));
            }
            std::fs::remove_dir_all(&image).unwrap();
        }
    }
    assert!(run.root.is_dir());
}

/// Recovers an image and cuts the power at some calls of that, then once more in the image of it.
fn cut_again(
    promised: &Promised,
    image: &Path,
    random: &mut Random,
    scratch: &Path,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut disk = Disk::of(image);
    let mut first = Ok(());
    let ops = recorder::recorded(image, || first = promised.check(image));
    first?;
    for op in &ops {
        disk.apply(op);
        if random.next() % ops.len() as u64 >= 4 {
            continue;
        }
        let cut = CUTS[random.next() as usize % CUTS.len()];
        let second = scratch.join("second");
        disk.cut(cut, &mut || random.next(), &second);
        *tally.images.entry("during recovery".into()).or_default() += 1;
        let mut known = promised.clone();
        known.allow_one_more();
        let checked = known.check(&second);
        std::fs::remove_dir_all(&second).unwrap();
        checked.map_err(|why| format!("then during recovery {cut:?}: {why}"))?;
    }
    Ok(())
}

fn trial(images: u64, seed: u64, wrong: Wrong, broken: Broken) -> Tally {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut tally = Tally::default();
    let mut random = Random(seed | 1);
    let runs = images.div_ceil(500);
    for number in 0..runs {
        let scratch = scratch();
        let run = run(seed + number, wrong, broken, scratch.path());
        let shed = |it: &Happened| matches!(it, Happened::GivingUp { .. });
        tally.shed += u64::from(run.happened.iter().any(shed));
        tally.quarantined += u64::from(run.root.join("quarantine").is_dir());
        cut(&run, images / runs, &mut random, scratch.path(), &mut tally);
    }
    tally
}

#[test]
fn no_power_cut_loses_what_was_acknowledged() {
    let seed = seed();
    let tally = trial(images(), seed, Wrong::default(), Broken::default());
    println!(
        "seed {seed}: images {:?}; {} runs with shedding, {} with quarantine",
        tally.images, tally.shed, tally.quarantined
    );
    assert!(
        tally.broken.is_empty(),
        "seed {seed}: {} broken, first {:#?}",
        tally.broken.len(),
        &tally.broken[..tally.broken.len().min(5)]
    );
    assert!(tally.images.values().sum::<u64>() > images() / 2);
    assert!(tally.shed > 0 && tally.quarantined > 0);
    assert!(tally.images.len() == CUTS.len() + 1, "{:?}", tally.images);
}

/// The same with something switched off: it must be found.
fn must_fail(wrong: Wrong, broken: Broken) {
    let seed = seed();
    let tally = trial(300, seed, wrong, broken);
    println!("seed {seed}: {} broken", tally.broken.len());
    assert!(!tally.broken.is_empty(), "seed {seed}: nothing was found");
}

#[test]
fn without_the_barrier_it_fails() {
    let broken = Broken {
        no_barrier: true,
        ..Broken::default()
    };
    must_fail(Wrong::default(), broken);
}

#[test]
fn without_directory_syncs_it_fails() {
    let broken = Broken {
        no_directory_sync: true,
        ..Broken::default()
    };
    must_fail(Wrong::default(), broken);
}

#[test]
fn with_acks_before_the_commit_it_fails() {
    let wrong = Wrong {
        ack_first: true,
        ..Wrong::default()
    };
    must_fail(wrong, Broken::default());
}

#[test]
fn with_cursors_ahead_of_the_upstream_it_fails() {
    let wrong = Wrong {
        confirm_first: true,
        ..Wrong::default()
    };
    must_fail(wrong, Broken::default());
}
