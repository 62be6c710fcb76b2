//! Backup and restore: a copy of the store that is a store itself, made while events come and go.
//!
//! The copy is what the log was at one moment: every record below the next sequence, and the lanes, cursors and marks
//! of that moment. Blocks are read and checked one by one and written to new databases, so nothing of the original
//! changes and what is copied is never torn. What is delivered and deleted while the copy is made may be missing from
//! it; that is noted in the copy as let go on purpose. Until all of it is on the disk the `format` file says that the
//! copy is unfinished, and no release opens it.

use crate::engine::{Engine, EngineError, Writes};
use crate::error::BackupError;
use crate::generation::dir_name;
use crate::kept::{Kept, Ranges};
use crate::open::{FORMAT, UNFINISHED, inspect};
use crate::shared::{HighWater, Shared, generations_dir};
use crate::summary::Summary;
use crate::{Sequence, age, disk, layout, meta};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are copied at a time.
const STEP_BYTES: usize = 256 << 10;

/// What a backup or a restored store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Generations copied.
    pub generations: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of blocks copied.
    pub bytes: u64,
    /// Dead letters copied.
    pub dead_letters: u64,
    /// Blocks with wrong checksums: left out, and reported as missing when the copy is opened.
    pub damaged_blocks: u64,
    /// Generations that could not be read, or were delivered and deleted meanwhile.
    pub left_out: u64,
}

/// The log at one moment.
struct Moment {
    generations: Vec<Part>,
    /// The small keys that the copy's newest generation begins with.
    keys: Writes,
    newest: u64,
    next: Sequence,
    holes: Ranges,
}

/// One generation to copy.
struct Part {
    id: u64,
    summary: Summary,
    kept: Option<Arc<Kept>>,
    newest_ms: u64,
}

/// A generation opened, with its figures and what it holds.
type Opened = (Arc<Engine>, Summary, Option<Arc<Kept>>);

