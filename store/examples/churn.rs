//! Many readings through a small backlog: the disk stays bounded and memory does not grow.
//!
//! Groups of 64 readings of 200 bytes with the marks of the devices that sent them, one lane that keeps up and one that
//! lags behind what is held in memory; the store may take 32 MiB and keeps nothing that is delivered. Every reading is
//! read by both lanes and compared. At the end the least-squares slope of the resident memory over the second half. Ends
//! with 1 if the disk went beyond the cap or the slope beyond 100 KiB per million readings. With fewer than some five
//! million readings the slope shows how memory is first taken into use.
//!
//! `cargo run --release -p tidegate-store --example churn -- [--events N] [--dir DIRECTORY]`, by default 10,000,000 in
//! the system's temporary directory.

#[path = "log_bench/load.rs"]
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

/// Memory over readings, by least squares. Only sums are kept: what measures memory must not take any.
#[derive(Default)]
struct Line {
    count: f64,
    /// The first look, from which the others are counted.
    begin: Option<(f64, f64)>,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Line {
    fn add(&mut self, millions: f64, memory_kib: f64) {
        let (x, y) = *self.begin.get_or_insert((millions, memory_kib));
        let (x, y) = (millions - x, memory_kib - y);
        self.count += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        self.yy += y * y;
    }

    /// KiB per million readings, and its standard error as if looks were independent of each other.
    fn slope(&self) -> (f64, f64) {
        let xx = self.xx - self.x * self.x / self.count;
        let xy = self.xy - self.x * self.y / self.count;
        let yy = self.yy - self.y * self.y / self.count;
        let rest = (yy - xy * xy / xx).max(0.0);
        (xy / xx, (rest / (self.count - 2.0) / xx).sqrt())
    }
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
    disk_bytes_max: u64,
    second_half: Line,
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
            disk_bytes_max: 0,
            second_half: Line::default(),
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
                self.look(number, events)?;
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

    fn look(&mut self, number: u64, events: u64) -> Outcome<()> {
        let disk_bytes = allocated_bytes(&self.dir)?.saturating_sub(BALLAST_BYTES);
        self.disk_bytes_max = self.disk_bytes_max.max(disk_bytes);
        if number > events / 2 {
            self.second_half
                .add(number as f64 / 1e6, load::memory_kib());
        }
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
        println!(
            "disk at most {:.1} MiB (cap {} MiB, backlog {:.1} MiB of readings)",
            mib(self.disk_bytes_max),
            CAP_BYTES >> 20,
            mib(LANES[1].1 * READING_BYTES as u64),
        );
        let (slope, error) = self.second_half.slope();
        println!(
            "memory {slope:+.1} ± {error:.1} KiB per million readings over the second half ({} looks, one standard error), peak {:.1} MiB",
            self.second_half.count,
            load::peak_memory_mib()
        );
        self.disk_bytes_max <= CAP_BYTES && slope <= SLOPE_KIB_MAX
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
