//! One sled database with the two trees of a generation, fenced: sled's panics become errors, and its three ways to
//! fail (no room, damaged, failed) are told apart. The only file that names sled's types.

mod aside;
pub(crate) mod looking;

use super::database_files::{
    note_failure, read_through, remove_torn_snapshots, set_snapshots_aside, share_files,
};
use super::disk;
use super::failure::{EngineError, fenced};
use super::lock::locked;
use super::shim::room_ahead::RoomAhead;
use super::value_log::{Placed, ValueLog};
use super::watchdog::Watchdog;
use aside::Aside;
use bytes::Bytes;
use looking::Looking;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// What sled says when another process, or one of its own threads, has the database open.
const LOCKED: &str = "could not acquire lock";

impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> EngineError {
        match error {
            sled::Error::Io(error) => EngineError::from(error),
            sled::Error::Corruption { at, .. } => {
                EngineError::Damaged(format!("sled found a corrupt page at {at:?}"))
            }
            sled::Error::ReportableBug(why) => EngineError::Failed(why),
            other => EngineError::Damaged(other.to_string()),
        }
    }
}

/// A list of writes that become durable together.
#[derive(Default)]
pub(crate) struct Writes {
    /// Blocks that need no more than their order: after a crash there are all, or the first of them. A batch costs sled
    /// a record more, which it writes and syncs by itself.
    pub(crate) blocks: Vec<(sled::IVec, sled::IVec)>,
    /// After a crash there are all or none.
    entries: sled::Batch,
    has_entries: bool,
    /// The same for the small keys.
    small_keys: sled::Batch,
    /// False while `small_keys` is empty: then that tree is not touched at all.
    pub(crate) has_small_keys: bool,
    /// What goes to the value log, before all else.
    frames: Vec<Placed>,
    /// Where the value log ends with them.
    frames_end: u64,
}

impl Writes {
    /// For a database whose value log is appended to.
    pub(crate) fn to(engine: &Engine) -> Writes {
        Writes {
            frames_end: engine.values.end(),
            ..Writes::default()
        }
    }

    /// Where the next frame will stand in the value log.
    pub(crate) fn frames_end(&self) -> u64 {
        self.frames_end
    }

    pub(crate) fn put_frame(&mut self, frame: Bytes) {
        self.put_frame_at(self.frames_end, frame);
    }

    /// Puts a frame where its head says that it is; frames come in order.
    pub(crate) fn put_frame_at(&mut self, offset: u64, frame: Bytes) {
        self.frames_end = offset + frame.len() as u64;
        self.frames.push((offset, frame));
    }

    pub(crate) fn put_entry(&mut self, key: &[u8], value: &[u8]) {
        self.entries.insert(key, value);
        self.has_entries = true;
    }

    pub(crate) fn remove_entry(&mut self, key: &[u8]) {
        self.entries.remove(key);
        self.has_entries = true;
    }

    pub(crate) fn put_block(&mut self, key: &[u8], value: &[u8]) {
        self.blocks.push((key.into(), value.into()));
    }

    pub(crate) fn put_small_key(&mut self, key: &[u8], value: &[u8]) {
        self.small_keys.insert(key, value);
        self.has_small_keys = true;
    }

    pub(crate) fn remove_small_key(&mut self, key: &[u8]) {
        self.small_keys.remove(key);
        self.has_small_keys = true;
    }
}

/// A database with the configuration that tells of its errors.
type Database = (sled::Config, sled::Db);

static WATCHDOG: Watchdog<Database> = Watchdog::new(
    |(config, _)| config.global_error().is_err(),
    |(_, database)| {
        let _ = fenced(|| Ok(database.flush()?));
    },
);

struct Trees {
    config: sled::Config,
    database: sled::Db,
    entries: sled::Tree,
    small_keys: sled::Tree,
}

/// An open database. Closing it (drop) flushes it.
pub(crate) struct Engine {
    trees: Option<Trees>,
    dir: PathBuf,
    values: ValueLog,
    room_ahead: Mutex<Option<RoomAhead>>,
    /// It is a copy.
    aside: bool,
}

impl Engine {
    /// Opens or creates the database in `dir`, working around what a power cut may have left: a torn snapshot is
    /// removed first, and if sled reports damage it is asked once more without its snapshots (it then replays the log).
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Engine, EngineError> {
        let opened = open_engine(dir, cache_bytes);
        match &opened {
            // Somebody else has it: nothing was written.
            Err(EngineError::Failed(why)) if why.contains(LOCKED) => {}
            Err(_) => note_failure(dir),
            Ok(_) => {}
        }
        opened
    }

