//! Many readings through a small backlog: the disk stays bounded and memory does not grow.
//!
//! Groups of 64 readings of 200 bytes with the marks of the devices that sent them, one lane that keeps up and one that
//! lags behind what is held in memory; the store may take 32 MiB and keeps nothing that is delivered. Every reading is
//! read by both lanes and compared. At the end the least-squares slope of the resident memory over the second half. Ends
//! with 1 if the disk went beyond the cap or the slope beyond 100 KiB per million readings.
//!
//! `cargo run --release -p tidegate-store --example churn -- [--events N] [--dir DIRECTORY]`, by default 10,000,000 in
//! the system's temporary directory.

#[path = "bench/load.rs"]
mod load;

use load::{READING_BYTES, device_bytes, mib, reading};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tidegate_store::{Append, Commit, LaneId, Options, ReadLimit, Route, Store, Writer, open};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const GROUP: u64 = 64;
const CAP_BYTES: u64 = 32 << 20;
const GENERATION_BYTES: u64 = 2 << 20;
const BALLAST_BYTES: u64 = 1 << 20;
/// Lanes and how many readings they are behind.
const LANES: [(&str, u64); 2] = [("live", 2_000), ("late", 40_000)];
/// Readings from one look at disk and memory to the next.
const LOOK_EVERY: u64 = 9_984;
const TELL_EVERY: u64 = 1_000_000;
/// Above this the memory grows.
const SLOPE_KIB_MAX: f64 = 100.0;

