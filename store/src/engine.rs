//! One sled database with the two trees of a generation, fenced: sled's panics become errors, and its three ways to
//! fail (no room, damaged, broken) are told apart. The only file beside the self-test and the dead letters that names sled.

use crate::disk;
use crate::watch::watched;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What sled says when another process, or one of its own threads, has the database open.
const LOCKED: &str = "could not acquire lock";
/// A file or directory beside the database after a failure.
const FAILED: &str = "failed";
/// Bytes of one read when a database is read through.
const READ_BYTES: usize = 256 << 10;

/// What went wrong inside sled. After any of them but `Damaged` from a read, the handle must not be used for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    /// The disk or the quota is full.
    NoSpace(String),
    /// The files are not what sled wrote.
    Damaged(String),
    /// Any other failure of the disk.
    Failed(String),
}

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EngineError::NoSpace(what) => write!(f, "no space left: {what}"),
            EngineError::Damaged(what) => write!(f, "damaged: {what}"),
            EngineError::Failed(what) => write!(f, "{what}"),
        }
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> EngineError {
        if disk::is_no_space(&error) {
            EngineError::NoSpace(error.to_string())
        } else {
            EngineError::Failed(error.to_string())
        }
    }
}

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

/// Runs `work` and turns a panic inside sled into an error.
pub(crate) fn fenced<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(panicked(text))
    })
}

/// sled unwraps some I/O errors: those say so in the panic's text, all others speak of the files' content.
fn panicked(text: &str) -> EngineError {
    let why = format!("sled panicked: {text}");
    if ["StorageFull", "QuotaExceeded", "No space left"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        EngineError::NoSpace(why)
    } else if text.contains("Os {") {
        EngineError::Failed(why)
    } else {
        EngineError::Damaged(why)
    }
}

/// A list of writes that become durable together.
#[derive(Default)]
pub(crate) struct Writes {
    /// Blocks that need no more than their order: after a crash there are all, or the first of them. A batch costs sled
    /// a record more, which it writes and syncs by itself.
    pub(crate) blocks: Vec<(sled::IVec, sled::IVec)>,
    /// After a crash there are all or none.
    events: sled::Batch,
    has_events: bool,
    /// The same for the small keys.
    meta: sled::Batch,
    /// False while `meta` is empty: then that tree is not touched at all.
    pub(crate) has_meta: bool,
}

impl Writes {
    pub(crate) fn put_event(&mut self, key: &[u8], value: &[u8]) {
        self.events.insert(key, value);
        self.has_events = true;
    }

    pub(crate) fn remove_event(&mut self, key: &[u8]) {
        self.events.remove(key);
        self.has_events = true;
    }

    pub(crate) fn put_block(&mut self, key: &[u8], value: &[u8]) {
        self.blocks.push((key.into(), value.into()));
    }

    pub(crate) fn put_meta(&mut self, key: &[u8], value: &[u8]) {
        self.meta.insert(key, value);
        self.has_meta = true;
    }

    pub(crate) fn remove_meta(&mut self, key: &[u8]) {
        self.meta.remove(key);
        self.has_meta = true;
    }
}

struct Trees {
    config: sled::Config,
    database: sled::Db,
    events: sled::Tree,
    meta: sled::Tree,
}