    /// Opens a database to read it; where its disk has no room for that, a copy of it in memory.
    pub(crate) fn open_or_copy(dir: &Path, cache_bytes: u64) -> Result<Engine, EngineError> {
        match Engine::open(dir, cache_bytes) {
            Err(EngineError::NoSpace(why)) => Engine::open_copy(dir, cache_bytes, why),
            other => other,
        }
    }

    /// Opens a copy in memory; `why` there is no room on the disk.
    fn open_copy(dir: &Path, cache_bytes: u64, why: String) -> Result<Engine, EngineError> {
        let copy = Aside::of(dir).map_err(|_| EngineError::NoSpace(why))?;
        Engine::of_copy(dir, &copy, cache_bytes)
    }

    /// Opens a copy of a database to look at it; nothing of it is written.
    pub(crate) fn open_to_look(
        dir: &Path,
        cache_bytes: u64,
        looking: &Looking,
    ) -> Result<Engine, EngineError> {
        let copy = Aside::to_look(dir);
        looking.check()?;
        Engine::of_copy(dir, &copy?, cache_bytes)
    }

    fn of_copy(dir: &Path, copy: &Aside, cache_bytes: u64) -> Result<Engine, EngineError> {
        remove_torn_snapshots(copy.dir())?;
        read_through(copy.dir())?;
        Ok(Engine {
            trees: Some(open_trees_or_replay(copy.dir(), cache_bytes)?),
            // It is only read, and sled does not know of it: no copy is needed.
            values: ValueLog::of(dir),
            room_ahead: Mutex::new(None),
            dir: dir.to_path_buf(),
            aside: true,
        })
    }

    /// True if it is a copy in memory: nothing can be made durable in it.
    pub(crate) fn is_copy(&self) -> bool {
        self.aside
    }

    /// Makes the names and the configuration file that sled created durable; sled itself does not.
    fn sync_names(&self) -> Result<(), EngineError> {
        fs::File::open(self.dir.join("conf"))?.sync_all()?;
        disk::sync_dir(&self.dir.join("blobs"))?;
        disk::sync_dir(&self.dir)?;
        Ok(())
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Much will be written here: the file gets room ahead. Where it cannot be had, all goes on without.
    pub(crate) fn take_room_ahead(&self, generation_bytes: u64, free_bytes_min: u64) {
        let database = self.dir.join("db");
        let room = RoomAhead::of(&database, generation_bytes, free_bytes_min);
        *locked(&self.room_ahead) = room.ok();
    }

    /// The value log beside the database.
    pub(crate) fn values(&self) -> &ValueLog {
        &self.values
    }

    /// Bytes that the log takes on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        disk::allocated_bytes(&self.dir.join("db")) + self.values.disk_bytes()
    }

    fn trees(&self) -> Result<&Trees, EngineError> {
        self.trees
            .as_ref()
            .ok_or_else(|| EngineError::Failed("the database is closed".into()))
    }

    /// Every call on sled: fenced, and watched while it waits.
    fn call<T>(
        &self,
        call: impl FnOnce(&Trees) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let trees = self.trees()?;
        let database = (trees.config.clone(), trees.database.clone());
        fenced(|| WATCHDOG.watched(database, || call(trees)))
    }

    /// Applies the writes and returns when they are on the disk. What goes to the value log is there before the small
    /// keys are, since these cannot be taken back; without any it is synced at the same time as the blocks that name it.
    pub(crate) fn write(&self, writes: Writes) -> Result<(), EngineError> {
        if self.aside {
            return Err(EngineError::NoSpace("it is a copy in memory".into()));
        }
        let written = if writes.frames.is_empty() {
            self.apply(writes)
        } else if writes.has_small_keys {
            let appended = self.values.append(&writes.frames);
            let synced = appended.and_then(|()| self.values.sync());
            synced.and_then(|()| self.apply(writes))
        } else {
            let appended = self.values.append(&writes.frames);
            appended.and_then(|()| self.apply_beside_sync(writes))
        };
        if written.is_err() {
            note_failure(&self.dir);
        }
        written
    }

