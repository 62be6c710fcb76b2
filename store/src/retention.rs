//! Room: when to refuse, what may be deleted, and how it is deleted.
//!
//! A generation goes as a whole when every lane is done with every record in it and either its newest record is older
//! than `keep_for` or the cap needs the room: the oldest first, but one that others still need does not keep those
//! behind it. If no generation is done, one of which little is still needed is rewritten (see `rewrite.rs`).

use crate::gap::WhenFull;
use crate::generation::{DEAD, Generation};
use crate::shared::{Shared, WriteHalf, locked, quarantine_dir};
use crate::state::State;
use crate::{CommitError, disk};
use std::path::{Path, PathBuf};

/// Room that a commit may take beyond its records: sled grows its file by half a MiB at a time, and a generation may
/// begin.
const SLACK_BYTES: u64 = 2 << 20;

impl Shared {
    /// Lets go of what has expired, and refuses a commit of `bytes` if there is no room for it.
    pub(crate) fn make_room(&self, half: &mut WriteHalf, bytes: u64) -> Result<(), CommitError> {
        self.delete_expired();
        loop {
            let Err(lacking) = self.check_room(bytes) else {
                return Ok(());
            };
            if !self.delete_one_done(half) && !self.rewrite_one(half) {
                return Err(lacking);
            }
        }
    }

    fn check_room(&self, bytes: u64) -> Result<(), CommitError> {
        self.check_free_space()?;
        let max_size_bytes = self.options.max_size_bytes;
        let slack_bytes = SLACK_BYTES.min(max_size_bytes / 8);
        // Where room is made by rewriting, there must be some to rewrite in.
        let reserve_bytes = match self.options.when_full {
            WhenFull::Refuse => 0,
            WhenFull::Shed => self.generation_bytes(),
        };
        let need_bytes = (2 * bytes)
            .saturating_add(slack_bytes)
            .saturating_add(reserve_bytes);
        let disk_bytes = self.disk_bytes();
        if disk_bytes.saturating_add(need_bytes) <= max_size_bytes {
            return Ok(());
        }
        Err(CommitError::Full {
            disk_bytes,
            max_size_bytes,
        })
    }

    /// Below the minimum of free disk nothing is accepted; nor while the ballast is gone, unless it can be made again.
    fn check_free_space(&self) -> Result<(), CommitError> {
        let free = disk::free_bytes(&self.options.dir).unwrap_or(0);
        if free < self.options.free_bytes_min {
            return Err(self.no_space());
        }
        if self.ballast.is_present() {
            return Ok(());
        }
        let enough = free >= self.options.free_bytes_min + self.ballast.bytes();
        if enough && self.ballast.make().is_ok() {
            Ok(())
        } else {
            Err(self.no_space())
        }
    }

    pub(crate) fn no_space(&self) -> CommitError {
        let free_bytes = disk::free_bytes(&self.options.dir).unwrap_or(0);
        CommitError::NoSpace {
            free_bytes,
            free_bytes_min: self.options.free_bytes_min,
        }
    }

    /// Gives up the ballast. True if that made room.
    pub(crate) fn release_ballast(&self) -> bool {
        let released = self.ballast.release();
        self.state().counters.ballast_released += u64::from(released);
        released
    }

    /// Deletes the generations that are done and older than `keep_for`.
    pub(crate) fn delete_expired(&self) {
        let keep_for_ms = self.options.keep_for_ms;
        while let Some(generation) =
            self.take_done(|state, found| is_expired(state, found, keep_for_ms))
        {
            if !self.delete(generation) {
                break;
            }
        }
    }

    /// Deletes the oldest generation that is done. If that is the one being written, a new one is begun first.
    fn delete_one_done(&self, half: &mut WriteHalf) -> bool {
        let only_last_done = {
            let state = self.state();
            let sealed_done = state.generations.iter().any(|g| g.sealed && g.is_done());
            let last = state.generations.back();
            !sealed_done && last.is_some_and(|last| last.is_done() && !last.summary.is_empty())
        };
        if only_last_done && self.rotate(half).is_err() {
            return false;
        }
        let oldest = self.take_done(|_, _| true);
        oldest.is_some_and(|generation| self.delete(generation))
    }

