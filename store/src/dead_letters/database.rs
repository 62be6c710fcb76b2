//! The database that the dead letters are in: found, opened, checked against their count, copied to a new one, thrown away.

use super::{DeadLetters, count, failed};
use crate::api::error::DeadLetterError;
use crate::engine::database_files::has_failed;
use crate::engine::disk;
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::{Engine, Writes};
use crate::generation::quarantine::{copy_dead_letters, described, move_dead_letters};
use crate::generation::removal::delete_dir;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 << 10;
/// A database smaller than this is not worth copying.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

#[derive(Default)]
pub(super) struct Database {
    pub(super) number: u64,
    pub(super) engine: Option<Engine>,
    pub(super) live_bytes: u64,
    /// Bytes removed or replaced since it was opened or copied: what a copy leaves out.
    pub(super) dead_bytes: u64,
    /// A write failed: what the disk has of the file is not known, and nothing more is written to it.
    pub(super) poisoned: bool,
    /// It was not opened yet, for lack of room: what it holds is only known from its count.
    pub(super) unchecked: bool,
}

impl DeadLetters {
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// Finds and opens the newest complete one. On a full disk it may stay closed.
    pub(super) fn find(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        let number = newest_complete(&self.dir).map_err(|error| failed(error.into()))?;
        database.number = number.unwrap_or(0);
        if !self.read_only {
            delete_older(&self.dir, database.number);
        }
        if number.is_none() {
            return Ok(());
        }
        database.unchecked = true;
        match self.ensure_open(database) {
            Err(DeadLetterError::NoSpace(_)) => {
                let noted = count::noted(&self.path(database.number));
                self.count.store(noted.unwrap_or(0), Ordering::Relaxed);
                self.measure(database);
                Ok(())
            }
            other => other,
        }
    }

    pub(super) fn ensure_open(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        if database.engine.is_some() {
            return Ok(());
        }
        let opened = match database.unchecked {
            true => self.reopen_or_isolate(database),
            false => self.reopen(database),
        };
        database.poisoned |= opened.is_err() || has_failed(&self.path(database.number));
        opened
    }

    /// Where there is no room for it, a copy in memory is opened, which can only be read.
    fn open_files(&self, dir: &Path) -> Result<Engine, EngineError> {
        if let Some(looking) = &self.looking {
            return Engine::open_to_look(dir, self.cache_bytes, looking);
        }
        disk::create_part(&self.dir)?;
        match Engine::open(dir, self.cache_bytes) {
            Err(EngineError::NoSpace(_)) if self.space.release_ballast() => {
                Engine::open_or_copy(dir, self.cache_bytes)
            }
            Err(EngineError::NoSpace(_)) => Engine::open_or_copy(dir, self.cache_bytes),
            other => other,
        }
    }

    fn reopen(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        if database.number == 0 {
            database.number = 1;
        }
        let dir = self.path(database.number);
        let engine = self.open_files(&dir).map_err(failed)?;
        if !engine.is_copy() {
            mark_complete(&dir).map_err(|error| failed(error.into()))?;
        }
        let (mut count, mut live_bytes) = (0, 0);
        engine
            .blocks(0, |key, value| {
                if key.len() == 10 {
                    count += 1;
                    live_bytes +=
                        super::encoding::read_head(value).map_or(0, |(bytes, _)| bytes as u64);
                }
                ControlFlow::Continue(())
            })
            .map_err(failed)?;
        self.count.store(count, Ordering::Relaxed);
        database.live_bytes = live_bytes;
        database.engine = Some(engine);
        self.measure(database);
        // What was removed in earlier runs shows in its size alone.
        let mostly_dead = self.disk_bytes() / 4 > live_bytes;
        database.dead_bytes = if mostly_dead { self.disk_bytes() } else { 0 };
        Ok(())
    }

    /// Opens what is there. Damage must not keep the gateway from running: a database that cannot be used goes to
    /// quarantine, one that lost dead letters is copied there and the others go on.
    fn reopen_or_isolate(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        let dir = self.path(database.number);
        let noted = count::noted(&dir).unwrap_or(0);
        match self.reopen(database) {
            Err(DeadLetterError::Damaged(why)) => {
                let moved = match self.looking.is_some() {
                    true => described(&dir, 1, 0, &why),
                    false => move_dead_letters(&dir, &self.quarantine, &why)
                        .map_err(|error| failed(error.into()))?,
                };
                locked(&self.isolated).push(moved);
                self.begin_anew(database);
                Ok(())
            }
            Err(other) => Err(other),
            Ok(()) => {
                database.unchecked = false;
                if noted <= self.count() {
                    return Ok(());
                }
                let missing = noted - self.count();
                self.missing.store(missing, Ordering::Relaxed);
                if self.read_only {
                    return Ok(());
                }
                let why = format!("{missing} of {noted} dead letters are missing");
                let copied = copy_dead_letters(&dir, &self.quarantine, &why).ok();
                let isolated = copied.is_some();
                locked(&self.isolated).extend(copied);
                // Without room for copies the damaged database goes on.
                match isolated && self.copy(database).is_err() {
                    true => self.reopen(database),
                    false => Ok(()),
                }
            }
        }
    }

