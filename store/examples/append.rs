//! Durable append of 200-byte records at several group sizes, against a plain append-only file with fdatasync in the same
//! run; then a backlog filled and drained, with its memory.
//!
//! `cargo run --release -p tidegate-store --example append -- [directory] [backlog records]`

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidegate_store::{Append, Commit, Options, ReadLimit, Route, open};

const RECORD_BYTES: usize = 200;
const ROUND: Duration = Duration::from_millis(500);
/// File and store take turns, so that what else the machine does hits both.
const TURNS: u32 = 6;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    tidegate_store::limit_heaps();
    let mut arguments = std::env::args().skip(1);
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let backlog: u64 = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let dir = parent.join(format!("tidegate-append-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    // First, for the peak of memory is the process's.
    fill_and_drain(&dir, backlog)?;
    println!(
        "{:>6} {:>14} {:>14} {:>7} {:>14} {:>14}",
        "group", "file rec/s", "store rec/s", "ratio", "file written", "store written"
    );
    for group in [1, 16, 256, 4096] {
        let (mut file, mut store) = (Figures::default(), Figures::default());
        for _ in 0..TURNS {
            file.add(&append_to_file(&dir, group)?);
            store.add(&append_to_store(&dir, group)?);
        }
        let ratio = 100.0 * store.per_second() / file.per_second();
        println!(
            "{group:>6} {:>14.0} {:>14.0} {ratio:>6.0}% {:>13.1}x {:>13.1}x",
            file.per_second(),
            store.per_second(),
            file.amplification(),
            store.amplification()
        );
    }
    fs::remove_dir_all(&dir)?;
    Ok(())
}

#[derive(Default)]
struct Figures {
    records: u64,
    seconds: f64,
    /// NaN where the kernel does not tell.
    device_bytes: f64,
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.records += other.records;
        self.seconds += other.seconds;
        self.device_bytes += other.device_bytes;
    }

    fn per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// Bytes written to devices per byte of records.
    fn amplification(&self) -> f64 {
        self.device_bytes / (self.records as f64 * RECORD_BYTES as f64)
    }
}

fn measure(mut append_group: impl FnMut() -> Outcome<u64>) -> Outcome<Figures> {
    append_group()?;
    let (started, written) = (Instant::now(), device_bytes());
    let mut records = 0;
    while started.elapsed() < ROUND {
        records += append_group()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Figures {
        records,
        seconds,
        device_bytes: device_bytes() - written,
    })
}

fn append_to_file(dir: &Path, group: u64) -> Outcome<Figures> {
    let path = dir.join("plain");
    let mut file = File::create(&path)?;
    let bytes = vec![7; RECORD_BYTES * group as usize];
    let figures = measure(|| {
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok(group)
    });
    fs::remove_file(path)?;
    figures
}

fn append_to_store(dir: &Path, group: u64) -> Outcome<Figures> {
    let path = dir.join("store");
    let (mut writer, store) = open(Options {
        keep_for_ms: 0,
        ..Options::new(&path)
    })?;
    let lane = store.lane("cloud")?;
    let (mut commit, mut number) = (Commit::new(), 0u64);
    let figures = measure(|| {
        commit.clear();
        for _ in 0..group {
            number += 1;
            commit.push(Append {
                routes: &[Route { lane, class: 1 }],
                time_ms: number,
                bytes: &record(number),
            });
        }
        let committed = writer.commit(&commit)?;
        // In the steady state an upstream confirms what was appended, and old generations go.
        store.confirm(
            lane,
            1,
            &(committed.first..=committed.last).collect::<Vec<_>>(),
        );
        Ok(group)
    });
    drop((writer, store));
    fs::remove_dir_all(path)?;
    figures
}

fn fill_and_drain(dir: &Path, backlog: u64) -> Outcome<()> {
    let options = Options {
        keep_for_ms: 0,
        max_size_bytes: 16 << 30,
        ..Options::new(dir.join("backlog"))
    };
    let (mut writer, store) = open(options.clone())?;
    let lane = store.lane("cloud")?;
    let started = Instant::now();
    let mut commit = Commit::new();
    for first in (0..backlog).step_by(256) {
        commit.clear();
        for number in first..backlog.min(first + 256) {
            commit.push(Append {
                routes: &[Route { lane, class: 1 }],
                time_ms: number,
                bytes: &record(number),
            });
        }
        writer.commit(&commit)?;
    }
    let filled = backlog as f64 / started.elapsed().as_secs_f64();
    let stats = store.stats();
    let blocks: u64 = stats
        .generations
        .iter()
        .map(|generation| generation.payload_bytes)
        .sum();
    println!(
        "backlog of {backlog} records: filled at {filled:.0}/s, {:.1} MiB on disk for {:.1} MiB of records in {:.1} MiB of blocks, peak memory {:.1} MiB",
        mib(stats.disk_bytes),
        mib(backlog * RECORD_BYTES as u64),
        mib(blocks),
        peak_memory_mib()
    );
    drop((writer, store));
    let started = Instant::now();
    let (mut writer, store) = open(options)?;
    println!(
        "opened again in {:.3} s; backlog {:?}",
        started.elapsed().as_secs_f64(),
        store.backlog(lane)
    );
    drain(&mut writer, &store, lane)
}

/// Reads and confirms everything, and says how fast.
fn drain(
    writer: &mut tidegate_store::Writer,
    store: &tidegate_store::Store,
    lane: tidegate_store::LaneId,
) -> Outcome<()> {
    let started = Instant::now();
    let (mut from, mut found) = (1, 0u64);
    while from < store.end() {
        let batch = store.read(
            lane,
            1,
            from,
            ReadLimit {
                records: 256,
                bytes: 256 << 10,
            },
        )?;
        from = batch.next;
        found += batch.records.len() as u64;
        store.confirm(
            lane,
            1,
            &batch
                .records
                .iter()
                .map(|record| record.sequence)
                .collect::<Vec<_>>(),
        );
        if found.is_multiple_of(65_536) {
            writer.persist_cursors_if_dirty()?;
        }
    }
    writer.persist_cursors_if_dirty()?;
    println!(
        "drained {found} at {:.0}/s, {:.1} MiB left on disk, peak memory {:.1} MiB\n",
        found as f64 / started.elapsed().as_secs_f64(),
        mib(store.stats().disk_bytes),
        peak_memory_mib()
    );
    Ok(())
}

/// A record like a sensor's JSON.
fn record(number: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [b' '; RECORD_BYTES];
    let mut rest = &mut bytes[..];
    let value = (number.wrapping_mul(2_654_435_761) % 10_000) as f64 / 100.0;
    let _ = write!(
        rest,
        r#"{{"device":"sensor-{:04}","sequence":{number},"temperature":{value:.2},"unit":"C""#,
        number % 100
    );
    bytes
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn device_bytes() -> f64 {
    proc_number("/proc/self/io", "write_bytes:").unwrap_or(f64::NAN)
}

fn peak_memory_mib() -> f64 {
    proc_number("/proc/self/status", "VmHWM:").map_or(f64::NAN, |kib| kib / 1024.0)
}

fn proc_number(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
