//! How fast readings become durable and how much is written for them, against a plain append-only file with fdatasync in
//! the same run; a steady flow for a minute; a backlog filled and drained, with its memory.
//!
//! `cargo run --release -p tidegate-store --example log_bench -- [directory] [backlog] [seconds of steady flow]`, by default
//! the system's temporary directory, 5,000,000 and 60. `--features contenders` puts sqlite, redb and fjall beside it.

mod backlog;
mod contender;
mod load;
#[cfg(feature = "contenders")]
mod others;

use contender::{Contender, Entry, Outcome};
use load::{READING_BYTES, device_bytes};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROUND: Duration = Duration::from_millis(500);
/// The contenders take turns, so that what else the machine does hits all of them.
const TURNS: usize = 5;

fn main() -> Outcome<()> {
    tidegate_store::limit_heaps();
    let mut arguments = std::env::args().skip(1);
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let mut number =
        |default: u64| -> Outcome<u64> { Ok(arguments.next().map_or(Ok(default), |n| n.parse())?) };
    let (backlog, seconds) = (number(5_000_000)?, number(60)?);
    let dir = parent.join(format!("tidegate-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let done = compression_of_the_load()
        // First, for the peak of memory is the process's.
        .and_then(|()| backlog::fill_and_drain(&dir, backlog))
        .and_then(|()| groups(&dir))
        .and_then(|()| steady(&dir, Duration::from_secs(seconds)));
    fs::remove_dir_all(&dir)?;
    done
}

/// What the readings themselves allow, so that the other figures can be judged.
fn compression_of_the_load() -> Outcome<()> {
    let readings: Vec<u8> = (0..40).flat_map(load::reading).collect();
    println!("a reading: {}", String::from_utf8_lossy(&load::reading(7)));
    let compressed = lz4_flex::block::compress(&readings).len();
    let ratio = readings.len() as f64 / compressed as f64;
    println!("lz4 over 40 of them: {ratio:.2} x\n");
    Ok(())
}

/// All of them, the baseline first.
fn contenders() -> Vec<Entry> {
    let own = contender::own();
    #[cfg(feature = "contenders")]
    let own = own.into_iter().chain(others::all()).collect();
    own
}

#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    /// Bytes written to devices per byte of readings.
    amplification: f64,
}

fn measure(contender: &mut dyn Contender, group: u64, round: Duration) -> Outcome<Figures> {
    contender.append(0, group)?;
    let (started, written) = (Instant::now(), device_bytes());
    let mut next = group;
    while started.elapsed() < round {
        contender.append(next, group)?;
        next += group;
    }
    let readings = (next - group) as f64;
    Ok(Figures {
        per_second: readings / started.elapsed().as_secs_f64(),
        amplification: (device_bytes() - written) / (readings * READING_BYTES as f64),
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn groups(dir: &Path) -> Outcome<()> {
    let contenders = contenders();
    println!("durable append, readings/s (share of the plain file, bytes written per byte):");
    print!("{:>6}", "group");
    contenders
        .iter()
        .for_each(|(name, _)| print!(" {name:>26}"));
    println!();
    for group in [1, 16, 256, 4096] {
        let mut found = vec![Vec::new(); contenders.len()];
        for _ in 0..TURNS {
            for ((name, begin), found) in contenders.iter().zip(&mut found) {
                let path = dir.join(name);
                let mut contender = begin(&path)?;
                found.push(measure(contender.as_mut(), group, ROUND)?);
                drop(contender);
                fs::remove_dir_all(path)?;
            }
        }
        let of =
            |turns: &[Figures], what: fn(&Figures) -> f64| median(turns.iter().map(what).collect());
        let base: Vec<f64> = found[0].iter().map(|turn| turn.per_second).collect();
        print!("{group:>6}");
        for turns in &found {
            let ratios = turns.iter().zip(&base);
            let ratio = median(ratios.map(|(turn, base)| turn.per_second / base).collect());
            let (speed, written) = (of(turns, |t| t.per_second), of(turns, |t| t.amplification));
            print!(" {speed:>10.0} ({:>4.0} %,{written:>6.1})", 100.0 * ratio);
        }
        println!();
    }
    println!("goals: 60 % at 16 and 256, 45 % at 4096\n");
    Ok(())
}

/// First in, first out for a while, in groups of 256: what the medium has to bear.
fn steady(dir: &Path, round: Duration) -> Outcome<()> {
    for (compress, goal) in [(true, 2.0), (false, 4.5)] {
        let path = dir.join("steady");
        let mut log = contender::Log::new(&path, compress)?;
        let figures = measure(&mut log, 256, round)?;
        println!(
            "steady flow for {} s, {} lz4: {:.0} readings/s, {:.2} bytes written per byte (goal {goal}), {:.1} MiB on disk at the end",
            round.as_secs(),
            if compress { "with" } else { "without" },
            figures.per_second,
            figures.amplification,
            load::mib(log.store.stats().disk_bytes)
        );
        drop(log);
        fs::remove_dir_all(path)?;
    }
    Ok(())
}