fn main() -> ExitCode {
    tidegate_store::limit_heaps();
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<bool> {
    let (mut events, mut parent) = (10_000_000, std::env::temp_dir());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("a value is missing")?;
        match name.as_str() {
            "--events" => events = value.parse()?,
            "--dir" => parent = PathBuf::from(value),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let dir = parent.join(format!("tidegate-churn-{}", std::process::id()));
    let found = Churn::new(&dir).and_then(|churn| churn.run(events));
    std::fs::remove_dir_all(&dir)?;
    found
}

/// One look.
struct Look {
    millions: f64,
    memory_kib: f64,
    disk_bytes: u64,
}

/// A lane that is read up to some distance behind the end.
struct Follower {
    lane: LaneId,
    behind: u64,
    next: u64,
    found: u64,
}

struct Churn {
    dir: PathBuf,
    writer: Writer,
    store: Store,
    followers: Vec<Follower>,
    looks: Vec<Look>,
    commit: Commit,
}

impl Churn {
    fn new(dir: &Path) -> Outcome<Churn> {
        let (writer, store) = open(Options {
            max_size_bytes: CAP_BYTES,
            generation_bytes: GENERATION_BYTES,
            ballast_bytes: BALLAST_BYTES,
            keep_for_ms: 0,
            ..Options::new(dir)
        })?;
        let follower = |(name, behind)| -> Outcome<Follower> {
            Ok(Follower {
                lane: store.lane(name)?,
                behind,
                next: 1,
                found: 0,
            })
        };
        let followers = LANES.into_iter().map(follower).collect::<Outcome<_>>()?;
        Ok(Churn {
            dir: dir.into(),
            writer,
            followers,
            store,
            looks: Vec::new(),
            commit: Commit::new(),
        })
    }

    fn run(mut self, events: u64) -> Outcome<bool> {
        let (started, written) = (Instant::now(), device_bytes());
        println!(
            "{:>11} {:>8} {:>9} {:>9} {:>12}",
            "readings", "seconds", "disk MiB", "RSS MiB", "written MiB"
        );
        let mut number = 0;
        while number < events {
            let count = GROUP.min(events - number);
            self.append(number, count)?;
            number += count;
            self.follow(|behind| behind)?;
            if number.is_multiple_of(LOOK_EVERY) || number == events {
                self.look(number)?;
            }
            if number.is_multiple_of(TELL_EVERY) || number == events {
                let written = (device_bytes() - written) / f64::from(1 << 20);
                self.tell(number, started.elapsed().as_secs_f64(), written)?;
            }
        }
        self.follow(|_| 0)?;
        for (follower, (name, _)) in self.followers.iter().zip(LANES) {
            if follower.found != events {
                return Err(format!("{name} got {} of {events}", follower.found).into());
            }
        }
        let deleted = self.store.stats().counters.deleted;
        println!("both lanes got every reading; {deleted} generations deleted");
        Ok(self.judge())
    }

    fn append(&mut self, first: u64, count: u64) -> Outcome<()> {
        self.commit.clear();
        let routes: Vec<Route> = self
            .followers
            .iter()
            .map(|follower| Route {
                lane: follower.lane,
                class: 1,
            })
            .collect();
        for number in first..first + count {
            self.commit.push(Append {
                routes: &routes,
                time_ms: 1_764_000_000_000 + number,
                bytes: &reading(number),
            });
        }
        let last = first + count - 1;
        let device = format!("device/{}", last / GROUP % 100);
        self.commit.mark(device.as_bytes(), &last.to_be_bytes());
        self.writer.commit(&self.commit)?;
        Ok(())
    }

    /// Every lane reads and confirms what is further behind than it should be.
    fn follow(&mut self, distance: impl Fn(u64) -> u64) -> Outcome<()> {
        let end = self.store.end();
        for follower in &mut self.followers {
            let until = end.saturating_sub(distance(follower.behind));
            while follower.next < until {
                follower.read(&self.store, until)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, number: u64) -> Outcome<()> {
        self.looks.push(Look {
            millions: number as f64 / 1e6,
            memory_kib: load::memory_kib(),
            disk_bytes: allocated_bytes(&self.dir)?.saturating_sub(BALLAST_BYTES),
        });
        Ok(())
    }

    fn tell(&self, number: u64, seconds: f64, written_mib: f64) -> Outcome<()> {
        println!(
            "{number:>11} {seconds:>8.1} {:>9.1} {:>9.1} {written_mib:>12.0}",
            mib(allocated_bytes(&self.dir)?.saturating_sub(BALLAST_BYTES)),
            load::memory_kib() / 1024.0,
        );
        Ok(())
    }

    fn judge(&self) -> bool {
        let disk_bytes = self.looks.iter().map(|look| look.disk_bytes).max();
        let disk_bytes = disk_bytes.unwrap_or(0);
        println!(
            "disk at most {:.1} MiB (cap {} MiB, backlog {:.1} MiB of readings)",
            mib(disk_bytes),
            CAP_BYTES >> 20,
            mib(LANES[1].1 * READING_BYTES as u64),
        );
        let (_, second_half) = self.looks.split_at(self.looks.len() / 2);
        let (slope, error) = slope(second_half);
        println!(
            "memory {slope:+.1} ± {error:.1} KiB per million readings over the second half ({} looks, one standard error), peak {:.1} MiB",
            second_half.len(),
            load::peak_memory_mib()
        );
        disk_bytes <= CAP_BYTES && slope <= SLOPE_KIB_MAX
    }
}

impl Follower {
    fn read(&mut self, store: &Store, until: u64) -> Outcome<()> {
        let limit = ReadLimit {
            records: usize::try_from((until - self.next).min(256))?,
            bytes: 256 << 10,
        };
        let batch = store.read(self.lane, 1, self.next, limit)?;
        let mut done = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            if record.bytes[..] != reading(record.sequence - 1) {
                return Err(format!("record {} is not what it was", record.sequence).into());
            }
            done.push(record.sequence);
        }
        store.confirm(self.lane, 1, &done);
        self.found += done.len() as u64;
        self.next = batch.next;
        Ok(())
    }
}

/// Of the memory over the readings, by least squares, KiB per million; and its standard error, as if looks were
/// independent of each other.
fn slope(looks: &[Look]) -> (f64, f64) {
    let count = looks.len() as f64;
    let sum = |of: &dyn Fn(&Look) -> f64| looks.iter().map(of).sum::<f64>();
    let (x, y) = (
        sum(&|look| look.millions) / count,
        sum(&|look| look.memory_kib) / count,
    );
    let spread = sum(&|look| (look.millions - x).powi(2));
    let slope = sum(&|look| (look.millions - x) * (look.memory_kib - y)) / spread;
    let rest = sum(&|look| (look.memory_kib - y - slope * (look.millions - x)).powi(2));
    (slope, (rest / (count - 2.0) / spread).sqrt())
}

/// Blocks of all files below `path`; files that vanish meanwhile take none.
fn allocated_bytes(path: &Path) -> Outcome<u64> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Ok(std::fs::symlink_metadata(path).map_or(0, |file| file.blocks() * 512));
    };
    let mut bytes = 0;
    for entry in entries {
        bytes += allocated_bytes(&entry?.path())?;
    }
    Ok(bytes)
}
