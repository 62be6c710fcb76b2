//! From stored records to deliveries, the first time and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::decision::Output;
use tidegate_rules::event::Event;
use tidegate_store::{ReadError, StoredRecord};

use super::lane::{Fate, Lane};
use super::log::LaneLog;
use super::reader::{CLASSES, PendingRecord};
use super::retry_queue::Retry;
use super::window::{Accepted, InFlight};
use crate::event::dead_letter::Cause;
use crate::event::record::{self, Record};
use crate::time::backoff::Backoff;
use crate::time::clock::Now;
use crate::upstream::{Delivery, Token};

/// Tokens remembered from broken connections, so that repeats are counted as such.
const SEEN_MAX: usize = 8192;

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
        let Ok(decoded) = record::decode_sharing(&record.bytes, &mut self.texts) else {
            return self.unreadable(entry(class, first, historical, now), record);
        };
        for (output, routed) in (0u16..).zip(decoded.outputs) {
            if routed.lane == self.id && routed.output.priority as u8 == class {
                let token = Token { sequence, output };
                let entry = InFlight {
                    attempts: self.attempts(token),
                    ..entry(class, token, historical, now)
                };
                let (entry, delivery) = sized(entry, &decoded.event, routed.output);
                self.ready.push_back((entry, self.marked(delivery)));
            }
        }
        match self.ready.len() {
            0 => self.finish(class, first, Fate::Empty),
            1 => {}
            outputs => self.expect(class, sequence, outputs),
        }
    }

    /// The next delivery that was sent back, of any class.
    pub(super) fn next_again(
        &mut self,
        log: &impl LaneLog,
        now: Now,
        held: bool,
    ) -> Result<Option<(InFlight, Delivery)>, ReadError> {
        for class in (0..CLASSES as u8).rev() {
            let again = self.next_again_of(log, class, now, held)?;
            if again.is_some() || self.has_actions {
                return Ok(again);
            }
        }
        Ok(None)
    }

    pub(super) fn next_again_of(
        &mut self,
        log: &impl LaneLog,
        class: u8,
        now: Now,
        held: bool,
    ) -> Result<Option<(InFlight, Delivery)>, ReadError> {
        loop {
            let goes = |token| self.poison.holds(token) == held;
            let Some((token, retry)) = self.retry_queue.take_due(class, now.instant, goes) else {
                return Ok(None);
            };
            let again = self.read_again(log, class, token, retry, now)?;
            if again.is_some() || self.has_actions {
                return Ok(again);
            }
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
            Some((entry, delivery)) => Ok(Some((entry, self.marked(delivery)))),
            None => {
                self.unreadable(entry, stored);
                Ok(None)
            }
        }
    }

    pub(super) fn retry(&mut self, entry: &InFlight, attempts: u32, due: Instant, refusals: u32) {
        let retry = Retry {
            due,
            refusals,
            attempts,
            historical: entry.historical,
        };
        self.retry_queue.insert(entry.class, entry.token, retry);
    }

    /// What is not to be remembered is read again from the log.
    pub(super) fn forget(&mut self, entry: &InFlight, attempts: u32, now: Now) {
        if self.is_remembered(entry) {
            self.retry(entry, attempts, now.instant, entry.refusals);
        } else if self.seen.len() < SEEN_MAX {
            self.seen.insert(entry.token, attempts);
        }
    }

    /// The pause before an event goes again that was refused so often.
    pub(super) fn pause_after(&mut self, refusals: u32) -> Duration {
        let Some(before) = refusals.checked_sub(1) else {
            return Duration::ZERO;
        };
        let mut pause = Backoff::new(self.settings.retry_min, self.settings.retry_max);
        pause.skip(before);
        pause.next(self.jitter.draw())
    }

    fn marked(&self, delivery: Delivery) -> Delivery {
        let mark = self.mark.clone();
        Delivery { mark, ..delivery }
    }

    /// How often it was offered on connections that broke.
    fn attempts(&self, token: Token) -> u32 {
        match self.seen.is_empty() {
            true => 0,
            false => self.seen.get(&token).copied().unwrap_or(0),
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
fn delivery_of(entry: &InFlight, stored: &StoredRecord) -> Option<(InFlight, Delivery)> {
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
        mark: None,
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
