//! Dead letters: events that an upstream refused for good, kept as they were until someone retries or drops them.
//!
//! A chain of its own, because a letter may stay for months and must not pin the generation it came from. One sled
//! database under `dead-letters/<n>/`. A letter is a head and parts, so that every value stays small:
//!
//! ```text
//! key    sequence u64 BE · number u16 BE                head: version u8 = 1 · length varint · crc32c u32 of the bytes
//!        sequence u64 BE · number u16 BE · part u32 BE  up to 4000 bytes of the letter
//! ```
//!
//! sled gives no room back for what is removed, so when most of the database is dead it is copied to `<n+1>`, whose
//! `complete` file is written last; at an opening the highest complete one counts. `count` beside it says how many letters
//! there must be: a database that lost some goes to quarantine as it is, and the rest is copied.

use crate::engine::{Engine, EngineError, Writes, has_blobs, has_failed};
use crate::error::DeadLetterError;
use crate::letter::{
    after, put_letter, read_head, read_letter, read_letters, remove_letter, stored_bytes,
};
use crate::letter_count;
use crate::quarantine::{copy_letters, move_letters};
use crate::retention::delete_dir;
use crate::shared::locked;
use crate::status::Quarantined;
use crate::{Sequence, disk};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The record's sequence, and a number to tell its letters (one per upstream) apart.
pub type DeadLetterId = (Sequence, u16);

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its key.
    pub id: DeadLetterId,
    /// What was put, byte for byte.
    pub bytes: Vec<u8>,
}

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 << 10;
/// A database smaller than this is not worth copying.
const COMPACT_BYTES_MIN: u64 = 8 << 20;

struct Chain {
    number: u64,
    engine: Option<Engine>,
    live_bytes: u64,
    /// A write failed: what the disk has of the file is not known, and nothing more is written to it.
    poisoned: bool,
}

/// See the module.
pub(crate) struct DeadLetters {
    dir: PathBuf,
    cache_bytes: u64,
    disk_bytes_max: u64,
    read_only: bool,
    chain: Mutex<Chain>,
    count: AtomicU64,
    /// Letters that must be there and are not.
    missing: AtomicU64,
    disk_bytes: AtomicU64,
}

