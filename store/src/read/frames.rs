//! The frame of the value log that a block names.

use crate::Sequence;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::engine::value_log::{Placed, ValueLog};
use crate::format::block::{self, BlockHeader, BlockKind, header_of};
use crate::format::large::{self, FRAME_HEADER_BYTES, LargeRecord, Place};
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

/// A large record from the value log; `None` if it is not there as it was written.
pub(super) fn read_frame(
    values: &ValueLog,
    sequence: Sequence,
    offset: u64,
    large: &LargeRecord,
) -> Result<Option<Bytes>, EngineError> {
    let frame = values.read(offset, large::frame_bytes(large.stored_bytes))?;
    let stored = frame.and_then(|frame| large::unframed(sequence, frame));
    Ok(stored.and_then(|stored| large.record(stored)))
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
    let Some((_, frame)) = packed_frame(values, header, value)? else {
        return Ok(None);
    };
    let stored = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
    let unpacked = header.unpacked(stored).ok();
    Ok(unpacked.map(|body| Cow::Owned(body.into_owned())))
}

/// The frame of a block that has its records in the value log; `None` if it is not there as it was written.
fn packed_frame(
    values: &ValueLog,
    header: &BlockHeader,
    value: &[u8],
) -> Result<Option<Placed>, EngineError> {
    let Some((offset, bytes)) = header.packed_frame(value) else {
        return Ok(None);
    };
    let frame = values.read(offset, large::frame_bytes(bytes))?;
    let sound = |frame: &Bytes| large::unframed(header.place.first, frame.clone()).is_some();
    Ok(frame.filter(sound).map(|frame| (offset, frame)))
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
    match header.kind {
        BlockKind::ValueHead => {}
        BlockKind::ValuePacked => {
            let frame = packed_frame(engine.values(), header, value)?;
            return Ok(frame.map_or(Named::Missing, Named::Frame));
        }
        _ => return Ok(Named::Nothing),
    }
    let body = header.body(value).unwrap_or_default();
    let record = block::records(header, &body).next().and_then(Result::ok);
    let tail = record.and_then(|record| body.get(record.start..record.end));
    let large = tail.and_then(|tail| large::read_large(header.version, header.kind, tail).ok());
    let Some((large, _)) = large else {
        return Ok(Named::Missing);
    };
    let Place::Frame(offset) = large.place else {
        return Ok(Named::Nothing);
    };
    let bytes = large::frame_bytes(large.stored_bytes);
    let frame = engine.values().read(offset, bytes)?;
    let sound = |frame: &Bytes| large::unframed(header.place.first, frame.clone()).is_some();
    let frame = frame.filter(sound);
    Ok(frame.map_or(Named::Missing, |frame| Named::Frame((offset, frame))))
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