    /// There is none; the next dead letter makes one.
    fn begin_anew(&self, database: &mut Database) {
        *database = Database {
            number: database.number + 1,
            ..Database::default()
        };
        self.count.store(0, Ordering::Relaxed);
        self.measure(database);
    }

    /// Throws the database away with all that is in it.
    pub(super) fn discard(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        database.engine = None;
        let dir = self.path(database.number);
        if dir.exists() {
            let deleted = delete_dir(&dir).or_else(|_| delete_in_place(&dir));
            deleted.map_err(|error| failed(error.into()))?;
        }
        self.begin_anew(database);
        Ok(())
    }

    pub(super) fn measure(&self, database: &Database) {
        self.disk_bytes.store(
            disk::allocated_bytes(&self.path(database.number)),
            Ordering::Relaxed,
        );
    }

    /// It can be written to: it is open, no copy in memory, and no write to it failed before, else it is copied to a new
    /// one.
    pub(super) fn make_writable(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        if database.engine.as_ref().is_some_and(Engine::is_copy) {
            database.engine = None;
        }
        self.ensure_open(database)?;
        match database.poisoned {
            true => self.copy(database),
            false => Ok(()),
        }
    }

    /// Copies the dead letters to a new database when most of the old one is dead. Without any left it just goes.
    pub(super) fn compact(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        let most = self.disk_bytes() / 4;
        let pays = database.live_bytes <= most && database.dead_bytes >= most;
        if self.disk_bytes() < COMPACT_BYTES_MIN || !pays {
            return Ok(());
        }
        match self.count() {
            0 => self.discard(database),
            _ => self.copy(database),
        }
    }

    /// Copies everything, damaged dead letters too, to a new database, and goes on with that.
    pub(super) fn copy(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        let Some(old) = &database.engine else {
            return Ok(());
        };
        let dir = self.path(database.number + 1);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(|error| failed(error.into()))?;
        }
        let fresh = Engine::open(&dir, self.cache_bytes).map_err(failed)?;
        copy_entries(old, &fresh).map_err(failed)?;
        count::raise(&dir, self.count());
        mark_complete(&dir).map_err(|error| failed(error.into()))?;
        let before = self.path(database.number);
        database.engine = Some(fresh);
        database.number += 1;
        database.poisoned = false;
        database.dead_bytes = 0;
        self.measure(database);
        // What cannot be deleted now is at the next opening.
        let _ = delete_dir(&before);
        Ok(())
    }
}

/// Without room for a new name: what is not complete does not count at the next opening.
fn delete_in_place(dir: &Path) -> io::Result<()> {
    std::fs::remove_file(dir.join(COMPLETE))?;
    disk::sync_dir(dir)?;
    std::fs::remove_dir_all(dir)
}

pub(super) fn copy_entries(from: &Engine, to: &Engine) -> Result<(), EngineError> {
    let mut next = Vec::new();
    loop {
        let mut writes = Writes::default();
        let mut bytes = 0;
        let mut last = None;
        from.entries(&next, |key, value| {
            writes.put_entry(key, value);
            bytes += value.len();
            last = Some([key, &[0]].concat());
            match bytes < COPY_BYTES {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        let Some(last) = last else { return Ok(()) };
        to.write(writes)?;
        next = last;
    }
}

const COMPLETE: &str = "complete";

pub(super) fn mark_complete(dir: &Path) -> io::Result<()> {
    let path = dir.join(COMPLETE);
    if path.exists() {
        Ok(())
    } else {
        disk::write_atomically(&path, b"")
    }
}

/// The newest complete database.
fn newest_complete(dir: &Path) -> io::Result<Option<u64>> {
    if !dir.try_exists()? {
        return Ok(None);
    }
    let mut newest = None;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if number > newest && entry.path().join(COMPLETE).try_exists()? {
            newest = number;
        }
    }
    Ok(newest)
}

/// Databases whose dead letters have been copied; one that cannot be deleted does no harm.
fn delete_older(dir: &Path, number: u64) {
    (1..number)
        .rev()
        .map(|older| dir.join(older.to_string()))
        .take_while(|older| older.exists())
        .for_each(|older| drop(delete_dir(&older)));
}