impl DeadLetters {
    /// Finds the chain under `dir`; nothing is created before the first letter. Tells what went to quarantine.
    pub(crate) fn open(
        dir: &Path,
        cache_bytes: u64,
        disk_bytes_max: u64,
        read_only: bool,
    ) -> Result<(DeadLetters, Vec<Quarantined>), DeadLetterError> {
        let found = DeadLetters {
            dir: dir.to_path_buf(),
            cache_bytes,
            disk_bytes_max,
            read_only,
            chain: Mutex::new(Chain {
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
        let mut chain = locked(&found.chain);
        chain.number = number.unwrap_or(0);
        if !read_only {
            delete_older(dir, chain.number);
        }
        if number.is_some() {
            chain.poisoned = has_failed(&found.path(chain.number));
            quarantined = found.reopen_or_isolate(&mut chain)?;
        }
        drop(chain);
        Ok((found, quarantined.into_iter().collect()))
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn has_blobs(&self) -> bool {
        has_blobs(&self.path(locked(&self.chain).number))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// Keeps a letter.
    pub(crate) fn put(&self, id: DeadLetterId, bytes: &[u8]) -> Result<(), DeadLetterError> {
        if self.read_only {
            return Err(DeadLetterError::ReadOnly);
        }
        let mut chain = locked(&self.chain);
        let (disk_bytes, max_bytes) = (self.disk_bytes(), self.disk_bytes_max);
        if disk_bytes + bytes.len() as u64 > max_bytes {
            return Err(DeadLetterError::Full {
                disk_bytes,
                max_bytes,
            });
        }
        self.renew(&mut chain)?;
        let before = self.with(&mut chain, |engine| stored_bytes(engine, id))?;
        let mut writes = Writes::default();
        if let Some(before) = before {
            remove_letter(&mut writes, id, before);
        }
        put_letter(&mut writes, id, bytes);
        self.write(&mut chain, writes)?;
        let replaced = before.unwrap_or(0) as u64;
        chain.live_bytes = (chain.live_bytes + bytes.len() as u64).saturating_sub(replaced);
        self.count
            .fetch_add(u64::from(before.is_none()), Ordering::Relaxed);
        letter_count::raise(&self.path(chain.number), self.count());
        self.measure(&chain);
        Ok(())
    }

    /// Reads a letter.
    pub(crate) fn get(&self, id: DeadLetterId) -> Result<Option<Vec<u8>>, DeadLetterError> {
        let mut chain = locked(&self.chain);
        if self.is_empty(&chain) {
            return Ok(None);
        }
        match self.with(&mut chain, |engine| read_letter(engine, id))? {
            Some(None) => {
                let (sequence, number) = id;
                Err(DeadLetterError::Damaged(format!(
                    "{sequence}.{number} has wrong bytes"
                )))
            }
            found => Ok(found.flatten()),
        }
    }

    /// Lists letters in order; damaged ones are left out.
    pub(crate) fn list(
        &self,
        from: DeadLetterId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let mut chain = locked(&self.chain);
        if self.is_empty(&chain) {
            return Ok(Vec::new());
        }
        let found = self.with(&mut chain, |engine| read_letters(engine, from, limit))?;
        let sound = found
            .into_iter()
            .filter_map(|(id, bytes)| Some(DeadLetter { id, bytes: bytes? }));
        Ok(sound.collect())
    }

    /// Removes a letter.
    pub(crate) fn remove(&self, id: DeadLetterId) -> Result<bool, DeadLetterError> {
        if self.read_only {
            return Err(DeadLetterError::ReadOnly);
        }
        let mut chain = locked(&self.chain);
        if self.is_empty(&chain) {
            return Ok(false);
        }
        self.renew(&mut chain)?;
        let Some(before) = self.with(&mut chain, |engine| stored_bytes(engine, id))? else {
            return Ok(false);
        };
        letter_count::lower(&self.path(chain.number), self.count() - 1)
            .map_err(|error| failed(error.into()))?;
        let mut writes = Writes::default();
        remove_letter(&mut writes, id, before);
        self.write(&mut chain, writes)?;
        chain.live_bytes = chain.live_bytes.saturating_sub(before as u64);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.measure(&chain);
        // The letter is gone whether or not room could be given back now.
        let _ = self.compact(&mut chain);
        Ok(true)
    }

    /// Letters that were there once and were not when the database was opened.
    pub(crate) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Reads every letter; gives the number of sound ones and the keys of the others.
    pub(crate) fn verify(&self) -> Result<(u64, Vec<DeadLetterId>), DeadLetterError> {
        let mut chain = locked(&self.chain);
        let (mut from, mut sound, mut damaged) = ((0, 0), 0, Vec::new());
        if self.is_empty(&chain) {
            return Ok((0, damaged));
        }
        loop {
            let found = self.with(&mut chain, |engine| read_letters(engine, from, 256))?;
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

    /// Copies all letters to a chain under `dir`, and calls `then` before another comes or goes; gives how many.
    pub(crate) fn copy_to<T>(
        &self,
        dir: &Path,
        then: impl FnOnce() -> T,
    ) -> Result<(u64, T), DeadLetterError> {
        let mut chain = locked(&self.chain);
        if !self.is_empty(&chain) {
            let failed = |error: std::io::Error| DeadLetterError::Failed(error.to_string());
            disk::create_dir(dir).map_err(failed)?;
            let to = dir.join("1");
            self.with(&mut chain, |engine| {
                copy_entries(engine, &Engine::open(&to, self.cache_bytes)?)
            })?;
            mark_complete(&to).map_err(failed)?;
            disk::sync_dir(dir).map_err(failed)?;
        }
        Ok((self.count(), then()))
    }

    /// True if there is surely no letter: what a failed write left shows when the files are opened anew.
    fn is_empty(&self, chain: &Chain) -> bool {
        self.count() == 0 && !chain.poisoned
    }

    /// Runs `work` on the open database. A handle that failed is dropped, the next call opens the files anew.
    fn with<T>(
        &self,
        chain: &mut Chain,
        mut work: impl FnMut(&Engine) -> Result<T, EngineError>,
    ) -> Result<T, DeadLetterError> {
        self.ensure_open(chain)?;
        let Some(engine) = &chain.engine else {
            return Err(DeadLetterError::Failed("not open".into()));
        };
        work(engine).map_err(|error| {
            chain.engine = None;
            failed(error)
        })
    }

    fn ensure_open(&self, chain: &mut Chain) -> Result<(), DeadLetterError> {
        if chain.engine.is_some() {
            return Ok(());
        }
        let opened = self.reopen(chain);
        chain.poisoned |= opened.is_err() || has_failed(&self.path(chain.number));
        opened
    }

    fn reopen(&self, chain: &mut Chain) -> Result<(), DeadLetterError> {
        if chain.number == 0 {
            chain.number = 1;
        }
        let dir = self.path(chain.number);
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
        chain.live_bytes = live_bytes;
        chain.engine = Some(engine);
        self.measure(chain);
        Ok(())
    }

    /// Opens what is there. Damage must not keep the gateway from running: a database that cannot be used goes to
    /// quarantine, one that lost letters is copied there and the others go on.
    fn reopen_or_isolate(&self, chain: &mut Chain) -> Result<Option<Quarantined>, DeadLetterError> {
        let dir = self.path(chain.number);
        let quarantine = self.dir.with_file_name("quarantine");
        let noted = letter_count::noted(&dir).unwrap_or(0);
        match self.reopen(chain) {
            Err(DeadLetterError::Damaged(why)) => {
                let moved = move_letters(&dir, &quarantine, &why);
                chain.number += 1;
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
                let kept = copy_letters(&dir, &quarantine, &why).ok();
                // Without room for copies the damaged database goes on.
                match kept.is_some() && self.copy(chain).is_err() {
                    true => self.reopen(chain).map(|()| kept),
                    false => Ok(kept),
                }
            }
        }
    }

    fn measure(&self, chain: &Chain) {
        self.disk_bytes.store(
            disk::allocated_bytes(&self.path(chain.number)),
            Ordering::Relaxed,
        );
    }

    fn write(&self, chain: &mut Chain, writes: Writes) -> Result<(), DeadLetterError> {
        let mut writes = Some(writes);
        let written = self.with(chain, |engine| {
            engine.write(writes.take().unwrap_or_default())
        });
        chain.poisoned |= written.is_err();
        written
    }

    /// Copies the letters to a new database if a write to this one failed.
    fn renew(&self, chain: &mut Chain) -> Result<(), DeadLetterError> {
        self.ensure_open(chain)?;
        match chain.poisoned {
            true => self.copy(chain),
            false => Ok(()),
        }
    }

    /// Copies the letters to a new database when most of the old one is dead.
    fn compact(&self, chain: &mut Chain) -> Result<(), DeadLetterError> {
        if self.disk_bytes() < COMPACT_BYTES_MIN || self.disk_bytes() / 4 < chain.live_bytes {
            return Ok(());
        }
        self.copy(chain)
    }

    /// Copies everything, damaged letters too, to a new database, and goes on with that.
    fn copy(&self, chain: &mut Chain) -> Result<(), DeadLetterError> {
        let Some(old) = &chain.engine else {
            return Ok(());
        };
        let dir = self.path(chain.number + 1);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(|error| failed(error.into()))?;
        }
        let fresh = Engine::open(&dir, self.cache_bytes).map_err(failed)?;
        copy_entries(old, &fresh).map_err(failed)?;
        letter_count::raise(&dir, self.count());
        mark_complete(&dir).map_err(|error| failed(error.into()))?;
        let before = self.path(chain.number);
        chain.engine = Some(fresh);
        chain.number += 1;
        chain.poisoned = false;
        self.measure(chain);
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
            writes.put_event(key, value);
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

/// Databases whose letters have been copied; one that cannot be deleted does no harm.
fn delete_older(dir: &Path, number: u64) {
    (1..number)
        .rev()
        .map(|older| dir.join(older.to_string()))
        .take_while(|older| older.exists())
        .for_each(|older| drop(delete_dir(&older)));
}
