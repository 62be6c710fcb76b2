//! Opening: who may, what is tidied first, and the order in which the parts are found.

use crate::ballast::Ballast;
use crate::codec::Compressor;
use crate::dead_letter::DeadLetters;
use crate::error::{DeadLetterError, OpenError};
use crate::gap::WhenFull;
use crate::generation::DEAD;
use crate::recover::Recovery;
use crate::retention::delete_dir;
use crate::shared::{HighWater, Shared, WriteHalf, generations_dir, quarantine_dir};
use crate::status::OpenReport;
use crate::store::{Store, Writer};
use crate::verify::is_known_name;
use crate::{disk, shim};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub(crate) const FORMAT: &str = "tidegate-store 2\n";
/// What the file says while a backup is being written; no release opens that.
pub(crate) const UNFINISHED: &str = "tidegate-store backup, unfinished\n";
/// Formats that are read and, from the first new block on, written as the newest.
const OLDER_FORMATS: [&str; 1] = ["tidegate-store 1\n"];

/// Settings. Make them with [`Options::new`] and change what you need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The store's directory; created if absent.
    pub dir: PathBuf,
    /// Cap on the bytes on disk (allocated blocks) of generations and dead letters. Default 2 GiB.
    pub max_size_bytes: u64,
    /// How long records stay after every lane is done with them, milliseconds. Default 24 h.
    pub keep_for_ms: u64,
    /// What to do at the cap. Default: refuse.
    pub when_full: WhenFull,
    /// How long a record may wait to be delivered before [`crate::Writer::expire`] gives it up, milliseconds; only the
    /// time counts during which the store was open. Default `None`: for ever.
    pub expire_after_ms: Option<u64>,
    /// Bytes of blocks after which a new generation begins; at most an eighth of the cap. Default 8 MiB: larger
    /// ones rotate less, but sled holds nearly the whole of an open generation in memory.
    pub generation_bytes: u64,
    /// Below this much free disk nothing is accepted. Default 64 MiB.
    pub free_bytes_min: u64,
    /// Room in reserve, taken from the disk at the opening. Default 32 MiB.
    pub ballast_bytes: u64,
    /// sled's cache per open generation; up to three are open at a time. Default 1 MiB.
    pub cache_bytes: u64,
    /// Whether blocks are compressed where that saves an eighth or more. Default true.
    pub compress: bool,
    /// Recent blocks kept in memory for readers that keep up. Default 4 MiB.
    pub tail_bytes: u64,
}

impl Options {
    /// The defaults, for this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            max_size_bytes: 2 << 30,
            keep_for_ms: 24 * 60 * 60 * 1000,
            when_full: WhenFull::Refuse,
            expire_after_ms: None,
            generation_bytes: 8 << 20,
            free_bytes_min: 64 << 20,
            ballast_bytes: 32 << 20,
            cache_bytes: 1 << 20,
            compress: true,
            tail_bytes: 4 << 20,
        }
    }
}

/// Opens the store, or creates it. Blocks while it recovers from a crash.
pub fn open(options: Options) -> Result<(Writer, Store), OpenError> {
    let shared = Arc::new(start(options, false)?);
    Ok((
        Writer {
            shared: shared.clone(),
        },
        Store { shared },
    ))
}

/// Opens an existing store to look at it while no gateway runs: nothing can be appended or removed through it, and what
/// is read moves no cursor on disk.
pub fn inspect(dir: impl Into<PathBuf>) -> Result<Store, OpenError> {
    let dir = dir.into();
    if !dir.join("format").exists() {
        return Err(OpenError::Io {
            path: dir,
            why: "there is no store here".into(),
        });
    }
    let options = Options {
        max_size_bytes: u64::MAX,
        ..Options::new(dir)
    };
    Ok(Store {
        shared: Arc::new(start(options, true)?),
    })
}

fn start(options: Options, read_only: bool) -> Result<Shared, OpenError> {
    let started = Instant::now();
    let dir = options.dir.clone();
    let io = |error: io::Error| io_error(&dir, &error);
    disk::create_dir(&dir).map_err(io)?;
    let lock = take_lock(&dir)?;
    check_format(&dir)?;
    shim::self_test(&dir.join("generations.selftest")).map_err(OpenError::NoBarrier)?;
    disk::create_dir(&generations_dir(&dir)).map_err(io)?;
    let mut report = OpenReport {
        ignored: unknown_names(&dir),
        ..OpenReport::default()
    };
    report.finished_deletions = finish_deletions(&dir).map_err(io)?;
    let ballast = Ballast::new(dir.join("ballast"), options.ballast_bytes);
    let mut recovered = recover(&options, &ballast, &report)?;
    let free = disk::free_bytes(&dir).map_err(io)?;
    if !read_only && !ballast.is_present() && free >= options.free_bytes_min + options.ballast_bytes
    {
        let _ = ballast.make();
    }
    let dead = DeadLetters::open(
        &dir.join("dead-letters"),
        options.cache_bytes,
        options.max_size_bytes / 8,
        read_only,
    );
    let (dead, aside) = dead.map_err(|error| dead_letter_error(&dir, error))?;
    recovered.report.quarantined.extend(aside);
    recovered.report.micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    recovered.state.quarantined = crate::quarantine::list(&quarantine_dir(&dir));
    let compressor = Compressor::new(!options.compress);
    let half = WriteHalf::new(recovered.engine, recovered.generation, compressor);
    let shared = Shared::new(
        options,
        half,
        recovered.state,
        dead,
        ballast,
        recovered.report,
        read_only,
        lock,
    );
    if !read_only {
        begin_writing(&shared)?;
    }
    Ok(shared)
}