    /// Takes the oldest generation out of the state that is sealed, done, and `may_go`. If others remain before it, the
    /// gap it leaves is noted on disk first, so that no opening takes it for damage.
    fn take_done(&self, may_go: impl Fn(&State, &Generation) -> bool) -> Option<Generation> {
        let (id, holes) = {
            let mut state = self.state();
            let goes = |g: &&Generation| g.sealed && g.is_done() && may_go(&state, g);
            let found = state.generations.iter().find(goes)?;
            let (id, first, end) = (found.id, found.summary.first, found.summary.end);
            let mut holes = None;
            if state.first() < first && first < end {
                let begin = state.first();
                state.holes.forget_below(begin);
                state.holes.insert(first, end - 1);
                holes = Some(state.holes.clone());
            }
            (id, holes)
        };
        if let Some(holes) = holes {
            holes.save_holes(&self.options.dir).ok()?;
        }
        let mut state = self.state();
        let at = state.generations.iter().position(|found| found.id == id)?;
        let taken = state.generations.remove(at)?;
        state.tail.forget_below(taken.summary.end);
        Some(taken)
    }

    /// False if that failed: then the generation is as before.
    fn delete(&self, mut generation: Generation) -> bool {
        let _nobody_opens_it = locked(&self.opening);
        drop(generation.engine.take());
        let gone = if !self.remains_are_gone() {
            Err(std::io::Error::other("another one has to go first"))
        } else if generation.damaged {
            let id = generation.id;
            let behind = self
                .state()
                .generations
                .iter()
                .find(|g| g.id > id)
                .map(|g| g.summary.first);
            let last = behind.unwrap_or(generation.summary.end).saturating_sub(1);
            let to = quarantine_dir(&self.options.dir);
            let why = "some of its records could not be read";
            crate::quarantine::isolate(&generation.dir, &to, last, why)
                .map(|quarantined| self.state().quarantined.push(quarantined))
        } else {
            retire_dir(&generation.dir)
        };
        let stays = gone.is_err() && generation.dir.exists();
        let mut state = self.state();
        if stays {
            let id = generation.id;
            let at = state.generations.partition_point(|other| other.id < id);
            let (first, end) = (generation.summary.first, generation.summary.end);
            if first < end {
                state.holes.remove(first, end - 1);
            }
            state.generations.insert(at, generation);
            return false;
        }
        state.counters.deleted += 1;
        true
    }

    /// What is left of a generation that could not be begun would, with those before it gone, look like a gap in the log.
    fn remains_are_gone(&self) -> bool {
        let mut remains = locked(&self.remains);
        remains.retain(|dir| dir.exists() && retire_dir(dir).is_err() && dir.exists());
        remains.is_empty()
    }
}

fn is_expired(state: &State, oldest: &Generation, keep_for_ms: u64) -> bool {
    let age_ms = state
        .now_ms()
        .map(|now_ms| now_ms.saturating_sub(oldest.summary.time_max_ms));
    keep_for_ms == 0
        || oldest.summary.is_empty()
        || age_ms.is_some_and(|age_ms| age_ms >= keep_for_ms)
}

/// Deletes a directory so that a crash at any moment leaves it whole or as something that the next opening removes.
pub(crate) fn delete_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(retire(dir)?)
}

/// The same where only the name matters: what cannot be removed now is at the next opening.
pub(crate) fn retire_dir(dir: &Path) -> std::io::Result<()> {
    let dead = retire(dir)?;
    let _ = std::fs::remove_dir_all(dead);
    Ok(())
}

fn retire(dir: &Path) -> std::io::Result<PathBuf> {
    let mut dead = dir.as_os_str().to_owned();
    dead.push(DEAD);
    let dead = PathBuf::from(dead);
    disk::rename(dir, &dead)?;
    Ok(dead)
}
