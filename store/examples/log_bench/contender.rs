//! What is compared: a plain append-only file, the same handed to other threads, the store with and without compression.

use crate::load::reading;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tidegate_store::{Append, Commit, LaneId, Options, Route, Store, Writer, open};

/// Whatever went wrong ends the benchmark.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Makes groups of readings durable.
pub(crate) trait Contender {
    /// Appends readings `first..first + count` and returns when they are on the disk.
    fn append(&mut self, first: u64, count: u64) -> Outcome<()>;
}

/// A name and how to begin in a fresh directory.
pub(crate) type Entry = (&'static str, fn(&Path) -> Outcome<Box<dyn Contender>>);

/// What is always built, the baseline first.
pub(crate) fn own() -> Vec<Entry> {
    vec![
        ("plain file", |dir| Ok(Box::new(Plain::new(dir)?))),
        ("handed over", |dir| Ok(Box::new(HandedOver::new(dir)?))),
        ("store", |dir| Ok(Box::new(Log::new(dir, true)?))),
        ("store, no lz4", |dir| Ok(Box::new(Log::new(dir, false)?))),
    ]
}

/// One file, one write and one fdatasync per group.
struct Plain(File);

impl Plain {
    fn new(dir: &Path) -> Outcome<Plain> {
        fs::create_dir_all(dir)?;
        Ok(Plain(File::create(dir.join("plain"))?))
    }
}

impl Contender for Plain {
    fn append(&mut self, first: u64, count: u64) -> Outcome<()> {
        let bytes: Vec<u8> = (first..first + count).flat_map(reading).collect();
        self.0.write_all(&bytes)?;
        Ok(self.0.sync_data()?)
    }
}

/// The plain file, but each group is written and synced as sled does it: by one of seven threads that wait together,
/// are all woken, and then wake who waits for the group. What lies between this and the plain file no use of sled saves.
struct HandedOver {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    file: File,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    group: Option<Vec<u8>>,
    result: Option<std::io::Result<()>>,
    closed: bool,
}

impl HandedOver {
    fn new(dir: &Path) -> Outcome<HandedOver> {
        fs::create_dir_all(dir)?;
        let shared = Arc::new(Shared {
            file: File::create(dir.join("plain"))?,
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let threads = (0..7).map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.serve())
        });
        Ok(HandedOver {
            threads: threads.collect(),
            shared,
        })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.state();
        while !state.closed {
            let Some(group) = state.group.take() else {
                let woken = self.work.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let mut file = &self.file;
            let result = file.write_all(&group).and_then(|()| file.sync_data());
            state = self.state();
            state.result = Some(result);
            self.done.notify_all();
        }
    }
}

impl Contender for HandedOver {
    fn append(&mut self, first: u64, count: u64) -> Outcome<()> {
        let group = (first..first + count).flat_map(reading).collect();
        let mut state = self.shared.state();
        state.group = Some(group);
        self.shared.work.notify_all();
        loop {
            if let Some(result) = state.result.take() {
                return Ok(result?);
            }
            let woken = self.shared.done.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The store in its steady state: what is appended is confirmed, and old generations go.
pub(crate) struct Log {
    /// The writing end.
    pub(crate) writer: Writer,
    /// The reading end.
    pub(crate) store: Store,
    /// Where everything is routed.
    pub(crate) lane: LaneId,
    commit: Commit,
}

impl Log {
    /// A store in `dir` that keeps nothing it need not.
    pub(crate) fn new(dir: &Path, compress: bool) -> Outcome<Log> {
        let (writer, store) = open(Options {
            keep_for_ms: 0,
            max_size_bytes: 16 << 30,
            compress,
            ..Options::new(dir)
        })?;
        let lane = store.lane("cloud")?;
        Ok(Log {
            writer,
            store,
            lane,
            commit: Commit::new(),
        })
    }

    /// Appends without confirming.
    pub(crate) fn fill(
        &mut self,
        first: u64,
        count: u64,
    ) -> Outcome<std::ops::RangeInclusive<u64>> {
        self.commit.clear();
        let routes = [Route {
            lane: self.lane,
            class: 1,
        }];
        for number in first..first + count {
            self.commit.push(Append {
                routes: &routes,
                time_ms: 1_764_000_000_000 + number,
                bytes: &reading(number),
            });
        }
        let committed = self.writer.commit(&self.commit)?;
        Ok(committed.first..=committed.last)
    }
}

impl Contender for Log {
    fn append(&mut self, first: u64, count: u64) -> Outcome<()> {
        let done: Vec<u64> = self.fill(first, count)?.collect();
        self.store.confirm(self.lane, 1, &done);
        Ok(())
    }
}
