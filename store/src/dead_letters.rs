//! Dead letters: events that an upstream refused for good, kept as they were until someone retries or drops them.
//!
//! They have a database of their own under `dead-letters/<n>/`, because a dead letter may stay for months and must not pin
//! the generation it came from. A dead letter is a head and parts, so that every value stays small:
//!
//! ```text
//! key    sequence u64 BE · number u16 BE                head: version u8 = 1 · length varint · crc32c u32 of the bytes
//!        sequence u64 BE · number u16 BE · part u32 BE  up to 4000 bytes of the dead letter
//! ```
//!
//! sled gives no room back for what is removed, so when most of the database is dead it is copied to `<n+1>`, whose
//! `complete` file is written last; at an opening the highest complete one counts. `count` beside it says how many dead
//! letters there must be: a database that lost some goes to quarantine as it is, and the rest is copied.

mod count;
mod encoding;

use crate::api::dead_letter::{DeadLetter, DeadLetterId};
use crate::api::error::DeadLetterError;
use crate::api::status::Quarantined;
use crate::engine::database_files::{has_blobs, has_failed};
use crate::engine::disk;
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::{Engine, Writes};
use crate::format::directory::{dead_letters_dir, quarantine_dir};
use crate::generation::quarantine::{copy_dead_letters, move_dead_letters};
use crate::generation::removal::delete_dir;
use encoding::{
    after, put_dead_letter, read_dead_letter, read_dead_letters, read_head, remove_dead_letter,
    stored_bytes,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 << 10;
/// A database smaller than this is not worth copying.
const COMPACT_BYTES_MIN: u64 = 8 << 20;

struct Database {
    number: u64,
    engine: Option<Engine>,
    live_bytes: u64,
    /// A write failed: what the disk has of the file is not known, and nothing more is written to it.
    poisoned: bool,
}

/// See the module.
pub(crate) struct DeadLetters {
    dir: PathBuf,
    quarantine: PathBuf,
    cache_bytes: u64,
    disk_bytes_max: u64,
    read_only: bool,
    database: Mutex<Database>,
    count: AtomicU64,
    /// Letters that must be there and are not.
    missing: AtomicU64,
    disk_bytes: AtomicU64,
}

impl DeadLetters {
    /// Finds the database of the store in `store`; nothing is created before the first dead letter. Tells what went to quarantine.
    pub(crate) fn open(
        store: &Path,
        cache_bytes: u64,
        disk_bytes_max: u64,
        read_only: bool,
    ) -> Result<(DeadLetters, Vec<Quarantined>), DeadLetterError> {
        let dir = &dead_letters_dir(store);
        let found = DeadLetters {
            dir: dir.clone(),
            quarantine: quarantine_dir(store),
            cache_bytes,
            disk_bytes_max,
            read_only,
            database: Mutex::new(Database {
                number: 0,
                engine: None,
                live_bytes: 0,
                poisoned: false,
            }),
            count: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
        };
        let number = newest_complete(dir).map_err(|error| failed(error.into()))?;
        let mut quarantined = None;
        let mut database = locked(&found.database);
        database.number = number.unwrap_or(0);
        if !read_only {
            delete_older(dir, database.number);
        }
        if number.is_some() {
            database.poisoned = has_failed(&found.path(database.number));
            quarantined = found.reopen_or_isolate(&mut database)?;
        }
        drop(database);
        Ok((found, quarantined.into_iter().collect()))
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn has_blobs(&self) -> bool {
        has_blobs(&self.path(locked(&self.database).number))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// Keeps a dead letter.
    pub(crate) fn put(&self, id: DeadLetterId, bytes: &[u8]) -> Result<(), DeadLetterError> {
        if self.read_only {
            return Err(DeadLetterError::ReadOnly);
        }
        let mut database = locked(&self.database);
        let (disk_bytes, max_bytes) = (self.disk_bytes(), self.disk_bytes_max);
        if disk_bytes + bytes.len() as u64 > max_bytes {
            return Err(DeadLetterError::Full {
                disk_bytes,
                max_bytes,
            });
        }
        self.renew(&mut database)?;
        let before = self.with(&mut database, |engine| stored_bytes(engine, id))?;
        let mut writes = Writes::default();
        if let Some(before) = before {
            remove_dead_letter(&mut writes, id, before);
        }
        put_dead_letter(&mut writes, id, bytes);
        self.write(&mut database, writes)?;
        let replaced = before.unwrap_or(0) as u64;
        database.live_bytes = (database.live_bytes + bytes.len() as u64).saturating_sub(replaced);
        self.count
            .fetch_add(u64::from(before.is_none()), Ordering::Relaxed);
        count::raise(&self.path(database.number), self.count());
        self.measure(&database);
        Ok(())
    }

    /// Reads a dead letter.
    pub(crate) fn get(&self, id: DeadLetterId) -> Result<Option<Vec<u8>>, DeadLetterError> {
        let mut database = locked(&self.database);
        if self.is_empty(&database) {
            return Ok(None);
        }
        match self.with(&mut database, |engine| read_dead_letter(engine, id))? {
            Some(None) => {
                let (sequence, number) = id;
                Err(DeadLetterError::Damaged(format!(
                    "{sequence}.{number} has wrong bytes"
                )))
            }
            found => Ok(found.flatten()),
        }
    }

    /// Lists dead letters in order; damaged ones are left out.
    pub(crate) fn list(
        &self,
        from: DeadLetterId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let mut database = locked(&self.database);
        if self.is_empty(&database) {
            return Ok(Vec::new());
        }
        let found = self.with(&mut database, |engine| {
            read_dead_letters(engine, from, limit)
        })?;
        let sound = found
            .into_iter()
            .filter_map(|(id, bytes)| Some(DeadLetter { id, bytes: bytes? }));
        Ok(sound.collect())
    }

    /// Removes a dead letter.
    pub(crate) fn remove(&self, id: DeadLetterId) -> Result<bool, DeadLetterError> {
        if self.read_only {
            return Err(DeadLetterError::ReadOnly);
        }
        let mut database = locked(&self.database);
        if self.is_empty(&database) {
            return Ok(false);
        }
        self.renew(&mut database)?;
        let Some(before) = self.with(&mut database, |engine| stored_bytes(engine, id))? else {
            return Ok(false);
        };
        count::lower(&self.path(database.number), self.count() - 1)
            .map_err(|error| failed(error.into()))?;
        let mut writes = Writes::default();
        remove_dead_letter(&mut writes, id, before);
        self.write(&mut database, writes)?;
        database.live_bytes = database.live_bytes.saturating_sub(before as u64);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.measure(&database);
        // The dead letter is gone whether or not room could be given back now.
        let _ = self.compact(&mut database);
        Ok(true)
    }

    /// Letters that were there once and were not when the database was opened.
    pub(crate) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Reads every dead letter; gives the number of sound ones and the keys of the others.
    pub(crate) fn verify(&self) -> Result<(u64, Vec<DeadLetterId>), DeadLetterError> {
        let mut database = locked(&self.database);
        let (mut from, mut sound, mut damaged) = ((0, 0), 0, Vec::new());
        if self.is_empty(&database) {
            return Ok((0, damaged));
        }
        loop {
            let found = self.with(&mut database, |engine| read_dead_letters(engine, from, 256))?;
            let Some((last, _)) = found.last() else {
                return Ok((sound, damaged));
            };
            from = after(*last);
            sound += found.iter().filter(|(_, bytes)| bytes.is_some()).count() as u64;
            damaged.extend(
                found
                    .iter()
                    .filter(|(_, bytes)| bytes.is_none())
                    .map(|(id, _)| *id),
            );
        }
    }

    /// Copies all dead letters to a database under `dir`, and calls `then` before another comes or goes; gives how many.
    pub(crate) fn copy_to<T>(
        &self,
        dir: &Path,
        then: impl FnOnce() -> T,
    ) -> Result<(u64, T), DeadLetterError> {
        let mut database = locked(&self.database);
        if !self.is_empty(&database) {
            let failed = |error: std::io::Error| DeadLetterError::Failed(error.to_string());
            disk::create_dir(dir).map_err(failed)?;
            let to = dir.join("1");
            self.with(&mut database, |engine| {
                copy_entries(engine, &Engine::open(&to, self.cache_bytes)?)
            })?;
            mark_complete(&to).map_err(failed)?;
            disk::sync_dir(dir).map_err(failed)?;
        }
        Ok((self.count(), then()))
    }

    /// True if there is surely no dead letter: what a failed write left shows when the files are opened anew.
    fn is_empty(&self, database: &Database) -> bool {
        self.count() == 0 && !database.poisoned
    }

    /// Runs `work` on the open database. A handle that failed is dropped, the next call opens the files anew.
    fn with<T>(
        &self,
        database: &mut Database,
        mut work: impl FnMut(&Engine) -> Result<T, EngineError>,
    ) -> Result<T, DeadLetterError> {
        self.ensure_open(database)?;
        let Some(engine) = &database.engine else {
            return Err(DeadLetterError::Failed("not open".into()));
        };
        work(engine).map_err(|error| {
            database.engine = None;
            failed(error)
        })
    }

    fn ensure_open(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        if database.engine.is_some() {
            return Ok(());
        }
        let opened = self.reopen(database);
        database.poisoned |= opened.is_err() || has_failed(&self.path(database.number));
        opened
    }

    fn reopen(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        if database.number == 0 {
            database.number = 1;
        }
        let dir = self.path(database.number);
        disk::create_dir(&self.dir).map_err(|error| failed(error.into()))?;
        let engine = Engine::open(&dir, self.cache_bytes).map_err(failed)?;
        mark_complete(&dir).map_err(|error| failed(error.into()))?;
        let (mut count, mut live_bytes) = (0, 0);
        engine
            .blocks(0, |key, value| {
                if key.len() == 10 {
                    count += 1;
                    live_bytes += read_head(value).map_or(0, |(bytes, _)| bytes as u64);
                }
                ControlFlow::Continue(())
            })
            .map_err(failed)?;
        self.count.store(count, Ordering::Relaxed);
        database.live_bytes = live_bytes;
        database.engine = Some(engine);
        self.measure(database);
        Ok(())
    }

    /// Opens what is there. Damage must not keep the gateway from running: a database that cannot be used goes to
    /// quarantine, one that lost dead letters is copied there and the others go on.
    fn reopen_or_isolate(
        &self,
        database: &mut Database,
    ) -> Result<Option<Quarantined>, DeadLetterError> {
        let dir = self.path(database.number);
        let noted = count::noted(&dir).unwrap_or(0);
        match self.reopen(database) {
            Err(DeadLetterError::Damaged(why)) => {
                let moved = move_dead_letters(&dir, &self.quarantine, &why);
                database.number += 1;
                moved.map(Some).map_err(|error| failed(error.into()))
            }
            Err(other) => Err(other),
            Ok(()) if noted <= self.count() => Ok(None),
            Ok(()) => {
                let missing = noted - self.count();
                self.missing.store(missing, Ordering::Relaxed);
                if self.read_only {
                    return Ok(None);
                }
                let why = format!("{missing} of {noted} dead letters are missing");
                let copied = copy_dead_letters(&dir, &self.quarantine, &why).ok();
                // Without room for copies the damaged database goes on.
                match copied.is_some() && self.copy(database).is_err() {
                    true => self.reopen(database).map(|()| copied),
                    false => Ok(copied),
                }
            }
        }
    }

    fn measure(&self, database: &Database) {
        self.disk_bytes.store(
            disk::allocated_bytes(&self.path(database.number)),
            Ordering::Relaxed,
        );
    }

    fn write(&self, database: &mut Database, writes: Writes) -> Result<(), DeadLetterError> {
        let mut writes = Some(writes);
        let written = self.with(database, |engine| {
            engine.write(writes.take().unwrap_or_default())
        });
        database.poisoned |= written.is_err();
        written
    }

    /// Copies the dead letters to a new database if a write to this one failed.
    fn renew(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        self.ensure_open(database)?;
        match database.poisoned {
            true => self.copy(database),
            false => Ok(()),
        }
    }

    /// Copies the dead letters to a new database when most of the old one is dead.
    fn compact(&self, database: &mut Database) -> Result<(), DeadLetterError> {
        if self.disk_bytes() < COMPACT_BYTES_MIN || self.disk_bytes() / 4 < database.live_bytes {
            return Ok(());
        }
        self.copy(database)
    }

    /// Copies everything, damaged dead letters too, to a new database, and goes on with that.
    fn copy(&self, database: &mut Database) -> Result<(), DeadLetterError> {
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
        self.measure(database);
        // What cannot be deleted now is at the next opening.
        let _ = delete_dir(&before);
        Ok(())
    }
}

fn copy_entries(from: &Engine, to: &Engine) -> Result<(), EngineError> {
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

fn failed(error: EngineError) -> DeadLetterError {
    match error {
        EngineError::NoSpace(why) => DeadLetterError::NoSpace(why),
        EngineError::Damaged(why) => DeadLetterError::Damaged(why),
        EngineError::Failed(why) => DeadLetterError::Failed(why),
    }
}

fn mark_complete(dir: &Path) -> std::io::Result<()> {
    let path = dir.join("complete");
    if path.exists() {
        Ok(())
    } else {
        disk::write_atomically(&path, b"")
    }
}

/// The newest complete database.
fn newest_complete(dir: &Path) -> std::io::Result<Option<u64>> {
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
        if number > newest && entry.path().join("complete").try_exists()? {
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
