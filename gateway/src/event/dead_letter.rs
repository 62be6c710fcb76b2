//! Dead letters: what could not be delivered, kept with its bytes and the reason.
//!
//! # Bytes
//!
//! ```text
//! version: u8 = 2 │ a message of Protocol Buffers
//! ```
//!
//! ```proto
//! message DeadLetter {
//!   string upstream = 1; uint32 cause = 2; string reason = 3; string rule = 4; uint32 attempts = 5;
//!   sint64 time = 6;          // milliseconds since 1970
//!   // The last field, and always there: a record with the event, and the outputs that are given up.
//!   bytes record = 15;
//! }
//! ```
//!
//! Fields that are not known are passed by, and kept where the letter is written again. Version 1 is read as well: a head
//! by postcard with the fields in this order, and the record behind it.
//!
//! The record of a dead letter that is `unreadable` is what was stored, byte for byte.
//!
//! A dead letter is named by its record's sequence and the number of its first output within the record,
//! so that writing it again after a crash replaces it.

pub mod letters;
pub mod outputs;

use serde::{Deserialize, Serialize};
use tidegate_rules::decision::Destinations;
use tidegate_rules::event::UnixMs;

use crate::event::delivery::Delivery;
use crate::event::record::RecordError;
use crate::event::record::wire::{Fields, PutFields};
use outputs::Undelivered;

/// The version this gateway writes; it reads those before as well.
pub const VERSION: u8 = 2;
/// The field with the record.
const RECORD: u64 = 15;

/// How an event became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The upstream refused it again and again.
    Refused,
    /// The connection broke each time it was offered.
    Poison,
    /// A rule said so, or could not be evaluated.
    Rule,
    /// Its stored bytes cannot be read.
    Unreadable,
    /// Its source does not take it, and could not tell the sender.
    Source,
}

/// Stands where a rule's name would, in the output of an event that its source set aside, with the source's name behind
/// it: no rule has a name with a space in it.
pub const BY_SOURCE: &str = "the source";

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The upstream it was meant for; `dead_letter` where a rule or a source sent it.
    pub upstream: String,
    /// How it came to this.
    pub cause: Cause,
    /// What the upstream or the rule said; where it said something else of another output, that output has it.
    pub reason: String,
    /// The rule that sent the event, where one did, and the first of several; `event NAME` where the event is not as it
    /// is declared under that name, and [`BY_SOURCE`] with the name of the source that set it aside.
    pub rule: Option<String>,
    /// Times it was offered to the upstream.
    pub attempts: u32,
    /// When it became a dead letter.
    pub time_ms: UnixMs,
    /// A stored record: the event, and the outputs that were not delivered (see [`outputs`]).
    pub record: Vec<u8>,
    /// Fields of the stored form that this release does not know, as they are there.
    pub unknown: Vec<u8>,
}

/// What version 1 begins with.
#[derive(Deserialize)]
struct DeadLetterHead<'a> {
    upstream: &'a str,
    cause: u8,
    reason: &'a str,
    rule: Option<&'a str>,
    attempts: u32,
    time_ms: UnixMs,
}

const CAUSES: [Cause; 5] = [
    Cause::Refused,
    Cause::Poison,
    Cause::Rule,
    Cause::Unreadable,
    Cause::Source,
];

impl DeadLetter {
    /// The dead letter of what was sent to the dead letters, by a rule or by a source.
    pub fn sent_here(delivery: &Delivery, time_ms: UnixMs) -> DeadLetter {
        let by_source = source_in(delivery.output.rule.as_deref()).is_some();
        let (cause, said) = match by_source {
            true => (Cause::Source, "not taken by its source"),
            false => (Cause::Rule, "sent here by a rule"),
        };
        let only = Undelivered {
            number: delivery.token.output,
            output: delivery.output.clone(),
            reason: delivery.output.reason.as_deref().unwrap_or(said).to_owned(),
            attempts: delivery.attempts + 1,
        };
        let event = &delivery.event;
        DeadLetter::of_outputs(event, Destinations::DEAD_LETTER, cause, vec![only], time_ms)
    }

    /// What it is of, as a person calls it: the rule, the declaration, the source or the upstream that there is something
    /// wrong with.
    pub fn owner(&self) -> String {
        match (self.cause, self.rule.as_deref()) {
            (Cause::Rule, Some(rule)) if rule.contains(' ') => rule.to_owned(),
            (Cause::Rule, Some(rule)) => format!("rule {rule}"),
            (Cause::Rule, None) => "event declarations".to_owned(),
            (Cause::Source, rule) => match source_in(rule) {
                Some(name) if !name.is_empty() => format!("source {name}"),
                _ => "sources".to_owned(),
            },
            (Cause::Refused | Cause::Poison | Cause::Unreadable, _) => {
                format!("upstream {}", self.upstream)
            }
        }
    }

    /// The rule that sent it, if one did.
    pub fn of_rule(&self) -> Option<&str> {
        rule_in(self.rule.as_deref())
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let cause = CAUSES.iter().position(|c| *c == self.cause).unwrap_or(0);
        let mut bytes = vec![VERSION];
        bytes.put_text(1, Some(&self.upstream));
        bytes.put_varint(2, cause as u64);
        bytes.put_text(3, Some(&self.reason));
        bytes.put_text(4, self.rule.as_deref());
        bytes.put_varint(5, self.attempts.into());
        bytes.put_signed(6, self.time_ms);
        bytes.extend_from_slice(&self.unknown);
        bytes.put_bytes(RECORD, &self.record);
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`RecordError::Version`] for a version this gateway does not know,
    /// [`RecordError::Malformed`] for anything that is not what [`DeadLetter::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<DeadLetter, RecordError> {
        match bytes.split_first() {
            Some((1, behind)) => decode_version_1(behind),
            Some((2, behind)) => decode_version_2(behind),
            Some((version, _)) => Err(RecordError::Version(*version)),
            None => Err(RecordError::Malformed),
        }
    }
}

