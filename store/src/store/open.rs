//! Opening: who may, what is tidied first, the order in which the parts are found, and how the handles are put together
//! from them.

use super::Store;
use super::dir_lock::{DirLock, in_use, lock_file, take_lock};
use super::documents::Documents;
use super::format_version::check_format;
use super::stats::Statistics;
use super::writer::Writer;
use crate::api::error::{BackupError, DeadLetterError, OpenError};
use crate::api::options::{Options, WhenFull};
use crate::api::status::{OpenProgress, OpenReport};
use crate::append::appender::Appender;
use crate::append::lanes::Lanes;
use crate::append::rotation::Rotation;
use crate::catalog::Catalog;
use crate::catalog::open_generations::OpenGenerations;
use crate::catalog::quarantine::Quarantine;
use crate::dead_letters::{DeadLetters, Place};
use crate::engine::ballast::Ballast;
use crate::engine::failure::EngineError;
use crate::engine::free_space::FreeSpace;
use crate::engine::lock::locked;
use crate::engine::sled::looking::{How, Looking};
use crate::engine::{clock, disk, self_test};
use crate::format::compression::Compressor;
use crate::format::directory::{
    dead_letters_dir, format_file, generations_dir, is_known_name, quarantine_dir,
};
use crate::generation::high_water::HighWater;
use crate::generation::leftovers::Leftovers;
use crate::generation::name::DEAD;
use crate::generation::quarantine;
use crate::read::acknowledging::Acknowledging;
use crate::read::backup::{Backup, BackupReport};
use crate::read::reader::Reader;
use crate::read::verify::Verification;
use crate::recover::{Recovered, Recovery};
use crate::room::Room;
use crate::room::expire::Expiry;
use crate::room::give_up::GivingUp;
use crate::room::retention::Retention;
use crate::room::rewrite::Rewriting;
use crate::room::shed::Shedding;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Attempts to look while others open the store.
const LOOKS_MAX: usize = 3;

/// Opens the store, or creates it. Blocks while it recovers from a crash.
pub fn open(options: Options) -> Result<(Writer, Store), OpenError> {
    open_telling(options, |_| {})
}

/// As [`open`]; `told` hears how far it is: first of all that the directory is this process's own.
pub fn open_telling(
    options: Options,
    mut told: impl FnMut(OpenProgress),
) -> Result<(Writer, Store), OpenError> {
    let parts = Parts::find(options, false, &mut told)?;
    parts.begin_writing()?;
    Ok((parts.writer(), parts.store()))
}

/// Opens an existing store to look at it while no gateway runs: nothing can be appended or removed through it, and what
/// is read moves no cursor on disk. It takes the directory for as long as the handle lives, and tidies it.
pub fn inspect(dir: impl Into<PathBuf>) -> Result<Store, OpenError> {
    let options = existing(dir.into())?;
    Ok(Parts::find(options, true, &mut |_| {})?.store())
}

/// Looks at an existing store without writing to its directory: for who may only read it, where the disk is full or
/// mounted to be read, and without keeping anybody from opening it. What is read is copied, a generation at a time, to a
/// folder for temporary files. Once somebody opens the store, reading what is not copied yet fails.
pub fn look(dir: impl Into<PathBuf>) -> Result<Store, OpenError> {
    let options = existing(dir.into())?;
    let dir = options.dir.clone();
    let lock = lock_file(&dir);
    for _ in 0..LOOKS_MAX {
        let begun = Looking::begin(&lock).map_err(|error| OpenError::io(&lock, &error))?;
        let looking = Arc::new(begun.ok_or_else(|| in_use(&dir))?);
        let found = Parts::look(options.clone(), looking.clone());
        if looking.is_undisturbed() {
            return found.map(Parts::store).map_err(|error| match error {
                OpenError::NoSpace { why, .. } => OpenError::NoRoomToLook(why),
                other => other,
            });
        }
    }
    Err(in_use(&dir))
}

