//! A dead letter: the record as it was, where it was bound for, and why it did not get there.
//!
//! # Bytes
//!
//! ```text
//! version: u8 = 1 │ head: postcard (upstream, reason, rule, attempts, time) │ a record with one output
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_rules::event::UnixMs;
use tidegate_store::LaneId;

use crate::clock;
use crate::record::{self, Record, RecordError, Routed};
use crate::upstream::Delivery;

/// The version this gateway writes.
pub const VERSION: u8 = 1;

/// One event that was set aside.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The upstream it was bound for; `dead_letter` where a rule sent it here.
    pub upstream: String,
    /// Why.
    pub reason: String,
    /// Definite refusals before it was set aside.
    pub attempts: u32,
    /// When it was set aside.
    pub time: UnixMs,
    /// The event, and the one output that did not get there.
    pub record: Record,
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    upstream: &'a str,
    reason: &'a str,
    attempts: u32,
    time: UnixMs,
}

impl DeadLetter {
    /// The dead letter of a delivery that is given up.
    pub fn of(delivery: &Delivery, upstream: &str, reason: &str) -> DeadLetter {
        let output = Routed {
            // The lane is looked up by the upstream's name when the letter is sent again.
            lane: LaneId::default(),
            priority: delivery.priority,
            topic: delivery.topic.clone(),
            key: delivery.key.clone(),
            data: delivery.data.clone(),
            reason: delivery.reason.clone(),
            rule: delivery.rule.clone(),
        };
        DeadLetter {
            upstream: upstream.into(),
            reason: reason.into(),
            attempts: delivery.attempts + 1,
            time: clock::unix_ms(),
            record: Record {
                event: Arc::clone(&delivery.event),
                outputs: vec![output],
            },
        }
    }

    /// Its stored form.
    pub fn encode(&self) -> Vec<u8> {
        let head = Head {
            upstream: &self.upstream,
            reason: &self.reason,
            attempts: self.attempts,
            time: self.time,
        };
        let mut bytes = vec![VERSION];
        bytes.extend(postcard::to_allocvec(&head).unwrap_or_default());
        record::encode(&self.record.event, &self.record.outputs, &mut bytes);
        bytes
    }

    /// Reads its stored form.
    ///
    /// # Errors
    /// As [`record::decode`].
    pub fn decode(bytes: &[u8]) -> Result<DeadLetter, RecordError> {
        let (version, rest) = bytes.split_first().ok_or(RecordError::Malformed)?;
        if *version != VERSION {
            return Err(RecordError::Version(*version));
        }
        let (head, rest) =
            postcard::take_from_bytes::<Head>(rest).map_err(|_| RecordError::Malformed)?;
        Ok(DeadLetter {
            upstream: head.upstream.into(),
            reason: head.reason.into(),
            attempts: head.attempts,
            time: head.time,
            record: record::decode(rest)?,
        })
    }
}
