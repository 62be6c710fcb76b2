//! Walks the records of a generation with everything that is known about them: bytes, time and routes.

use crate::Sequence;
use crate::api::batch::ReadLimit;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::format::block::{self, BlockHeader, header_of};
use crate::read::collector::Collector;
use crate::read::frames::body_of;
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

/// Visits those records in `range` that are `wanted` by their sequence and routes, in order. Gives what was to be
/// there and cannot be read; of large records only those are looked at that are wanted.
pub(crate) fn each_record(
    engine: &Engine,
    range: Range<Sequence>,
    wanted: impl Fn(Sequence, &[u8]) -> bool,
    visit: impl FnMut(Record<'_>),
) -> Result<Vec<(Sequence, Sequence)>, EngineError> {
    let mut walk = Walk {
        engine,
        wanted,
        visit,
        next: range.start,
        missing: Vec::new(),
    };
    let mut failed = Ok(());
    engine.blocks(range.start, |key, value| {
        match header_of(key, value) {
            Some((at, Ok(header))) if range.contains(&at) => {
                failed = walk.block(&header, value);
            }
            _ => {}
        }
        match failed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    failed?;
    walk.come_to(range.end);
    Ok(walk.missing)
}

/// The way through a generation.
struct Walk<'a, W, V> {
    engine: &'a Engine,
    wanted: W,
    visit: V,
    /// The sequence that should come next.
    next: Sequence,
    missing: Vec<(Sequence, Sequence)>,
}

impl<W: Fn(Sequence, &[u8]) -> bool, V: FnMut(Record<'_>)> Walk<'_, W, V> {
    /// Everything up to `sequence` should have come before.
    fn come_to(&mut self, sequence: Sequence) {
        if sequence > self.next {
            self.missing.push((self.next, sequence - 1));
        }
        self.next = self.next.max(sequence);
    }

    fn block(&mut self, header: &BlockHeader, value: &[u8]) -> Result<(), EngineError> {
        let Some(body) = body_of(self.engine.values(), header, value)? else {
            return Ok(());
        };
        for record in block::records(header, &body).flatten() {
            self.come_to(record.sequence);
            if (self.wanted)(record.sequence, record.routes) {
                let large = match header.kind.is_head() {
                    true => match whole(self.engine, record.sequence)? {
                        Some(bytes) => Some(bytes),
                        // It counts as missing.
                        None => return Ok(()),
                    },
                    false => None,
                };
                let stored = body.get(record.start..record.end).unwrap_or_default();
                (self.visit)(Record {
                    sequence: record.sequence,
                    time_ms: record.time_ms,
                    routes: record.routes,
                    bytes: large.as_deref().unwrap_or(stored),
                });
            }
            self.next = record.sequence + 1;
        }
        Ok(())
    }
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
