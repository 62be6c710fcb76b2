//! A backlog of large records, as cameras and batches send them: what it takes on the disk, what is written for it, how
//! long the store takes to open, and how fast it drains.
//!
//! `cargo run --release -p tidegate-store --example large -- [directory] [MiB] [bytes of a record] [records of a commit]`,
//! by default the system's temporary directory, 1,024, 200,000 and 1.

#[path = "log_bench/load.rs"]
#[allow(dead_code, reason = "the readings are not for this program")]
mod load;

use load::{device_bytes, mib, peak_memory_mib};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tidegate_store::{Append, Commit, Options, ReadLimit, Route, Store, Writer, open};

/// Whatever went wrong ends the program.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    tidegate_store::limit_heaps();
    let mut arguments = std::env::args().skip(1);
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let mut number = |default: usize| -> Outcome<usize> {
        Ok(arguments.next().map_or(Ok(default), |n| n.parse())?)
    };
    let (backlog, bytes, group) = (number(1024)? << 20, number(200_000)?, number(1)?);
    let dir = parent.join(format!("tidegate-large-{}", std::process::id()));
    let done = measure(&dir, backlog / bytes, bytes, group);
    let _ = std::fs::remove_dir_all(&dir);
    done
}

fn measure(dir: &Path, count: usize, bytes: usize, group: usize) -> Outcome<()> {
    let payload = (count * bytes) as f64;
    let (mut writer, store) = start(dir)?;
    fill(&mut writer, &store, count.min(4 * group), bytes, group)?;
    let (started, before) = (Instant::now(), device_bytes());
    fill(&mut writer, &store, count, bytes, group)?;
    let (filled, written) = (started.elapsed().as_secs_f64(), device_bytes() - before);
    let (disk, held) = (
        store.stats().disk_bytes as f64,
        store.stats().generations.len(),
    );
    println!(
        "{count} records of {bytes} bytes, {group} to a commit: {:.0} records/s, {:.2} x on disk in {held} generations, {:.2} x written",
        count as f64 / filled,
        disk / payload,
        written / payload,
    );
    drop((writer, store));
    let (started, before) = (Instant::now(), device_bytes());
    let (mut writer, store) = start(dir)?;
    println!(
        "opened again in {:.3} s, {:.1} MiB written",
        started.elapsed().as_secs_f64(),
        mib((device_bytes() - before) as u64)
    );
    let (started, before) = (Instant::now(), device_bytes());
    let found = drain(&mut writer, &store)?;
    println!(
        "drained {found} in {:.1} s, {:.1} MiB written; {:.1} MiB left on disk; peak memory {:.1} MiB",
        started.elapsed().as_secs_f64(),
        mib((device_bytes() - before) as u64),
        mib(store.stats().disk_bytes),
        peak_memory_mib()
    );
    Ok(())
}

fn start(dir: &Path) -> Outcome<(Writer, Store)> {
    let opened = open(Options {
        keep_for_ms: 0,
        max_size_bytes: 64 << 30,
        ..Options::new(dir)
    })?;
    opened.1.lane("cloud")?;
    Ok(opened)
}

/// Bytes that nothing compresses.
fn noise(state: &mut u64, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn fill(
    writer: &mut Writer,
    store: &Store,
    count: usize,
    bytes: usize,
    group: usize,
) -> Outcome<()> {
    let routes = [Route {
        lane: store.lane("cloud")?,
        class: 1,
    }];
    let (mut commit, mut state) = (Commit::new(), 0x9e37_79b9_7f4a_7c15 ^ count as u64);
    for first in (0..count).step_by(group) {
        commit.clear();
        for number in first..count.min(first + group) {
            commit.push(Append {
                routes: &routes,
                time_ms: 1_764_000_000_000 + number as u64,
                bytes: &noise(&mut state, bytes),
            });
        }
        writer.commit(&commit)?;
    }
    Ok(())
}

/// Reads and confirms everything.
fn drain(writer: &mut Writer, store: &Store) -> Outcome<usize> {
    let lane = store.lane("cloud")?;
    let (mut from, mut found) = (1, 0);
    let limit = ReadLimit {
        records: 256,
        bytes: 256 << 10,
    };
    while from < store.end() {
        let batch = store.read(lane, 1, from, limit)?;
        from = batch.next;
        let done: Vec<u64> = batch.records.iter().map(|record| record.sequence).collect();
        store.confirm(lane, 1, &done);
        found += done.len();
        writer.persist_cursors_if_dirty()?;
    }
    Ok(found)
}