/// The settings to look at the store in `dir`.
fn existing(dir: PathBuf) -> Result<Options, OpenError> {
    let format = format_file(&dir);
    match format.try_exists() {
        Ok(true) => Ok(Options {
            max_size_bytes: u64::MAX,
            ..Options::new(dir)
        }),
        Ok(false) => Err(OpenError::Io {
            path: dir,
            why: "there is no store here".into(),
        }),
        Err(error) => Err(OpenError::io(&format, &error)),
    }
}

/// Makes a store in `to`, which must be absent or empty, from the backup in `from`. `progress` is told bytes done and
/// bytes in all.
pub fn restore(
    from: &Path,
    to: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<BackupReport, BackupError> {
    // It may lie where nothing can be written.
    let backup = look(from).or_else(|error| match error {
        OpenError::NoRoomToLook(_) => inspect(from),
        other => Err(other),
    });
    let backup = backup.map_err(BackupError::Unusable)?;
    backup.backup(to, progress)
}

/// How the directory is held, and since when.
struct Held {
    lock: Option<Arc<DirLock>>,
    looking: Option<Arc<Looking>>,
    read_only: bool,
    started: Instant,
}

/// What the handles are made of.
struct Parts {
    options: Options,
    read_only: bool,
    catalog: Arc<Mutex<Catalog>>,
    space: Arc<FreeSpace>,
    quarantine: Arc<Quarantine>,
    open: Arc<OpenGenerations>,
    leftovers: Arc<Leftovers>,
    appender: Arc<Mutex<Appender>>,
    dead_letters: Arc<DeadLetters>,
    acknowledging: Arc<Acknowledging>,
    report: Arc<OpenReport>,
    device_bytes_at_open: Option<u64>,
    /// Who only looks holds none.
    lock: Option<Arc<DirLock>>,
}

impl Parts {
    /// Takes the directory, tidies it and recovers what is there.
    fn find(
        options: Options,
        read_only: bool,
        told: &mut dyn FnMut(OpenProgress),
    ) -> Result<Parts, OpenError> {
        let started = clock::now();
        let dir = options.dir.clone();
        let io = |error: io::Error| OpenError::io(&dir, &error);
        disk::create_dir(&dir).map_err(io)?;
        let lock = take_lock(&dir)?;
        told(OpenProgress::default());
        check_format(&dir, read_only)?;
        self_test::self_test(&dir.join("generations.selftest")).map_err(OpenError::NoBarrier)?;
        disk::create_part(&generations_dir(&dir)).map_err(io)?;
        let mut report = OpenReport {
            ignored: unknown_names(&dir),
            ..OpenReport::default()
        };
        report.finished_deletions = finish_deletions(&dir).map_err(io)?;
        let ballast = Ballast::new(dir.join("ballast"), options.ballast_bytes);
        let space = Arc::new(FreeSpace::new(dir.clone(), options.free_bytes_min, ballast));
        let recovered = recover(&options, &space, &report, told)?;
        if !read_only {
            // What it says is said again to the first commit.
            let _ = space.check();
        }
        let held = Held {
            lock: Some(Arc::new(lock)),
            looking: None,
            read_only,
            started,
        };
        Parts::with_dead_letters(options, recovered, space, held)
    }

    /// Recovers what is there, from copies.
    fn look(options: Options, looking: Arc<Looking>) -> Result<Parts, OpenError> {
        let started = clock::now();
        let dir = options.dir.clone();
        check_format(&dir, true)?;
        let report = OpenReport {
            ignored: unknown_names(&dir),
            ..OpenReport::default()
        };
        let ballast = Ballast::new(dir.join("ballast"), options.ballast_bytes);
        let space = Arc::new(FreeSpace::new(dir, options.free_bytes_min, ballast));
        let how = How::ToLook(&looking);
        let recovered = Recovery::new(&options, report, how, &mut |_| {}).run()?;
        let held = Held {
            lock: None,
            looking: Some(looking.clone()),
            read_only: true,
            started,
        };
        Parts::with_dead_letters(options, recovered, space, held)
    }

    fn with_dead_letters(
        options: Options,
        mut recovered: Recovered,
        space: Arc<FreeSpace>,
        held: Held,
    ) -> Result<Parts, OpenError> {
        let dir = options.dir.clone();
        let at = Place {
            store: dir.clone(),
            cache_bytes: options.cache_bytes,
            disk_bytes_max: options.max_size_bytes / 8,
            read_only: held.read_only,
            looking: held.looking.clone(),
        };
        let (dead_letters, aside) =
            DeadLetters::open(at, space.clone()).map_err(|error| dead_letter_error(&dir, error))?;
        recovered.report.quarantined.extend(aside);
        recovered.report.micros = clock::micros_since(held.started);
        recovered.catalog.quarantined = quarantine::list(&quarantine_dir(&dir));
        Ok(Parts::new(options, recovered, dead_letters, space, held))
    }

    fn new(
        options: Options,
        recovered: Recovered,
        dead_letters: DeadLetters,
        space: Arc<FreeSpace>,
        held: Held,
    ) -> Parts {
        let Held {
            lock,
            looking,
            read_only,
            started: _,
        } = held;
        let catalog = Arc::new(Mutex::new(recovered.catalog));
        let quarantine = Arc::new(Quarantine::new(catalog.clone(), &options.dir));
        let open = Arc::new(OpenGenerations::new(
            catalog.clone(),
            space.clone(),
            quarantine.clone(),
            options.cache_bytes,
            looking,
        ));
        let leftovers = Arc::new(Leftovers::default());
        let rotation = Rotation {
            catalog: catalog.clone(),
            open: open.clone(),
            leftovers: leftovers.clone(),
            dir: options.dir.clone(),
            cache_bytes: options.cache_bytes,
            highest: recovered.generation,
        };
        let appender = Appender::new(
            rotation,
            space.clone(),
            recovered.engine,
            options.generation_limits(),
            Compressor::new(!options.compress),
        );
        let reader = Reader {
            catalog: catalog.clone(),
            open: open.clone(),
        };
        let acknowledging = Acknowledging::new(catalog.clone(), reader);
        Parts {
            options,
            read_only,
            catalog,
            space,
            quarantine,
            open,
            leftovers,
            appender: Arc::new(Mutex::new(appender)),
            dead_letters: Arc::new(dead_letters),
            acknowledging: Arc::new(acknowledging),
            report: Arc::new(recovered.report),
            device_bytes_at_open: disk::device_bytes_written(),
            lock,
        }
    }

    /// There must be a generation to write to, and the mark outside sled must say so. On a full disk there is none before
    /// the first commit that finds room.
    fn begin_writing(&self) -> Result<(), OpenError> {
        let dir = &self.options.dir;
        let mut appender = locked(&self.appender);
        if !appender.is_open() {
            match appender.rotate() {
                Ok(()) | Err(EngineError::NoSpace(_)) => {}
                Err(other) => {
                    return Err(OpenError::Io {
                        path: dir.clone(),
                        why: other.to_string(),
                    });
                }
            }
        }
        let high_water = HighWater {
            generation: appender.generation(),
            next: locked(&self.catalog).next,
        };
        // On a full disk the older mark stays: it is only ever too low, which hides nothing that matters.
        match high_water
            .save(dir)
            .map_err(|error| OpenError::io(dir, &error))
        {
            Err(error @ OpenError::Io { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    fn writer(&self) -> Writer {
        let options = &self.options;
        let retention = Retention {
            catalog: self.catalog.clone(),
            open: self.open.clone(),
            quarantine: self.quarantine.clone(),
            leftovers: self.leftovers.clone(),
            dir: options.dir.clone(),
            keep_for_ms: options.keep_for_ms,
        };
        let rewriting = Rewriting {
            catalog: self.catalog.clone(),
            open: self.open.clone(),
            space: self.space.clone(),
            dir: options.dir.clone(),
            cache_bytes: options.cache_bytes,
            compress: options.compress,
        };
        let giving_up = GivingUp {
            catalog: self.catalog.clone(),
            open: self.open.clone(),
            acknowledging: self.acknowledging.clone(),
        };
        let step_bytes = options.generation_limits().block_bytes;
        let chosen = options.when_full == WhenFull::Shed;
        Writer {
            catalog: self.catalog.clone(),
            open: self.open.clone(),
            appender: self.appender.clone(),
            room: Room {
                catalog: self.catalog.clone(),
                dead_letters: self.dead_letters.clone(),
                space: self.space.clone(),
                retention,
                rewriting,
                max_size_bytes: options.max_size_bytes,
                reserve_bytes_min: chosen.then_some(step_bytes),
            },
            shedding: Shedding {
                catalog: self.catalog.clone(),
                giving_up: giving_up.clone(),
                chosen,
                step_bytes,
            },
            expiry: Expiry {
                catalog: self.catalog.clone(),
                giving_up,
                expire_after_ms: options.expire_after_ms,
            },
            dir: options.dir.clone(),
            lock: self.lock.clone(),
        }
    }

    fn store(self) -> Store {
        let lanes = Lanes {
            catalog: self.catalog.clone(),
            appender: self.appender,
            read_only: self.read_only,
        };
        let verification = Verification {
            catalog: self.catalog.clone(),
            open: self.open.clone(),
            dead_letters: self.dead_letters.clone(),
        };
        let documents = Documents::new(&self.options.dir, self.read_only);
        let backup = Backup {
            catalog: self.catalog.clone(),
            open: self.open.clone(),
            dead_letters: self.dead_letters.clone(),
            dir: self.options.dir,
            cache_bytes: self.options.cache_bytes,
        };
        let statistics = Statistics {
            catalog: self.catalog.clone(),
            dead_letters: self.dead_letters.clone(),
            space: self.space,
            max_size_bytes: self.options.max_size_bytes,
            device_bytes_at_open: self.device_bytes_at_open,
        };
        Store {
            reader: Reader {
                catalog: self.catalog.clone(),
                open: self.open,
            },
            catalog: self.catalog,
            lanes: Arc::new(lanes),
            acknowledging: self.acknowledging,
            dead_letters: self.dead_letters,
            backup: Arc::new(backup),
            verification: Arc::new(verification),
            statistics: Arc::new(statistics),
            report: self.report,
            documents: Arc::new(documents),
            _lock: self.lock,
        }
    }
}

/// Recovers the generations; on a full disk once more with the ballast's room, and at last without any.
fn recover(
    options: &Options,
    space: &FreeSpace,
    report: &OpenReport,
    told: &mut dyn FnMut(OpenProgress),
) -> Result<Recovered, OpenError> {
    let mut run = |how| Recovery::new(options, report.clone(), how, &mut *told).run();
    let mut recovered = run(How::InPlace);
    if is_no_space(&recovered) && space.release_ballast() {
        recovered = run(How::InPlace);
    }
    match is_no_space(&recovered) {
        true => run(How::OrCopy),
        false => recovered,
    }
}

fn is_no_space<T>(result: &Result<T, OpenError>) -> bool {
    matches!(result, Err(OpenError::NoSpace { .. }))
}

fn dead_letter_error(dir: &Path, error: DeadLetterError) -> OpenError {
    match error {
        DeadLetterError::NoSpace(why) => OpenError::NoSpace {
            dir: dir.to_path_buf(),
            why,
        },
        other => OpenError::Io {
            path: dead_letters_dir(dir),
            why: other.to_string(),
        },
    }
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
    for parent in [generations_dir(dir), dead_letters_dir(dir)] {
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(DEAD) {
                fs::remove_dir_all(entry.path())?;
                finished += 1;
            }
        }
    }
    Ok(finished)
}
