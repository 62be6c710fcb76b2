//! Reads one class of a lane from the log, in order or with live events first.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tidegate_rules::decision::Priority;
use tidegate_store::{Cursor, LaneId, ReadError, ReadLimit, Sequence, Store};

use crate::record;
use crate::upstream::{Delivery, Token};

/// Bytes of records read ahead at once.
const READ_BYTES: usize = 256 * 1024;

/// One priority class of one lane.
pub(super) struct Reader {
    lane: LaneId,
    class: Priority,
    /// Parts of the log that live events have overtaken, oldest first.
    backlog: VecDeque<(Sequence, Sequence)>,
    live: Sequence,
    /// Acknowledged above the low-water mark before this process began.
    done: Vec<RangeInclusive<Sequence>>,
}

/// One record's deliveries to this lane and class.
pub(super) struct Found {
    pub(super) sequence: Sequence,
    pub(super) deliveries: Vec<Delivery>,
}

/// Which part to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Live,
    Backlog,
}

impl Reader {
    /// From the first unacknowledged record on; all of it as one stream.
    pub(super) fn new(lane: LaneId, class: Priority, cursor: Cursor) -> Reader {
        Reader {
            lane,
            class,
            backlog: VecDeque::new(),
            live: cursor.low,
            done: cursor.above,
        }
    }

    /// Makes everything up to `end` backlog: live events begin there.
    pub(super) fn split(&mut self, end: Sequence) {
        if self.live < end {
            self.backlog.push_back((self.live, end));
            self.live = end;
        }
    }

    /// Whether there is anything to read before `end`.
    pub(super) fn has(&self, part: Part, end: Sequence) -> bool {
        match part {
            Part::Live => self.live < end,
            Part::Backlog => !self.backlog.is_empty(),
        }
    }

    /// Reads up to `records` records.
    pub(super) fn read(
        &mut self,
        store: &Store,
        part: Part,
        records: usize,
    ) -> Result<Vec<Found>, ReadError> {
        let from = match part {
            Part::Live => self.live,
            Part::Backlog => match self.backlog.front() {
                Some((from, _)) => *from,
                None => return Ok(Vec::new()),
            },
        };
        let limit = ReadLimit {
            records,
            bytes: READ_BYTES,
        };
        let batch = store.read(self.lane, self.class as u8, from, limit)?;
        let end = self.backlog.front().map_or(Sequence::MAX, |(_, end)| *end);
        let until = if part == Part::Live {
            Sequence::MAX
        } else {
            end
        };
        let found = batch
            .records
            .iter()
            .filter(|stored| stored.sequence < until && !self.is_done(stored.sequence))
            .map(|stored| self.deliveries(stored.sequence, &stored.bytes, part))
            .collect();
        self.moved(part, batch.next, until);
        Ok(found)
    }

    fn moved(&mut self, part: Part, next: Sequence, until: Sequence) {
        match part {
            Part::Live => self.live = next,
            Part::Backlog if next >= until => {
                self.backlog.pop_front();
            }
            Part::Backlog => {
                if let Some((from, _)) = self.backlog.front_mut() {
                    *from = next;
                }
            }
        }
    }

    fn is_done(&self, sequence: Sequence) -> bool {
        self.done.iter().any(|done| done.contains(&sequence))
    }

    fn deliveries(&self, sequence: Sequence, bytes: &[u8], part: Part) -> Found {
        let record = match record::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(sequence, %error, "a stored record cannot be read; it is skipped and stays in the log");
                return Found {
                    sequence,
                    deliveries: Vec::new(),
                };
            }
        };
        let event = record.event;
        let own = |(_, output): &(usize, record::Routed)| {
            output.lane == self.lane && output.priority == self.class
        };
        let deliveries = record.outputs.into_iter().enumerate().filter(own);
        Found {
            sequence,
            deliveries: deliveries
                .map(|(number, output)| Delivery {
                    token: Token {
                        sequence,
                        output: number as u16,
                    },
                    event: Arc::clone(&event),
                    topic: output.topic,
                    key: output.key,
                    data: output.data,
                    priority: output.priority,
                    reason: output.reason,
                    rule: output.rule,
                    historical: part == Part::Backlog,
                    attempts: 0,
                })
                .collect(),
        }
    }
}
