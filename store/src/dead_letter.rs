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
//! `complete` file is written last; at an opening the highest complete one counts.

use crate::engine::{Engine, EngineError, Writes, has_blobs};
use crate::error::DeadLetterError;
use crate::retention::delete_dir;
use crate::shared::locked;
use crate::wire::{Reader, put_varint};
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

const VERSION: u8 = 1;
const PART_BYTES: usize = 4000;
/// Letters of one answer, bytes.
const LIST_BYTES_MAX: usize = 4 << 20;
/// A database smaller than this is not worth copying.
const COMPACT_BYTES_MIN: u64 = 8 << 20;

struct Chain {
    number: u64,
    engine: Option<Engine>,
    live_bytes: u64,
}

/// See the module.
pub(crate) struct DeadLetters {
    dir: PathBuf,
    cache_bytes: u64,
    disk_bytes_max: u64,
    read_only: bool,
    chain: Mutex<Chain>,
    count: AtomicU64,
    disk_bytes: AtomicU64,
}

impl DeadLetters {
    /// Finds the chain under `dir`; nothing is created before the first letter.
    pub(crate) fn open(
        dir: &Path,
        cache_bytes: u64,
        disk_bytes_max: u64,
        read_only: bool,
    ) -> Result<DeadLetters, DeadLetterError> {
        let found = DeadLetters {
            dir: dir.to_path_buf(),
            cache_bytes,
            disk_bytes_max,
            read_only,
            chain: Mutex::new(Chain {
                number: 0,
                engine: None,
                live_bytes: 0,
            }),
            count: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
        };
        let number = newest_complete(dir);
        let mut chain = locked(&found.chain);
        chain.number = number.unwrap_or(0);
        if number.is_some() {
            found.reopen_or_isolate(&mut chain)?;
        }
        drop(chain);
        Ok(found)
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
        let before = self.with(&mut chain, |engine| stored_bytes(engine, id))?;
        let mut writes = Writes::default();
        if let Some(before) = before {
            remove_letter(&mut writes, id, before);
        }
        put_letter(&mut writes, id, bytes);
        self.with(&mut chain, |engine| {
            engine.write(std::mem::take(&mut writes))
        })?;
        let replaced = before.unwrap_or(0) as u64;
        chain.live_bytes = (chain.live_bytes + bytes.len() as u64).saturating_sub(replaced);
        self.count
            .fetch_add(u64::from(before.is_none()), Ordering::Relaxed);
        self.measure(&chain);
        Ok(())
    }

