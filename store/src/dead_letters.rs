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
//! letters there must be: a database that lost some goes to quarantine as it is, and the rest is copied. Without any dead
//! letter left it goes as a whole, which takes no room; and where there is no room to open it, that is done later.

mod count;
mod database;
mod encoding;

use crate::api::dead_letter::{DeadLetter, DeadLetterId};
use crate::api::error::DeadLetterError;
use crate::api::status::Quarantined;
use crate::engine::database_files::has_blobs;
use crate::engine::disk;
use crate::engine::failure::EngineError;
use crate::engine::free_space::FreeSpace;
use crate::engine::lock::locked;
use crate::engine::sled::looking::Looking;
use crate::engine::sled::{Engine, Writes};
use crate::format::directory::{dead_letters_dir, quarantine_dir};
use database::{Database, copy_entries, mark_complete};
use encoding::{
    after, put_dead_letter, read_dead_letter, read_dead_letters, remove_dead_letter, stored_bytes,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Where dead letters are kept, and how.
pub(crate) struct Place {
    /// The store's directory.
    pub(crate) store: PathBuf,
    pub(crate) cache_bytes: u64,
    /// Bytes that they may take on the disk.
    pub(crate) disk_bytes_max: u64,
    pub(crate) read_only: bool,
    /// Copies are opened, and nothing is written or moved.
    pub(crate) looking: Option<Arc<Looking>>,
}

/// See the module.
pub(crate) struct DeadLetters {
    dir: PathBuf,
    quarantine: PathBuf,
    cache_bytes: u64,
    disk_bytes_max: u64,
    read_only: bool,
    looking: Option<Arc<Looking>>,
    space: Arc<FreeSpace>,
    database: Mutex<Database>,
    count: AtomicU64,
    /// Letters that must be there and are not.
    missing: AtomicU64,
    disk_bytes: AtomicU64,
    /// What went to quarantine after the opening.
    isolated: Mutex<Vec<Quarantined>>,
}

impl DeadLetters {
    /// Finds the database; nothing is created before the first dead letter. Tells what went to quarantine.
    pub(crate) fn open(
        at: Place,
        space: Arc<FreeSpace>,
    ) -> Result<(DeadLetters, Vec<Quarantined>), DeadLetterError> {
        let found = DeadLetters {
            dir: dead_letters_dir(&at.store),
            quarantine: quarantine_dir(&at.store),
            cache_bytes: at.cache_bytes,
            disk_bytes_max: at.disk_bytes_max,
            read_only: at.read_only,
            looking: at.looking,
            space,
            database: Mutex::default(),
            count: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
            isolated: Mutex::default(),
        };
        found.find(&mut locked(&found.database))?;
        let isolated = std::mem::take(&mut *locked(&found.isolated));
        Ok((found, isolated))
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

    /// What went to quarantine since the opening.
    pub(crate) fn isolated(&self) -> Vec<Quarantined> {
        locked(&self.isolated).clone()
    }

    /// Keeps dead letters: all of them, or none.
    pub(crate) fn put(&self, letters: &[(DeadLetterId, &[u8])]) -> Result<(), DeadLetterError> {
        let letters: BTreeMap<DeadLetterId, &[u8]> = letters.iter().copied().collect();
        if letters.is_empty() {
            return Ok(());
        }
        self.with_ballast(|database| self.put_in(database, &letters))
    }

    fn put_in(
        &self,
        database: &mut Database,
        letters: &BTreeMap<DeadLetterId, &[u8]>,
    ) -> Result<(), DeadLetterError> {
        let bytes: u64 = letters.values().map(|bytes| bytes.len() as u64).sum();
        self.make_room(database, bytes)?;
        self.make_writable(database)?;
        let mut writes = Writes::default();
        let (mut fresh, mut replaced) = (0, 0);
        for (&id, bytes) in letters {
            let before = self.with(database, |engine| stored_bytes(engine, id))?;
            match before {
                Some(before) => remove_dead_letter(&mut writes, id, before),
                None => fresh += 1,
            }
            replaced += before.unwrap_or(0) as u64;
            put_dead_letter(&mut writes, id, bytes);
        }
        self.write(database, writes)?;
        database.live_bytes = (database.live_bytes + bytes).saturating_sub(replaced);
        database.dead_bytes += replaced;
        self.count.fetch_add(fresh, Ordering::Relaxed);
        count::raise(&self.path(database.number), self.count());
        self.measure(database);
        Ok(())
    }

    /// Dead letters have their share of the cap; what is dead in their database does not count against it.
    fn make_room(&self, database: &mut Database, bytes: u64) -> Result<(), DeadLetterError> {
        let max_bytes = self.disk_bytes_max;
        let is_full = || self.disk_bytes() + bytes > max_bytes;
        if is_full() && database.dead_bytes >= self.disk_bytes() / 4 {
            // The answer is below, whatever came of it.
            let _ = self.make_writable(database);
            let _ = self.copy(database);
        }
        match is_full() {
            true => Err(DeadLetterError::Full {
                disk_bytes: self.disk_bytes(),
                max_bytes,
            }),
            false => Ok(()),
        }
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
        let was_there = Cell::new(false);
        self.with_ballast(|database| {
            let is_there = self.remove_in(database, id, &was_there)?;
            // What failed for lack of room may have been done all the same; then it is durable by now.
            Ok(is_there || was_there.get())
        })
    }

    fn remove_in(
        &self,
        database: &mut Database,
        id: DeadLetterId,
        was_there: &Cell<bool>,
    ) -> Result<bool, DeadLetterError> {
        if self.is_empty(database) {
            return Ok(false);
        }
        self.make_writable(database)?;
        let Some(before) = self.with(database, |engine| stored_bytes(engine, id))? else {
            return Ok(false);
        };
        was_there.set(true);
        count::lower(&self.path(database.number), self.count() - 1)
            .map_err(|error| failed(error.into()))?;
        let mut writes = Writes::default();
        remove_dead_letter(&mut writes, id, before);
        self.write(database, writes)?;
        database.live_bytes = database.live_bytes.saturating_sub(before as u64);
        database.dead_bytes += before as u64;
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.measure(database);
        // The dead letter is gone whether or not room could be given back now.
        let _ = self.compact(database);
        Ok(true)
    }

    /// Removes all of them with their database, readable or not; gives how many there were. It takes no room.
    pub(crate) fn remove_all(&self) -> Result<u64, DeadLetterError> {
        if self.read_only {
            return Err(DeadLetterError::ReadOnly);
        }
        let count = self.count();
        self.discard(&mut locked(&self.database))?;
        Ok(count)
    }

    /// Runs what writes; where the disk is full, once more with the ballast's room.
    fn with_ballast<T>(
        &self,
        work: impl Fn(&mut Database) -> Result<T, DeadLetterError>,
    ) -> Result<T, DeadLetterError> {
        if self.read_only {
            return Err(DeadLetterError::ReadOnly);
        }
        let mut database = locked(&self.database);
        match work(&mut database) {
            Err(DeadLetterError::NoSpace(_)) if self.space.release_ballast() => work(&mut database),
            other => other,
        }
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
        self.count() == 0 && !database.poisoned && !database.unchecked
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

    fn write(&self, database: &mut Database, writes: Writes) -> Result<(), DeadLetterError> {
        let mut writes = Some(writes);
        let written = self.with(database, |engine| {
            engine.write(writes.take().unwrap_or_default())
        });
        database.poisoned |= written.is_err();
        written
    }
}

fn failed(error: EngineError) -> DeadLetterError {
    match error {
        EngineError::NoSpace(why) => DeadLetterError::NoSpace(why),
        EngineError::Damaged(why) => DeadLetterError::Damaged(why),
        EngineError::Failed(why) => DeadLetterError::Failed(why),
    }
}
