//! What the writer and the readers share, and where things lie in the directory.
//!
//! ```text
//! <dir>/format                     "tidegate-store 1"
//!       lock                       held by the process that has the store open; its pid
//!       high_water                 generation and sequence at the last rotation, outside sled
//!       ballast                    room in reserve
//!       generations/<id>-<first>/  one sled database each
//!       dead-letters/<n>/          a sled database
//!       holes                      ranges that went from the middle of the log, outside sled
//!       quarantine/                what could not be used
//! ```
//!
//! Locks are taken in this order: `write`, then `opening` or `confirming`, then `state`. `state` is never held across a disk access.

use crate::ballast::Ballast;
use crate::codec::Compressor;
use crate::dead_letter::DeadLetters;
use crate::engine::Engine;
use crate::state::State;
use crate::status::OpenReport;
use crate::{Options, Sequence, disk, wire};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The handle that commits go to.
pub(crate) struct WriteHalf {
    /// `None` after a failure, until a new generation could be opened.
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) generation: u64,
    /// The highest number that was given to a generation, begun or not; none is given twice.
    pub(crate) highest: u64,
    /// When cursors were last written.
    pub(crate) cursors_written: Instant,
    pub(crate) compressor: Compressor,
}

impl WriteHalf {
    pub(crate) fn new(
        engine: Option<Arc<Engine>>,
        generation: u64,
        compressor: Compressor,
    ) -> WriteHalf {
        WriteHalf {
            engine,
            generation,
            highest: generation,
            cursors_written: Instant::now(),
            compressor,
        }
    }

    /// Goes on in a new generation.
    pub(crate) fn go_on(&mut self, engine: Arc<Engine>, generation: u64) {
        self.engine = Some(engine);
        self.generation = generation;
        self.cursors_written = Instant::now();
    }
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) write: Mutex<WriteHalf>,
    pub(crate) opening: Mutex<()>,
    /// Directories of generations that could not be begun, nor removed.
    pub(crate) remains: Mutex<Vec<PathBuf>>,
    /// Held while something is confirmed, and while something is given up, until that is on the disk.
    pub(crate) confirming: Mutex<()>,
    state: Mutex<State>,
    pub(crate) dead: DeadLetters,
    pub(crate) ballast: Ballast,
    pub(crate) report: OpenReport,
    pub(crate) read_only: bool,
    pub(crate) device_bytes_at_open: Option<u64>,
    /// Last field: the directory is free for others when everything else is closed.
    _lock: DirLock,
}

/// The directory's lock. It is let go expressly: closing the file would leave it to a child process that is just being
/// started and has the descriptor until it executes its program.
struct DirLock(File);

impl Drop for DirLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Shared {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        options: Options,
        half: WriteHalf,
        state: State,
        dead: DeadLetters,
        ballast: Ballast,
        report: OpenReport,
        read_only: bool,
        lock: File,
    ) -> Shared {
        Shared {
            options,
            write: Mutex::new(half),
            opening: Mutex::new(()),
            remains: Mutex::new(Vec::new()),
            confirming: Mutex::new(()),
            state: Mutex::new(state),
            dead,
            ballast,
            report,
            read_only,
            device_bytes_at_open: disk::device_bytes_written(),
            _lock: DirLock(lock),
        }
    }

    /// The state; held for moments, never across a disk access.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Bytes that count against the cap.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.state().disk_bytes() + self.dead.disk_bytes()
    }
}

/// Locks; a thread that panicked while holding it left nothing half done that the next one could not go on with.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the generations are.
pub(crate) fn generations_dir(dir: &Path) -> PathBuf {
    dir.join("generations")
}

/// Where unusable generations go.
pub(crate) fn quarantine_dir(dir: &Path) -> PathBuf {
    dir.join("quarantine")
}

/// The mark kept outside sled: the newest complete generation and the sequence it began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HighWater {
    pub(crate) generation: u64,
    pub(crate) next: Sequence,
}

impl HighWater {
    pub(crate) fn save(self, dir: &Path) -> std::io::Result<()> {
        let bytes = [self.generation.to_le_bytes(), self.next.to_le_bytes()].concat();
        disk::write_atomically(&dir.join("high_water"), &wire::seal(bytes))
    }

    /// `None` if there is none that can be trusted.
    pub(crate) fn load(dir: &Path) -> Option<HighWater> {
        let bytes = std::fs::read(dir.join("high_water")).ok()?;
        let mut reader = wire::Reader::new(wire::unseal(&bytes)?);
        Some(HighWater {
            generation: reader.u64()?,
            next: reader.u64()?,
        })
    }
}
