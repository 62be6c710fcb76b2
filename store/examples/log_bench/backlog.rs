//! A backlog: filled while nobody takes it, opened again, drained.

use crate::contender::{Log, Outcome};
use crate::load::{READING_BYTES, mib, peak_memory_mib};
use std::path::Path;
use std::time::Instant;
use tidegate_store::ReadLimit;

/// Fills, opens again and drains; prints what that took.
pub(crate) fn fill_and_drain(dir: &Path, backlog: u64) -> Outcome<()> {
    let dir = dir.join("backlog");
    let mut log = Log::new(&dir, true)?;
    let started = Instant::now();
    for first in (0..backlog).step_by(256) {
        log.fill(first, 256.min(backlog - first))?;
    }
    let filled = backlog as f64 / started.elapsed().as_secs_f64();
    let (disk, payload) = (log.store.stats().disk_bytes, backlog * READING_BYTES as u64);
    println!(
        "backlog of {backlog}: filled at {filled:.0}/s (goal 200,000); {:.0} MiB on disk for {:.0} MiB of readings: {:.2} x (goal 1.0)",
        mib(disk),
        mib(payload),
        disk as f64 / payload as f64
    );
    drop(log);
    let started = Instant::now();
    let mut log = Log::new(&dir, true)?;
    println!(
        "opened again in {:.3} s (goal 0.2), {} to deliver",
        started.elapsed().as_secs_f64(),
        log.store.backlog(log.lane).events
    );
    let started = Instant::now();
    let found = drain(&mut log)?;
    println!(
        "drained {found} at {:.0}/s (goal 400,000); {:.1} MiB left on disk (goal 20 MB); peak memory {:.1} MiB (goal 64 MB)\n",
        found as f64 / started.elapsed().as_secs_f64(),
        mib(log.store.stats().disk_bytes),
        peak_memory_mib()
    );
    drop(log);
    Ok(std::fs::remove_dir_all(dir)?)
}

/// Reads and confirms everything.
fn drain(log: &mut Log) -> Outcome<u64> {
    let (mut from, mut found) = (1, 0u64);
    let limit = ReadLimit {
        records: 256,
        bytes: 256 << 10,
    };
    let mut done = Vec::new();
    while from < log.store.end() {
        let batch = log.store.read(log.lane, 1, from, limit)?;
        from = batch.next;
        done.clear();
        done.extend(batch.records.iter().map(|record| record.sequence));
        log.store.confirm(log.lane, 1, &done);
        found += done.len() as u64;
        if found.is_multiple_of(65_536) {
            log.writer.persist_cursors_if_dirty()?;
        }
    }
    log.writer.persist_cursors_if_dirty()?;
    Ok(found)
}