/// Makes a store in `to`, which must be absent or empty, from the backup in `from`. `progress` is told bytes done and
/// bytes in all.
pub fn restore(
    from: &Path,
    to: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<BackupReport, BackupError> {
    let backup = inspect(from).map_err(BackupError::Unusable)?;
    backup.backup(to, progress)
}

impl Shared {
    /// See [`crate::Store::backup`].
    pub(crate) fn backup(
        &self,
        to: &Path,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport, BackupError> {
        let io = |error: std::io::Error| BackupError::io(to, &error);
        self.begin_backup(to)?;
        // No letter comes or goes between the copy of the letters and the moment that the log is copied of: one that
        // was retried is in the log by then, and one that came later is still to be delivered in the copy.
        let letters = to.join("dead-letters");
        let (dead_letters, mut moment) = self
            .dead
            .copy_to(&letters, || self.moment())
            .map_err(|error| BackupError::Read(error.to_string()))?;
        let mut report = BackupReport {
            dead_letters,
            ..BackupReport::default()
        };
        let total: u64 = moment
            .generations
            .iter()
            .map(|part| part.summary.payload_bytes)
            .sum();
        let mut before = 0;
        for part in std::mem::take(&mut moment.generations) {
            let bytes = part.summary.payload_bytes;
            let copied = self.copy_part(&part, to, &mut report, |done| {
                progress(before + done.min(bytes), total);
            })?;
            if !copied && !part.summary.is_empty() {
                report.left_out += 1;
                let (first, last) = (part.summary.first, part.summary.end - 1);
                moment.holes.insert(first, last);
            }
            before += bytes;
        }
        self.finish_backup(to, moment).map_err(io)?;
        Ok(report)
    }

    fn begin_backup(&self, to: &Path) -> Result<(), BackupError> {
        let io = |error: std::io::Error| BackupError::io(to, &error);
        let own = std::fs::canonicalize(&self.options.dir).map_err(io)?;
        let to = &std::path::absolute(to).map_err(io)?;
        let above = to.ancestors().find_map(|dir| dir.canonicalize().ok());
        if above.is_some_and(|above| above.starts_with(own)) {
            return Err(BackupError::Inside(to.to_path_buf()));
        }
        disk::create_dir(to).map_err(io)?;
        if std::fs::read_dir(to).map_err(io)?.next().is_some() {
            return Err(BackupError::NotEmpty(to.to_path_buf()));
        }
        disk::write_atomically(&to.join("format"), UNFINISHED.as_bytes()).map_err(io)?;
        disk::create_dir(&generations_dir(to)).map_err(io)
    }

    fn moment(&self) -> Moment {
        let state = self.state();
        let now_ms = state.clock.now_ms();
        let part = |generation: &crate::generation::Generation| Part {
            id: generation.id,
            summary: generation.summary.clone(),
            kept: generation.kept.clone(),
            newest_ms: generation.newest_ms.min(now_ms),
        };
        let generations: Vec<_> = state.generations.iter().map(part).collect();
        Moment {
            newest: generations.last().map_or(0, |last| last.id) + 1,
            generations,
            keys: meta::all(&state),
            next: state.next,
            holes: state.holes.clone(),
        }
    }

    /// Copies one generation; `false` if it is not there any more.
    fn copy_part(
        &self,
        part: &Part,
        to: &Path,
        report: &mut BackupReport,
        progress: impl FnMut(u64),
    ) -> Result<bool, BackupError> {
        if part.summary.is_empty() {
            return Ok(false);
        }
        let Some((engine, summary, kept)) = self.part_as_it_is(part)? else {
            return Ok(false);
        };
        let name = engine.dir().file_name().unwrap_or_default();
        let dir = generations_dir(to).join(name);
        let io = |error: std::io::Error| BackupError::io(&dir, &error);
        let mut copy = Copy {
            from: &engine,
            to: Engine::open(&dir, self.options.cache_bytes)
                .map_err(|error| unwritten(&dir, &error))?,
            end: part.summary.end,
            bytes: 0,
            damaged: 0,
        };
        copy.run(progress)?;
        report.generations += 1;
        report.bytes += copy.bytes;
        report.damaged_blocks += copy.damaged;
        report.records += match &kept {
            Some(kept) => kept.ranges.count(),
            None => summary.end - summary.first,
        };
        drop(copy);
        summary.save(&dir).map_err(io)?;
        age::save(&dir, part.newest_ms).map_err(io)?;
        if let Some(kept) = kept {
            kept.save(&dir).map_err(io)?;
        }
        Ok(true)
    }

    /// The generation opened, with what belongs to the directory it was opened in: it may be rewritten at any time.
    fn part_as_it_is(&self, part: &Part) -> Result<Option<Opened>, BackupError> {
        loop {
            let opened = self.open_generation(part.id);
            let opened = opened.map_err(|error| BackupError::Read(error.to_string()))?;
            let Some(engine) = opened else {
                return Ok(None);
            };
            let mut state = self.state();
            let Some(now) = state.generation_mut(part.id) else {
                return Ok(None);
            };
            if now.dir != engine.dir() {
                continue;
            }
            let (summary, kept) = match &now.kept {
                Some(kept) => (now.summary.clone(), Some(kept.clone())),
                None => (part.summary.clone(), part.kept.clone()),
            };
            return Ok(Some((engine, summary, kept)));
        }
    }

    /// The generation that the copy goes on in, the mark outside sled, and last of all the word that it is complete.
    fn finish_backup(&self, to: &Path, moment: Moment) -> std::io::Result<()> {
        let dir: PathBuf = generations_dir(to).join(dir_name(moment.newest, moment.next));
        let failed = |error: EngineError| std::io::Error::other(error.to_string());
        let engine = Engine::open(&dir, self.options.cache_bytes).map_err(failed)?;
        engine.write(moment.keys).map_err(failed)?;
        drop(engine);
        disk::sync_dir(&generations_dir(to))?;
        moment.holes.save_holes(to)?;
        let mark = HighWater {
            generation: moment.newest,
            next: moment.next,
        };
        mark.save(to)?;
        disk::sync_dir(to)?;
        disk::write_atomically(&to.join("format"), FORMAT.as_bytes())
    }
}

/// The copy of one generation while it is made.
struct Copy<'a> {
    from: &'a Engine,
    to: Engine,
    /// Sequences from here on came after the moment.
    end: Sequence,
    bytes: u64,
    damaged: u64,
}

impl Copy<'_> {
    fn run(&mut self, mut progress: impl FnMut(u64)) -> Result<(), BackupError> {
        let mut next = Vec::new();
        while let Some(last) = self.step(&next)? {
            progress(self.bytes);
            next = [last.as_slice(), &[0]].concat();
        }
        let mut writes = Writes::default();
        self.from
            .meta(|key, value| writes.put_meta(key, value))
            .map_err(|error| BackupError::Read(error.to_string()))?;
        self.write(writes)
    }

    fn write(&self, writes: Writes) -> Result<(), BackupError> {
        let written = self.to.write(writes);
        written.map_err(|error| unwritten(self.to.dir(), &error))
    }

    /// Copies some blocks; the last key, or `None` at the end.
    fn step(&mut self, from: &[u8]) -> Result<Option<Vec<u8>>, BackupError> {
        let mut writes = Writes::default();
        let (mut step_bytes, mut last) = (0, None);
        let (end, damaged) = (self.end, &mut self.damaged);
        let read = self.from.entries(from, |key, value| {
            let place = place(key);
            if place.is_some_and(|(sequence, _)| sequence >= end) || step_bytes >= STEP_BYTES {
                return ControlFlow::Break(());
            }
            last = Some(key.to_vec());
            step_bytes += value.len();
            match place.is_some_and(|(sequence, part)| is_sound(sequence, part, value)) {
                true => writes.put_event(key, value),
                false => *damaged += 1,
            }
            ControlFlow::Continue(())
        });
        read.map_err(|error| BackupError::Read(error.to_string()))?;
        self.bytes += step_bytes as u64;
        if last.is_some() {
            self.write(writes)?;
        }
        Ok(last)
    }
}

fn unwritten(dir: &Path, error: &EngineError) -> BackupError {
    BackupError::Write {
        dir: dir.to_path_buf(),
        why: error.to_string(),
    }
}

/// The sequence in a key, and the part's number for a part of a large record.
fn place(key: &[u8]) -> Option<(Sequence, Option<u32>)> {
    let (sequence, part) = key.split_first_chunk::<8>()?;
    let part = match part {
        [] => None,
        part => Some(u32::from_be_bytes(part.try_into().ok()?)),
    };
    Some((Sequence::from_be_bytes(*sequence), part))
}

fn is_sound(sequence: Sequence, part: Option<u32>, value: &[u8]) -> bool {
    match part {
        None => layout::read_header(sequence, value).is_ok(),
        Some(part) => layout::read_part(sequence, part, value).is_ok(),
    }
}
