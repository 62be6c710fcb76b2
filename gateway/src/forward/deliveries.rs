//! From stored records to deliveries.

use std::sync::Arc;

use tidegate_rules::decision::Output;
use tidegate_rules::event::Event;
use tidegate_store::{ReadError, StoredRecord};

use super::lane::{Fate, Lane};
use super::log::LaneLog;
use super::reader::PendingRecord;
use super::retry_queue::Retry;
use super::window::{Accepted, InFlight};
use crate::event::dead_letter::Cause;
use crate::event::record::{self, Record};
use crate::time::clock::Now;
use crate::upstream::{Delivery, Token};

impl Lane {
    /// Makes ready what a record has for this lane in this class. A record that cannot be read
    /// becomes a dead letter as it is.
    pub(super) fn read(&mut self, class: u8, pending: PendingRecord, now: Now) {
        let PendingRecord { record, historical } = pending;
        let sequence = record.sequence;
        let first = Token {
            sequence,
            output: 0,
        };
        let Ok(decoded) = record::decode(&record.bytes) else {
            return self.unreadable(entry(class, first, historical, now), record);
        };
        for (output, routed) in (0u16..).zip(decoded.outputs) {
            if routed.lane == self.id && routed.output.priority as u8 == class {
                let token = Token { sequence, output };
                let entry = InFlight {
                    attempts: self.seen.get(&token).copied().unwrap_or(0),
                    ..entry(class, token, historical, now)
                };
                self.ready
                    .push_back(sized(entry, &decoded.event, routed.output));
            }
        }
        match self.ready.len() {
            0 => self.finish(class, first, Fate::Empty),
            1 => {}
            outputs => self.expect(class, sequence, outputs),
        }
    }

    /// A delivery whose pause is over, read again from the log. `None` when it is gone or is to
    /// become a dead letter.
    pub(super) fn read_again(
        &mut self,
        log: &impl LaneLog,
        class: u8,
        token: Token,
        retry: Retry,
        now: Now,
    ) -> Result<Option<(InFlight, Delivery)>, ReadError> {
        let stored = match log.record(class, token.sequence) {
            Ok(stored) => stored,
            Err(error) => {
                self.retry_queue.insert(class, token, retry);
                return Err(error);
            }
        };
        let Some(stored) = stored else {
            self.finish(class, token, Fate::Dead);
            return Ok(None);
        };
        let entry = InFlight {
            refusals: retry.refusals,
            attempts: retry.attempts,
            ..entry(class, token, retry.historical, now)
        };
        match delivery_of(&entry, &stored) {
            Some(delivery) => Ok(Some(delivery)),
            None => {
                self.unreadable(entry, stored);
                Ok(None)
            }
        }
    }

    fn unreadable(&mut self, entry: InFlight, stored: StoredRecord) {
        let reason = match record::decode(&stored.bytes) {
            Err(error) => error.to_string(),
            Ok(_) => "the record does not have this output".to_owned(),
        };
        self.give_up(entry, Cause::Unreadable, reason, Some(stored));
    }
}

/// The delivery that an entry stands for; `None` where the record cannot be read or does not have
/// it.
pub(super) fn delivery_of(entry: &InFlight, stored: &StoredRecord) -> Option<(InFlight, Delivery)> {
    let Record { event, outputs } = record::decode(&stored.bytes).ok()?;
    let routed = outputs.into_iter().nth(usize::from(entry.token.output))?;
    Some(sized(entry.clone(), &event, routed.output))
}

fn entry(class: u8, token: Token, historical: bool, now: Now) -> InFlight {
    InFlight {
        token,
        class,
        historical,
        size_bytes: 0,
        offered: now.instant,
        accepted: Accepted::just_now(now.instant),
        refusals: 0,
        attempts: 0,
    }
}

fn sized(entry: InFlight, event: &Arc<Event>, output: Output) -> (InFlight, Delivery) {
    let delivery = Delivery {
        token: entry.token,
        event: Arc::clone(event),
        output,
        historical: entry.historical,
        attempts: entry.attempts,
    };
    let size_bytes = delivery.size_bytes();
    (
        InFlight {
            size_bytes,
            ..entry
        },
        delivery,
    )
}