    /// Reads a letter.
    pub(crate) fn get(&self, id: DeadLetterId) -> Result<Option<Vec<u8>>, DeadLetterError> {
        let mut chain = locked(&self.chain);
        if self.count() == 0 {
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
        if self.count() == 0 {
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
        if self.count() == 0 {
            return Ok(false);
        }
        let Some(before) = self.with(&mut chain, |engine| stored_bytes(engine, id))? else {
            return Ok(false);
        };
        let mut writes = Writes::default();
        remove_letter(&mut writes, id, before);
        self.with(&mut chain, |engine| {
            engine.write(std::mem::take(&mut writes))
        })?;
        chain.live_bytes = chain.live_bytes.saturating_sub(before as u64);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.measure(&chain);
        // The letter is gone whether or not room could be given back now.
        let _ = self.compact(&mut chain);
        Ok(true)
    }

    /// Reads every letter; gives the number of sound ones and the keys of the others.
    pub(crate) fn verify(&self) -> Result<(u64, Vec<DeadLetterId>), DeadLetterError> {
        let mut chain = locked(&self.chain);
        let (mut from, mut sound, mut damaged) = ((0, 0), 0, Vec::new());
        if self.count() == 0 {
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

    /// Runs `work` on the open database. A handle that failed is dropped, the next call opens the files anew.
    fn with<T>(
        &self,
        chain: &mut Chain,
        mut work: impl FnMut(&Engine) -> Result<T, EngineError>,
    ) -> Result<T, DeadLetterError> {
        if chain.engine.is_none() {
            self.reopen(chain)?;
        }
        let Some(engine) = &chain.engine else {
            return Err(DeadLetterError::Failed("not open".into()));
        };
        work(engine).map_err(|error| {
            chain.engine = None;
            failed(error)
        })
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

    /// Opens what is there. Damage must not keep the gateway from running: such a chain goes to quarantine.
    fn reopen_or_isolate(&self, chain: &mut Chain) -> Result<(), DeadLetterError> {
        let opened = self.reopen(chain);
        let Err(DeadLetterError::Damaged(_)) = &opened else {
            return opened;
        };
        let to = self.dir.with_file_name("quarantine");
        let moved = disk::create_dir(&to).and_then(|()| {
            let mut name = format!("dead-letters-{}", chain.number);
            while to.join(&name).exists() {
                name.push('x');
            }
            disk::rename(&self.path(chain.number), &to.join(name))
        });
        chain.number += 1;
        moved.map_err(|error| failed(error.into()))
    }

    fn measure(&self, chain: &Chain) {
        self.disk_bytes.store(
            disk::allocated_bytes(&self.path(chain.number)),
            Ordering::Relaxed,
        );
    }

    /// Copies the letters to a new database when most of the old one is dead.
    fn compact(&self, chain: &mut Chain) -> Result<(), DeadLetterError> {
        if self.disk_bytes() < COMPACT_BYTES_MIN || self.disk_bytes() / 4 < chain.live_bytes {
            return Ok(());
        }
        let Some(old) = &chain.engine else {
            return Ok(());
        };
        let dir = self.path(chain.number + 1);
        let _ = std::fs::remove_dir_all(&dir);
        let fresh = Engine::open(&dir, self.cache_bytes).map_err(failed)?;
        let mut from = (0, 0);
        loop {
            let letters = read_letters(old, from, 64).map_err(failed)?;
            let Some((last, _)) = letters.last() else {
                break;
            };
            from = after(*last);
            let mut writes = Writes::default();
            for (id, bytes) in &letters {
                // A damaged letter is not to be lost with the old database: nothing is given back while there is one.
                let bytes = bytes
                    .as_ref()
                    .ok_or_else(|| DeadLetterError::Damaged(format!("{id:?}")))?;
                put_letter(&mut writes, *id, bytes);
            }
            fresh.write(writes).map_err(failed)?;
        }
        mark_complete(&dir).map_err(|error| failed(error.into()))?;
        let before = self.path(chain.number);
        chain.engine = Some(fresh);
        chain.number += 1;
        self.measure(chain);
        delete_dir(&before).map_err(|error| failed(error.into()))
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
fn newest_complete(dir: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let numbers: Vec<u64> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers
        .into_iter()
        .filter(|number| dir.join(number.to_string()).join("complete").exists())
        .max()
}

fn head_key((sequence, number): DeadLetterId) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&sequence.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn part_key(id: DeadLetterId, part: u32) -> [u8; 14] {
    let mut key = [0; 14];
    key[..10].copy_from_slice(&head_key(id));
    key[10..].copy_from_slice(&part.to_be_bytes());
    key
}

fn parse_head_key(key: &[u8]) -> Option<DeadLetterId> {
    let (sequence, number) = key.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*sequence),
        u16::from_be_bytes(number.try_into().ok()?),
    ))
}

fn put_letter(writes: &mut Writes, id: DeadLetterId, bytes: &[u8]) {
    let mut head = vec![VERSION];
    put_varint(&mut head, bytes.len() as u64);
    head.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    writes.events.insert(&head_key(id), head);
    for (part, chunk) in (0..).zip(bytes.chunks(PART_BYTES)) {
        writes.events.insert(&part_key(id, part), chunk);
    }
}

fn remove_letter(writes: &mut Writes, id: DeadLetterId, bytes: usize) {
    writes.events.remove(&head_key(id));
    (0..bytes.div_ceil(PART_BYTES) as u32)
        .for_each(|part| writes.events.remove(&part_key(id, part)));
}

/// Length and checksum of a letter.
fn read_head(value: &[u8]) -> Option<(usize, u32)> {
    let mut reader = Reader::new(value);
    let version = reader.u8()?;
    let bytes = usize::try_from(reader.varint()?).ok()?;
    let crc = reader.u32()?;
    (version == VERSION).then_some((bytes, crc))
}

/// Length that a letter's parts take, as far as its head tells.
fn stored_bytes(engine: &Engine, id: DeadLetterId) -> Result<Option<usize>, EngineError> {
    let mut found = None;
    engine.entries(&head_key(id), |key, value| {
        if key == head_key(id) {
            found = Some(read_head(value).map_or(0, |(bytes, _)| bytes));
        }
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// One letter; `Some(None)` if its bytes are damaged.
fn read_letter(engine: &Engine, id: DeadLetterId) -> Result<Option<Option<Vec<u8>>>, EngineError> {
    let found = read_letters(engine, id, 1)?;
    Ok(found
        .into_iter()
        .find(|(found, _)| *found == id)
        .map(|(_, bytes)| bytes))
}

/// A letter's key, and its bytes if they are as they were put.
type Found = (DeadLetterId, Option<Vec<u8>>);

/// Letters from `from` on.
fn read_letters(
    engine: &Engine,
    from: DeadLetterId,
    limit: usize,
) -> Result<Vec<Found>, EngineError> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    let mut heads: Vec<Option<(usize, u32)>> = Vec::new();
    let mut total = 0;
    engine.entries(&head_key(from), |key, value| {
        if let Some(id) = parse_head_key(key) {
            if letters.len() >= limit || total >= LIST_BYTES_MAX {
                return ControlFlow::Break(());
            }
            letters.push(DeadLetter {
                id,
                bytes: Vec::new(),
            });
            heads.push(read_head(value));
        } else if let Some(letter) = letters.last_mut()
            && key.starts_with(&head_key(letter.id))
        {
            letter.bytes.extend_from_slice(value);
            total += value.len();
        }
        ControlFlow::Continue(())
    })?;
    let checked = |(letter, head): (DeadLetter, Option<(usize, u32)>)| {
        let right = head == Some((letter.bytes.len(), crc32c::crc32c(&letter.bytes)));
        (letter.id, right.then_some(letter.bytes))
    };
    Ok(letters.into_iter().zip(heads).map(checked).collect())
}

/// The key that follows.
fn after((sequence, number): DeadLetterId) -> DeadLetterId {
    match number.checked_add(1) {
        Some(number) => (sequence, number),
        None => (sequence.saturating_add(1), 0),
    }
}
