//! From stored records to deliveries, and to dead letters.

use std::sync::Arc;
use std::time::Instant;

use tidegate_rules::decision::Output;
use tidegate_rules::event::Event;
use tidegate_store::{ReadError, ReadLimit, Sequence, StoredRecord};

use super::lane::{Fate, Finished, Lane, Now, Open};
use super::log::Log;
use super::reader::Found;
use super::waiting::Wait;
use super::window::InFlight;
use crate::event::dead_letter::{Cause, DeadLetter};
use crate::event::record::{self, Record};
use crate::observe::forward::DeadLettered;
use crate::upstream::{Delivery, Token};

/// Exactly one record.
const ONE: ReadLimit = ReadLimit {
    records: 1,
    bytes: 1,
};

impl<L: Log> Lane<L> {
    /// Makes ready what a record has for this lane in this class. A record that cannot be read
    /// becomes a dead letter as it is.
    pub(super) fn unpack(&mut self, class: u8, found: &Found, now: Now) {
        let sequence = found.record.sequence;
        let Ok(record) = record::decode(&found.record.bytes) else {
            let entry = entry(
                class,
                Token {
                    sequence,
                    output: 0,
                },
                found.historical,
                now,
            );
            return self.bury_unreadable(&entry, &found.record, now);
        };
        for (output, routed) in (0u16..).zip(record.outputs) {
            if routed.lane == self.id && routed.output.priority as u8 == class {
                let token = Token { sequence, output };
                let attempts = self.seen.get(&token).copied().unwrap_or(0);
                let entry = InFlight {
                    attempts,
                    ..entry(class, token, found.historical, now)
                };
                self.ready
                    .push_back(sized(entry, &record.event, routed.output));
            }
        }
        match self.ready.len() {
            0 => drop(self.log.confirm(class, &[sequence])),
            1 => {}
            outputs => {
                self.open.insert((class, sequence), Open::of(outputs));
            }
        }
    }

    /// A delivery whose pause is over, read again from the log. `None` when it is gone or has
    /// become a dead letter.
    pub(super) fn again(
        &mut self,
        class: u8,
        token: Token,
        wait: Wait,
        now: Now,
    ) -> Result<Option<(InFlight, Delivery)>, ReadError> {
        let stored = match self.stored(class, token.sequence) {
            Ok(stored) => stored,
            Err(error) => {
                self.waiting.insert(class, token, wait);
                return Err(error);
            }
        };
        let entry = InFlight {
            refusals: wait.refusals,
            attempts: wait.attempts,
            ..entry(class, token, wait.historical, now)
        };
        let Some(stored) = stored else {
            let mut finished = Finished::default();
            self.finish(&mut finished, class, token, Fate::Dead);
            self.confirm(&finished);
            return Ok(None);
        };
        let decoded = record::decode(&stored.bytes).ok();
        let Some((event, output)) = decoded.and_then(|record| output_of(record, token)) else {
            self.bury_unreadable(&entry, &stored, now);
            return Ok(None);
        };
        Ok(Some(sized(entry, &event, output)))
    }

    /// Reads one record; `None` when it was shed or is no longer there, which the store reports.
    fn stored(&self, class: u8, sequence: Sequence) -> Result<Option<StoredRecord>, ReadError> {
        // What was shed is not sent any more, though it may still be there.
        if self.log.is_done(class, sequence) {
            return Ok(None);
        }
        let batch = self.log.read(class, sequence, ONE)?;
        Ok(batch
            .records
            .into_iter()
            .find(|record| record.sequence == sequence))
    }

    /// Keeps a delivery as a dead letter. `false`: it could not be kept, so it must not be
    /// confirmed; it is offered again and, refused again, comes back here.
    pub(super) fn bury(
        &mut self,
        entry: &InFlight,
        cause: Cause,
        reason: String,
        now: Now,
    ) -> bool {
        match self.stored(entry.class, entry.token.sequence) {
            Ok(Some(stored)) => self.keep(entry, cause, reason, &stored, now),
            Ok(None) => true,
            Err(error) => {
                self.metrics.failed(error.to_string());
                false
            }
        }
    }

    fn bury_unreadable(&mut self, entry: &InFlight, stored: &StoredRecord, now: Now) {
        let reason = match record::decode(&stored.bytes) {
            Err(error) => error.to_string(),
            Ok(_) => "the record does not have this output".to_owned(),
        };
        if self.keep(entry, Cause::Unreadable, reason, stored, now) {
            let mut finished = Finished::default();
            self.finish(&mut finished, entry.class, entry.token, Fate::Dead);
            self.confirm(&finished);
        } else {
            let wait = Wait {
                due: now.instant + self.settings.retry_max,
                refusals: entry.refusals,
                attempts: entry.attempts,
                historical: entry.historical,
            };
            self.waiting.insert(entry.class, entry.token, wait);
        }
    }

    fn keep(
        &mut self,
        entry: &InFlight,
        cause: Cause,
        reason: String,
        stored: &StoredRecord,
        now: Now,
    ) -> bool {
        let decoded = record::decode(&stored.bytes).ok();
        let event_id = match &decoded {
            Some(record) => record.event.id.to_string(),
            None => String::new(),
        };
        let letter = match decoded.and_then(|record| output_of(record, entry.token)) {
            Some((event, output)) => {
                let (_, delivery) = sized(entry.clone(), &event, output);
                DeadLetter::of(&delivery, &self.name, cause, reason, now.unix_ms)
            }
            None => DeadLetter {
                upstream: self.name.clone(),
                cause,
                reason,
                rule: None,
                attempts: entry.attempts,
                time_ms: now.unix_ms,
                record: stored.bytes.to_vec(),
            },
        };
        let id = (entry.token.sequence, entry.token.output);
        if let Err(error) = self.log.put_dead_letter(id, &letter.encode()) {
            self.metrics.failed(error.to_string());
            return false;
        }
        self.happened.push(DeadLettered {
            upstream: letter.upstream,
            sequence: entry.token.sequence,
            output: entry.token.output,
            event_id,
            reason: letter.reason,
            attempts: letter.attempts,
        });
        true
    }
}

fn entry(class: u8, token: Token, historical: bool, now: Now) -> InFlight {
    let offered: Instant = now.instant;
    InFlight {
        token,
        class,
        historical,
        size_bytes: 0,
        offered,
        refusals: 0,
        attempts: 0,
    }
}

fn output_of(record: Record, token: Token) -> Option<(Arc<Event>, Output)> {
    let routed = record.outputs.into_iter().nth(usize::from(token.output))?;
    Some((record.event, routed.output))
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
