//! Walks the records of a generation with everything that is known about them: bytes, time and routes.

use crate::Sequence;
use crate::api::batch::ReadLimit;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::format::block::{self, BlockHeader, BlockKind, header_of};
use crate::read::collector::Collector;
use crate::read::wanted::Wanted;
use std::ops::ControlFlow;

/// One record of a generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) sequence: Sequence,
    pub(crate) time_ms: u64,
    pub(crate) routes: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

/// Visits the records in `first..end` in order. What cannot be read is passed over: readers report it.
pub(crate) fn each_record(
    engine: &Engine,
    first: Sequence,
    end: Sequence,
    mut visit: impl FnMut(Record<'_>),
) -> Result<(), EngineError> {
    engine.blocks(first, |key, value| {
        match header_of(key, value) {
            Some((at, Ok(header))) if at >= first && at < end => {
                visit_block(engine, &header, value, &mut visit);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })
}

fn visit_block(
    engine: &Engine,
    header: &BlockHeader,
    value: &[u8],
    visit: &mut impl FnMut(Record<'_>),
) {
    let Ok(body) = header.body(value) else {
        return;
    };
    for record in block::records(header, &body).flatten() {
        let large = match header.kind {
            BlockKind::LargeHead => match whole(engine, record.sequence) {
                Some(bytes) => Some(bytes),
                None => return,
            },
            _ => None,
        };
        let stored = body.get(record.start..record.end).unwrap_or_default();
        visit(Record {
            sequence: record.sequence,
            time_ms: record.time_ms,
            routes: record.routes,
            bytes: large.as_deref().unwrap_or(stored),
        });
    }
}

/// A large record put together from its parts.
fn whole(engine: &Engine, sequence: Sequence) -> Option<bytes::Bytes> {
    let limit = ReadLimit {
        records: 1,
        bytes: usize::MAX,
    };
    let mut collector = Collector::new(Wanted::All, sequence, sequence + 1, limit);
    let read = engine.blocks(sequence, |key, value| collector.take_entry(key, value));
    read.ok()?;
    let record = collector.batch.records.pop()?;
    (record.sequence == sequence).then_some(record.bytes)
}
