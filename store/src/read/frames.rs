//! The frames of the value log that blocks name.

use crate::Sequence;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::engine::value_log::{Placed, ValueLog};
use crate::format::block::{self, BlockHeader, BlockKind, header_of};
use crate::format::frame::{FRAME_HEADER_BYTES, frame_bytes, unframed};
use crate::format::large::{self, LargeRecord, Place};
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

/// The frame of this sequence, whole; `None` if it is not there as it was written.
fn sound_frame(
    values: &ValueLog,
    sequence: Sequence,
    offset: u64,
    stored_bytes: u64,
) -> Result<Option<Bytes>, EngineError> {
    let frame = values.read(offset, frame_bytes(stored_bytes))?;
    Ok(frame.filter(|frame| unframed(sequence, frame.clone()).is_some()))
}

/// A large record from the value log; `None` if it is not there as it was written.
pub(super) fn read_frame(
    values: &ValueLog,
    sequence: Sequence,
    offset: u64,
    large: &LargeRecord,
) -> Result<Option<Bytes>, EngineError> {
    let frame = sound_frame(values, sequence, offset, large.stored_bytes)?;
    Ok(frame.and_then(|frame| large.record(frame.slice(FRAME_HEADER_BYTES..))))
}

/// The records of a block as they were before compression, wherever they are; `None` if they are not there as they were
/// written.
pub(crate) fn body_of<'a>(
    values: &ValueLog,
    header: &BlockHeader,
    value: &'a [u8],
) -> Result<Option<Cow<'a, [u8]>>, EngineError> {
    if header.kind != BlockKind::ValuePacked {
        return Ok(header.body(value).ok());
    }
    let Some((offset, bytes)) = header.packed_frame(value) else {
        return Ok(None);
    };
    let frame = sound_frame(values, header.place.first, offset, bytes)?;
    Ok(frame.and_then(|frame| {
        let unpacked = header.unpacked(&frame[FRAME_HEADER_BYTES..]).ok()?;
        Some(Cow::Owned(unpacked.into_owned()))
    }))
}

/// What a block names in the value log.
pub(super) enum Named {
    /// It names nothing there.
    Nothing,
    /// A frame that is not there as it was written.
    Missing,
    Frame(Placed),
}

/// The frame that a sound block names.
pub(super) fn named_by(
    engine: &Engine,
    header: &BlockHeader,
    value: &[u8],
) -> Result<Named, EngineError> {
    let place = match header.kind {
        BlockKind::ValueHead => large_frame(header, value),
        BlockKind::ValuePacked => header.packed_frame(value),
        _ => return Ok(Named::Nothing),
    };
    let Some((offset, bytes)) = place else {
        return Ok(Named::Missing);
    };
    let frame = sound_frame(engine.values(), header.place.first, offset, bytes)?;
    Ok(frame.map_or(Named::Missing, |frame| Named::Frame((offset, frame))))
}

/// Where a head says that its large record is in the value log: offset and bytes of the frame's contents.
fn large_frame(header: &BlockHeader, value: &[u8]) -> Option<(u64, u64)> {
    let body = header.body(value).ok()?;
    let record = block::records(header, &body).next()?.ok()?;
    let tail = body.get(record.start..record.end)?;
    let (large, _) = large::read_large(header.version, header.kind, tail).ok()?;
    match large.place {
        Place::Frame(offset) => Some((offset, large.stored_bytes)),
        Place::Parts(_) => None,
    }
}

/// True if every frame is there that the blocks of these records name.
pub(crate) fn are_whole(engine: &Engine, range: Range<Sequence>) -> Result<bool, EngineError> {
    let mut found = Ok(true);
    engine.blocks(range.start, |key, value| {
        if let Some((at, Ok(header))) = header_of(key, value)
            && range.contains(&at)
        {
            let named = named_by(engine, &header, value);
            found = named.map(|named| !matches!(named, Named::Missing));
        }
        match found {
            Ok(true) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    })?;
    found
}