    /// Two waits for the disk, of which the file system makes one where it can.
    fn apply_beside_sync(&self, writes: Writes) -> Result<(), EngineError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("store-values".into());
            let Ok(synced) = thread.spawn_scoped(scope, || self.values.sync()) else {
                return self.values.sync().and_then(|()| self.apply(writes));
            };
            let applied = self.apply(writes);
            let panicked = || EngineError::Failed("the value log's sync panicked".into());
            synced.join().unwrap_or_else(|_| Err(panicked()))?;
            applied
        })
    }

    /// Blocks first.
    fn apply(&self, writes: Writes) -> Result<(), EngineError> {
        self.call(|trees| {
            for (key, value) in writes.blocks {
                trees.entries.insert(key, value)?;
            }
            if writes.has_entries {
                trees.entries.apply_batch(writes.entries)?;
            }
            if writes.has_small_keys {
                trees.small_keys.apply_batch(writes.small_keys)?;
            }
            trees.database.flush()?;
            Ok(())
        })
    }

    /// Visits blocks in order, from the one holding `from`, with their parts.
    pub(crate) fn blocks(
        &self,
        from: u64,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let start = self.call(|trees| block_start(&trees.entries, from))?;
        self.entries(&start.to_be_bytes(), visit)
    }

    /// Visits the tree of blocks from a key on, in order.
    pub(crate) fn entries(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.call(|trees| {
            for entry in trees.entries.range(from..) {
                let (key, value) = entry?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Visits the small durable keys.
    pub(crate) fn small_keys(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), EngineError> {
        self.call(|trees| {
            for entry in trees.small_keys.iter() {
                let (key, value) = entry?;
                visit(&key, &value);
            }
            Ok(())
        })
    }

    /// Takes everything from the block of sequence `from` on out of the tree of blocks.
    pub(crate) fn cut_from(&self, from: u64) -> Result<(), EngineError> {
        let mut writes = Writes::default();
        self.call(|trees| {
            for key in trees.entries.range(from.to_be_bytes()..).keys() {
                writes.remove_entry(&key?);
            }
            Ok(())
        })?;
        // A copy is cut too: what is cut off would be taken for records.
        let applied = self.apply(writes);
        if applied.is_err() && !self.aside {
            note_failure(&self.dir);
        }
        applied
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // sled flushes when it is dropped; then nobody could wake it.
        let flushed = self.call(|trees| Ok(trees.database.flush()?));
        let trees = self.trees.take();
        let closed = fenced(|| {
            drop(trees);
            Ok(())
        });
        drop(locked(&self.room_ahead).take());
        if (flushed.is_err() || closed.is_err()) && !self.aside {
            note_failure(&self.dir);
        }
    }
}

fn open_engine(dir: &Path, cache_bytes: u64) -> Result<Engine, EngineError> {
    let created = !dir.exists();
    disk::create_part(dir)?;
    remove_torn_snapshots(dir)?;
    read_through(dir)?;
    let engine = Engine {
        trees: Some(open_trees_or_replay(dir, cache_bytes)?),
        values: ValueLog::of(dir),
        room_ahead: Mutex::new(None),
        dir: dir.to_path_buf(),
        aside: false,
    };
    share_files(dir);
    if created {
        engine.sync_names()?;
    }
    Ok(engine)
}

fn open_trees_or_replay(dir: &Path, cache_bytes: u64) -> Result<Trees, EngineError> {
    match open_trees(dir, cache_bytes) {
        Err(EngineError::Damaged(_)) => {
            set_snapshots_aside(dir)?;
            open_trees(dir, cache_bytes)
        }
        other => other,
    }
}

/// The key of the block that may hold `from`: the last block that starts at or before it.
fn block_start(entries: &sled::Tree, from: u64) -> Result<u64, EngineError> {
    let Some(entry) = entries.range(..=from.to_be_bytes()).next_back() else {
        return Ok(from);
    };
    let (key, _) = entry?;
    Ok(<[u8; 8]>::try_from(&*key).map_or(from, u64::from_be_bytes))
}

fn open_trees(dir: &Path, cache_bytes: u64) -> Result<Trees, EngineError> {
    // A database closed a moment ago may still be locked by sled's own threads.
    let mut patience = 200;
    loop {
        let opened = fenced(|| {
            let config = sled::Config::new()
                .path(dir)
                .cache_capacity(cache_bytes)
                .flush_every_ms(None);
            let database = config.open()?;
            let entries = (*database).clone();
            let small_keys = database.open_tree("meta")?;
            Ok(Trees {
                config,
                database,
                entries,
                small_keys,
            })
        });
        match opened {
            Err(EngineError::Failed(why)) if why.contains(LOCKED) && patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

/// Writes one key to a database in `scratch` and flushes it: the self-test watches what that calls.
pub(crate) fn flush_once(scratch: &Path) -> Result<(), EngineError> {
    let flush = || {
        let database = sled::Config::new()
            .path(scratch)
            .cache_capacity(1 << 20)
            .flush_every_ms(None)
            .open()?;
        database.insert(b"key", b"value")?;
        database.flush()
    };
    fenced(|| Ok(flush().map(drop)?))
}