/// There must be a generation to write to, and the mark outside sled must say so.
fn begin_writing(shared: &Shared) -> Result<(), OpenError> {
    let dir = &shared.options.dir;
    let mut half = crate::shared::locked(&shared.write);
    if half.engine.is_none() {
        shared.rotate(&mut half).map_err(|error| match error {
            crate::engine::EngineError::NoSpace(why) => OpenError::NoSpace {
                dir: dir.clone(),
                why,
            },
            other => OpenError::Io {
                path: dir.clone(),
                why: other.to_string(),
            },
        })?;
    }
    let mark = HighWater {
        generation: half.generation,
        next: shared.state().next,
    };
    // On a full disk the older mark stays: it is only ever too low, which hides nothing that matters.
    match mark.save(dir) {
        Err(error) if !disk::is_no_space(&error) => Err(io_error(dir, &error)),
        _ => Ok(()),
    }
}

/// Recovers the generations; on a full disk once more with the ballast's room.
fn recover(
    options: &Options,
    ballast: &Ballast,
    report: &OpenReport,
) -> Result<crate::recover::Recovered, OpenError> {
    match Recovery::new(options, report.clone()).run() {
        Err(OpenError::NoSpace { .. }) if ballast.release() => {
            Recovery::new(options, report.clone()).run()
        }
        other => other,
    }
}

pub(crate) fn io_error(path: &Path, error: &io::Error) -> OpenError {
    let why = error.to_string();
    match disk::is_no_space(error) {
        true => OpenError::NoSpace {
            dir: path.to_path_buf(),
            why,
        },
        false => OpenError::Io {
            path: path.to_path_buf(),
            why,
        },
    }
}

fn dead_letter_error(dir: &Path, error: DeadLetterError) -> OpenError {
    match error {
        DeadLetterError::NoSpace(why) => OpenError::NoSpace {
            dir: dir.to_path_buf(),
            why,
        },
        other => OpenError::Io {
            path: dir.join("dead-letters"),
            why: other.to_string(),
        },
    }
}

/// Takes the directory for this process; the lock file says who has it.
fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let io = |error: io::Error| io_error(&path, &error);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut text);
            return Err(OpenError::InUse {
                dir: dir.to_path_buf(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    // The lock is what counts; on a full disk the note of who has it may fail.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// A directory of a later release is left untouched.
fn check_format(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) if found == UNFINISHED => Err(OpenError::Unfinished {
            dir: dir.to_path_buf(),
        }),
        Ok(found) if !OLDER_FORMATS.contains(&found.as_str()) && is_of_a_store(&found) => {
            Err(OpenError::Newer {
                dir: dir.to_path_buf(),
                found: found.trim().chars().take(60).collect(),
            })
        }
        // Bytes that no release ever wrote are damage: each block says again how it is to be read.
        Ok(_) => write_format(&path),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => write_format(&path),
            _ => Err(io_error(&path, &error)),
        },
    }
}

fn write_format(path: &Path) -> Result<(), OpenError> {
    disk::write_atomically(path, FORMAT.as_bytes()).map_err(|error| io_error(path, &error))
}

/// Whether this has the form that a release may write: the name and a number.
fn is_of_a_store(format: &str) -> bool {
    let number = format.strip_prefix("tidegate-store ");
    let number = number.and_then(|rest| rest.strip_suffix('\n'));
    number.is_some_and(|number| number.parse().is_ok_and(|number: u32| number > 0))
}

fn unknown_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| !is_known_name(Path::new(name)))
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// Deletes what a crash left renamed but not deleted.
fn finish_deletions(dir: &Path) -> io::Result<u32> {
    let mut finished = 0;
    for parent in [generations_dir(dir), dir.join("dead-letters")] {
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(DEAD) {
                fs::remove_dir_all(entry.path())?;
                finished += 1;
            }
        }
    }
    Ok(finished)
}

/// Deletes a generation that was never begun completely.
pub(crate) fn discard(dir: &Path) -> Result<(), OpenError> {
    delete_dir(dir).map_err(|error| io_error(dir, &error))
}
