//! Walks the records of a generation with everything that is known about them: bytes, time and routes.

use crate::Sequence;
use crate::api::batch::ReadLimit;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::format::block::{self, BlockHeader, header_of};
use crate::read::collector::Collector;
use crate::read::wanted::Wanted;
use bytes::Bytes;
use std::ops::{ControlFlow, Range};

/// One record of a generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) sequence: Sequence,
    pub(crate) time_ms: u64,
    pub(crate) routes: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

/// Visits those records in `range` that are `wanted` by their sequence and routes, in order. What cannot be read is
/// passed over: readers report it.
pub(crate) fn each_record(
    engine: &Engine,
    range: Range<Sequence>,
    wanted: impl Fn(Sequence, &[u8]) -> bool,
    mut visit: impl FnMut(Record<'_>),
) -> Result<(), EngineError> {
    let mut failed = Ok(());
    engine.blocks(range.start, |key, value| {
        match header_of(key, value) {
            Some((at, Ok(header))) if range.contains(&at) => {
                failed = visit_block(engine, &header, value, &wanted, &mut visit);
            }
            _ => {}
        }
        match failed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    failed
}

fn visit_block(
    engine: &Engine,
    header: &BlockHeader,
    value: &[u8],
    wanted: &impl Fn(Sequence, &[u8]) -> bool,
    visit: &mut impl FnMut(Record<'_>),
) -> Result<(), EngineError> {
    let Ok(body) = header.body(value) else {
        return Ok(());
    };
    for record in block::records(header, &body).flatten() {
        if !wanted(record.sequence, record.routes) {
            continue;
        }
        let large = match header.kind.is_head() {
            true => match whole(engine, record.sequence)? {
                Some(bytes) => Some(bytes),
                None => return Ok(()),
            },
            false => None,
        };
        let stored = body.get(record.start..record.end).unwrap_or_default();
        visit(Record {
            sequence: record.sequence,
            time_ms: record.time_ms,
            routes: record.routes,
            bytes: large.as_deref().unwrap_or(stored),
        });
    }
    Ok(())
}

/// A large record, from its parts or from the value log; `None` if it cannot be put together.
fn whole(engine: &Engine, sequence: Sequence) -> Result<Option<Bytes>, EngineError> {
    let limit = ReadLimit {
        records: 1,
        bytes: usize::MAX,
    };
    let mut collector = Collector::new(Wanted::All, sequence, sequence + 1, limit);
    collector.take_blocks(engine)?;
    let record = collector.batch.records.pop();
    Ok(record
        .filter(|record| record.sequence == sequence)
        .map(|record| record.bytes))
}