/// An open database. Closing it (drop) flushes it.
pub(crate) struct Engine {
    trees: Option<Trees>,
    dir: PathBuf,
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
        fenced(|| watched(&trees.config, &trees.database, || call(trees)))
    }

    /// Applies the writes, events first, and returns when they are on the disk.
    pub(crate) fn write(&self, writes: Writes) -> Result<(), EngineError> {
        let written = self.call(|trees| {
            for (key, value) in writes.blocks {
                trees.events.insert(key, value)?;
            }
            if writes.has_events {
                trees.events.apply_batch(writes.events)?;
            }
            if writes.has_meta {
                trees.meta.apply_batch(writes.meta)?;
            }
            trees.database.flush()?;
            Ok(())
        });
        if written.is_err() {
            note_failure(&self.dir);
        }
        written
    }

    /// Visits blocks in order, from the one holding `from`, with their parts.
    pub(crate) fn blocks(
        &self,
        from: u64,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let start = self.call(|trees| block_start(&trees.events, from))?;
        self.entries(&start.to_be_bytes(), visit)
    }

    /// Visits the event tree from a key on, in order.
    pub(crate) fn entries(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.call(|trees| {
            for entry in trees.events.range(from..) {
                let (key, value) = entry?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Visits the small durable keys.
    pub(crate) fn meta(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), EngineError> {
        self.call(|trees| {
            for entry in trees.meta.iter() {
                let (key, value) = entry?;
                visit(&key, &value);
            }
            Ok(())
        })
    }

    /// Takes everything from the block of sequence `from` on out of the event tree.
    pub(crate) fn cut_from(&self, from: u64) -> Result<(), EngineError> {
        let mut writes = Writes::default();
        self.call(|trees| {
            for key in trees.events.range(from.to_be_bytes()..).keys() {
                writes.remove_event(&key?);
            }
            Ok(())
        })?;
        self.write(writes)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // sled flushes when it is dropped; then nobody could wake it.
        let flushed = self.call(|trees| Ok(trees.database.flush()?));
        let trees = self.trees.take();
        let closed = catch_unwind(AssertUnwindSafe(|| drop(trees)));
        if flushed.is_err() || closed.is_err() {
            note_failure(&self.dir);
        }
    }
}

fn open_engine(dir: &Path, cache_bytes: u64) -> Result<Engine, EngineError> {
    let created = !dir.exists();
    disk::create_dir(dir)?;
    remove_torn_snapshots(dir)?;
    read_through(dir)?;
    let opened = match open_trees(dir, cache_bytes) {
        Err(EngineError::Damaged(_)) => {
            set_snapshots_aside(dir)?;
            open_trees(dir, cache_bytes)
        }
        other => other,
    };
    let engine = Engine {
        trees: Some(opened?),
        dir: dir.to_path_buf(),
    };
    if created {
        engine.sync_names()?;
    }
    Ok(engine)
}

/// The database's file may hold what never reached the disk, and a later sync would not tell. The note keeps a later
/// process from writing to it too; it is not synced, for after a power cut only what is on the disk is left.
fn note_failure(dir: &Path) {
    if dir.exists() {
        let note = dir.join(FAILED);
        // On a failing disk one way may be open where the other is not.
        let _ = fs::File::create(&note)
            .map(drop)
            .or_else(|_| fs::create_dir(&note));
    }
}

/// True if writing to the database in `dir` failed once, or opening it: it may be read, and nothing more be written to it.
pub(crate) fn has_failed(dir: &Path) -> bool {
    dir.join(FAILED).exists()
}

/// The key of the block that may hold `from`: the last block that starts at or before it.
fn block_start(events: &sled::Tree, from: u64) -> Result<u64, EngineError> {
    let Some(entry) = events.range(..=from.to_be_bytes()).next_back() else {
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
            let events = (*database).clone();
            let meta = database.open_tree("meta")?;
            Ok(Trees {
                config,
                database,
                events,
                meta,
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

/// sled takes a read error while it opens for the end of its log, and overwrites what comes behind. So all files are
/// read once before: an error ends the opening with nothing changed, and sled then reads from the page cache.
fn read_through(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let mut file = io::BufReader::with_capacity(READ_BYTES, fs::File::open(entry.path())?);
            io::copy(&mut file, &mut io::sink())?;
        }
    }
    Ok(())
}

/// sled picks the snapshot whose name sorts last, even one that it had not finished writing.
fn remove_torn_snapshots(dir: &Path) -> io::Result<()> {
    for path in snapshots(dir)?.filter(|path| path.extension().is_some_and(|e| e == "generating")) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Removes the snapshots of a database that is not open; they are made anew when it is opened.
pub(crate) fn remove_snapshots(dir: &Path) -> bool {
    let found = snapshots(dir).into_iter().flatten();
    found.filter(|path| fs::remove_file(path).is_ok()).count() > 0
}

/// Without a snapshot sled replays its whole log. The configuration file is rewritten too: it is always the default.
fn set_snapshots_aside(dir: &Path) -> io::Result<()> {
    let aside = dir.join("aside");
    fs::create_dir_all(&aside)?;
    for path in snapshots(dir)?.chain([dir.join("conf")]) {
        if let Some(name) = path.file_name().filter(|_| path.exists()) {
            fs::rename(&path, aside.join(name))?;
        }
    }
    disk::sync_dir(dir)
}

fn snapshots(dir: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    let is_snapshot = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("snap."))
    };
    Ok(fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .filter(is_snapshot))
}

/// True if sled put pages into files that it never syncs; the block size is chosen so that it does not.
pub(crate) fn has_blobs(dir: &Path) -> bool {
    fs::read_dir(dir.join("blobs")).is_ok_and(|mut entries| entries.next().is_some())
}
