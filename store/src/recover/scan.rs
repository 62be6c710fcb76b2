//! Reads a generation through: its summary counted from the records, its newest blocks, and what is missing.

use crate::Sequence;
use crate::catalog::tail::TailBlock;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::engine::value_log::ValueLog;
use crate::format::block::{self, BlockHeader, BlockKind, header_of};
use crate::format::frame::frame_bytes;
use crate::format::large::read_large;
use crate::generation::summary::Summary;
use crate::generation::survivors::Survivors;
use crate::read::frames::body_of;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// What reading a generation through gives.
pub(crate) struct Scan {
    pub(crate) summary: Summary,
    pub(crate) last: Option<BlockHeader>,
    pub(crate) tail: VecDeque<TailBlock>,
    tail_bytes: usize,
    pub(crate) missing: Vec<(Sequence, Sequence)>,
    pub(crate) damaged: bool,
    /// Where the last frame ends that a record stands in.
    pub(crate) values_end: u64,
    /// Bytes of the frames that hold a large record.
    pub(crate) large_bytes: u64,
}

/// Reads a generation through, up to `end`, and keeps its last `tail_bytes`. Of one that was rewritten, `survivors` says what
/// is left out on purpose.
pub(crate) fn scan(
    engine: &Engine,
    first: Sequence,
    end: Sequence,
    tail_bytes: usize,
    survivors: Option<&Survivors>,
) -> Result<Scan, EngineError> {
    let mut scan = Scan {
        summary: Summary::empty(first),
        last: None,
        tail: VecDeque::new(),
        tail_bytes: 0,
        missing: Vec::new(),
        damaged: false,
        values_end: 0,
        large_bytes: 0,
    };
    let mut failed = Ok(());
    engine.blocks(first, |key, value| {
        scan.summary.payload_bytes += value.len() as u64;
        match header_of(key, value) {
            Some((at, Ok(header))) if at >= first && at < end => {
                failed = scan.take(engine.values(), header, value, survivors);
            }
            Some((_, Err(_))) => scan.damaged = true,
            _ => {}
        }
        while scan.tail_bytes > tail_bytes {
            let Some(block) = scan.tail.pop_front() else {
                break;
            };
            scan.tail_bytes -= block.body.len();
        }
        match failed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    failed?;
    if let Some(survivors) = survivors {
        scan.pass(survivors.end.min(end), Some(survivors));
    }
    if !scan.summary.is_empty() {
        scan.summary.forget_tags();
    }
    Ok(scan)
}

impl Scan {
    /// Everything below `first` should have come before.
    fn pass(&mut self, first: Sequence, survivors: Option<&Survivors>) {
        if first <= self.summary.end {
            return;
        }
        let gap = (self.summary.end, first - 1);
        let missing =
            survivors.map_or(vec![gap], |survivors| survivors.ranges.inside(gap.0, gap.1));
        self.damaged |= !missing.is_empty();
        self.missing.extend(missing);
        self.summary.skip_to(first);
    }

    fn take(
        &mut self,
        values: &ValueLog,
        header: BlockHeader,
        value: &[u8],
        survivors: Option<&Survivors>,
    ) -> Result<(), EngineError> {
        self.pass(header.place.first, survivors);
        // Readable or not, it is a part of its commit.
        self.last = Some(header);
        if let Some((offset, stored_bytes)) = header.packed_frame(value) {
            let bytes = frame_bytes(stored_bytes);
            self.values_end = self.values_end.max(offset + bytes);
            self.summary.payload_bytes += bytes;
        }
        let Some(body) = body_of(values, &header, value)? else {
            self.damaged = true;
            return Ok(());
        };
        for record in block::records(&header, &body).flatten() {
            let stored = body.get(record.start..record.end).unwrap_or_default();
            let mut bytes = stored.len() as u64;
            if header.kind.is_head() {
                let large = read_large(header.version, header.kind, stored);
                bytes = large.map_or(0, |(large, _)| large.bytes);
                if let Ok((large, _)) = large
                    && let Some(end) = large.frame_end()
                {
                    self.values_end = self.values_end.max(end);
                    self.summary.payload_bytes += frame_bytes(large.stored_bytes);
                    self.large_bytes += frame_bytes(large.stored_bytes);
                }
            }
            self.summary.count(record.time_ms, record.routes, bytes);
        }
        if matches!(header.kind, BlockKind::Packed | BlockKind::ValuePacked) {
            self.tail_bytes += body.len();
            self.tail.push_back(TailBlock {
                header,
                body: Bytes::from(body.into_owned()),
                large: None,
            });
        } else {
            // A large record is read from the disk; the tail begins behind it.
            self.tail.clear();
            self.tail_bytes = 0;
        }
        Ok(())
    }
}