fn decode_version_1(behind: &[u8]) -> Result<DeadLetter, RecordError> {
    let (head, record) =
        postcard::take_from_bytes::<DeadLetterHead>(behind).map_err(|_| RecordError::Malformed)?;
    Ok(DeadLetter {
        upstream: head.upstream.to_owned(),
        cause: cause(head.cause.into())?,
        reason: head.reason.to_owned(),
        rule: head.rule.map(str::to_owned),
        attempts: head.attempts,
        time_ms: head.time_ms,
        record: record.to_vec(),
        unknown: Vec::new(),
    })
}

fn decode_version_2(message: &[u8]) -> Result<DeadLetter, RecordError> {
    let mut letter = DeadLetter {
        upstream: String::new(),
        cause: Cause::Refused,
        reason: String::new(),
        rule: None,
        attempts: 0,
        time_ms: 0,
        record: Vec::new(),
        unknown: Vec::new(),
    };
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => letter.upstream = value.text()?.to_owned(),
            2 => letter.cause = cause(value.number()?)?,
            3 => letter.reason = value.text()?.to_owned(),
            4 => letter.rule = Some(value.text()?.to_owned()),
            5 => letter.attempts = value.within()?,
            6 => letter.time_ms = value.signed()?,
            RECORD => {
                letter.record = value.bytes()?.to_vec();
                return match fields.next_field()? {
                    None => Ok(letter),
                    Some(_) => Err(RecordError::Malformed),
                };
            }
            _ => fields.keep(&mut letter.unknown)?,
        }
    }
    Err(RecordError::Malformed)
}

fn cause(number: u64) -> Result<Cause, RecordError> {
    let place = usize::try_from(number).ok();
    let cause = place.and_then(|place| CAUSES.get(place));
    cause.copied().ok_or(RecordError::Malformed)
}

/// The name of a rule, where none of a declaration or of a source stands.
pub fn rule_in(rule: Option<&str>) -> Option<&str> {
    rule.filter(|rule| !rule.contains(' '))
}

/// The name of the source that stands where a rule's name would.
fn source_in(rule: Option<&str>) -> Option<&str> {
    rule?.strip_prefix(BY_SOURCE).map(str::trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter() -> DeadLetter {
        DeadLetter {
            upstream: "cloud".into(),
            cause: Cause::Poison,
            reason: "0x99 payload format invalid".into(),
            rule: Some("hot_press".into()),
            attempts: 5,
            time_ms: 1_700_000_000_000,
            record: b"\x01 the record".to_vec(),
            unknown: b"\x50\x07".to_vec(),
        }
    }

    #[test]
    fn what_was_encoded_is_decoded_unchanged() {
        for cause in CAUSES {
            let dead_letter = DeadLetter {
                cause,
                ..dead_letter()
            };
            assert_eq!(DeadLetter::decode(&dead_letter.encode()), Ok(dead_letter));
        }
    }

    #[test]
    fn bytes_of_every_version_stay_readable() {
        let frozen = b"\x01\x05cloud\x01\x1b0x99 payload format invalid\x01\x09hot_press\x05\x80\xa0\xab\xfe\xf9b\x01 the record";
        let unknown = Vec::new();
        let of_version_1 = DeadLetter {
            unknown,
            ..dead_letter()
        };
        assert_eq!(DeadLetter::decode(frozen), Ok(of_version_1));
        let frozen = b"\x02\x0a\x05cloud\x10\x01\x1a\x1b0x99 payload format invalid\x22\x09hot_press\x28\x05\x30\x80\xa0\xab\xfe\xf9b\x50\x07\x7a\x0c\x01 the record";
        assert_eq!(DeadLetter::decode(frozen), Ok(dead_letter()));
        assert_eq!(dead_letter().encode(), frozen);
    }

    #[test]
    fn every_truncation_and_every_appended_byte_is_noticed() {
        let mut whole = dead_letter().encode();
        for len in 0..whole.len() {
            assert!(DeadLetter::decode(&whole[..len]).is_err(), "cut at {len}");
        }
        whole.push(0);
        assert_eq!(DeadLetter::decode(&whole), Err(RecordError::Malformed));
    }

    #[test]
    fn a_letter_is_of_what_is_wrong() {
        let of = |cause, rule: Option<&str>| {
            let rule = rule.map(str::to_owned);
            let letter = DeadLetter {
                cause,
                rule,
                ..dead_letter()
            };
            letter.owner()
        };
        let cases = [
            (Cause::Rule, Some("hot"), "rule hot"),
            (Cause::Rule, Some("unmatched"), "rule unmatched"),
            (Cause::Rule, Some("event press_temp"), "event press_temp"),
            (Cause::Rule, None, "event declarations"),
            (Cause::Source, Some("the source floor"), "source floor"),
            (Cause::Source, Some("the source"), "sources"),
            (Cause::Source, None, "sources"),
            (Cause::Refused, Some("hot"), "upstream cloud"),
            (Cause::Poison, None, "upstream cloud"),
            (Cause::Unreadable, None, "upstream cloud"),
        ];
        for (cause, rule, owner) in cases {
            assert_eq!(of(cause, rule), owner, "{cause:?} {rule:?}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_its_number() {
        let mut newer = dead_letter().encode();
        newer[0] = 3;
        assert_eq!(DeadLetter::decode(&newer), Err(RecordError::Version(3)));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = DeadLetter::decode(&bytes);
        }
    }
}
