//! The copy of one generation for a backup: each block, and each frame of the value log that a block names, is read, checked
//! and written to a new database.

use super::frames::{Named, named_by};
use crate::Sequence;
use crate::api::error::BackupError;
use crate::engine::failure::EngineError;
use crate::engine::sled::{Engine, Writes};
use crate::engine::value_log::Placed;
use crate::format::block;
use crate::generation::beginnings::Beginnings;
use crate::generation::summary::Summary;
use std::ops::ControlFlow;
use std::path::Path;

/// What is copied of one entry.
enum Copied {
    /// Nothing: its checksum is wrong, or that of its frame.
    Nothing,
    Entry,
    WithFrame(Placed),
}

/// Bytes that are copied at a time.
const STEP_BYTES: usize = 256 << 10;

/// The copy of one generation while it is made.
pub(crate) struct GenerationCopy<'a> {
    from: &'a Engine,
    to: Engine,
    /// Sequences from here on came after the moment that is copied.
    end: Sequence,
    /// Bytes of blocks copied.
    pub(crate) bytes: u64,
    /// Blocks left out because their checksums are wrong.
    pub(crate) damaged: u64,
}

impl GenerationCopy<'_> {
    /// To a new database in `to`.
    pub(crate) fn begin<'a>(
        from: &'a Engine,
        to: &Path,
        cache_bytes: u64,
        end: Sequence,
    ) -> Result<GenerationCopy<'a>, BackupError> {
        let engine = Engine::open(to, cache_bytes).map_err(|error| unwritten(to, &error))?;
        Ok(GenerationCopy {
            from,
            to: engine,
            end,
            bytes: 0,
            damaged: 0,
        })
    }

    /// Copies all of it; `progress` is told the bytes done.
    pub(crate) fn run(&mut self, mut progress: impl FnMut(u64)) -> Result<(), BackupError> {
        let mut next = Vec::new();
        while let Some(last) = self.step(&next)? {
            progress(self.bytes);
            next = [last.as_slice(), &[0]].concat();
        }
        let mut writes = Writes::default();
        self.from
            .small_keys(|key, value| writes.put_small_key(key, value))
            .map_err(|error| BackupError::Read(error.to_string()))?;
        self.write(writes)
    }

    /// What the copy holds is known now.
    pub(crate) fn keep_beginnings(&self, summary: &Summary) {
        Beginnings::save(&self.to, summary);
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
        let mut failed = Ok(());
        let engine = self.from;
        let read = engine.entries(from, |key, value| {
            let place = place(key);
            if place.is_some_and(|(sequence, _)| sequence >= end) || step_bytes >= STEP_BYTES {
                return ControlFlow::Break(());
            }
            last = Some(key.to_vec());
            step_bytes += value.len();
            let copied = place.map_or(Ok(Copied::Nothing), |(sequence, part)| {
                copied(engine, sequence, part, value)
            });
            match copied {
                Ok(Copied::Nothing) => *damaged += 1,
                Ok(Copied::Entry) => writes.put_entry(key, value),
                Ok(Copied::WithFrame((offset, frame))) => {
                    step_bytes += frame.len();
                    writes.put_frame_at(offset, frame);
                    writes.put_entry(key, value);
                }
                Err(error) => {
                    failed = Err(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        read.and(failed)
            .map_err(|error| BackupError::Read(error.to_string()))?;
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

fn copied(
    from: &Engine,
    sequence: Sequence,
    part: Option<u32>,
    value: &[u8],
) -> Result<Copied, EngineError> {
    if let Some(part) = part {
        return Ok(match block::read_part(sequence, part, value) {
            Ok(_) => Copied::Entry,
            Err(_) => Copied::Nothing,
        });
    }
    let Ok(header) = block::read_header(sequence, value) else {
        return Ok(Copied::Nothing);
    };
    Ok(match named_by(from, &header, value)? {
        Named::Nothing => Copied::Entry,
        Named::Missing => Copied::Nothing,
        Named::Frame(placed) => Copied::WithFrame(placed),
    })
}
