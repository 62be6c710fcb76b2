//! The outputs of a dead letter. What several rules sent one upstream, and it took none of for one cause, is one letter:
//! its record has all of them, each with what is its own.
//!
//! An output is known by its number in the record it came from: a derived event's id ends with it. In a letter that number
//! stands where the lane would, for the lane is looked up when the letter is sent again. Letters of one output that were
//! written before have 0 there; the number of a letter's first output is in its key in any case.

use std::collections::BTreeSet;

use tidegate_rules::decision::Output;
use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::{DeadLetterId, LaneId, Sequence, Store};

use super::letters::after;
use super::{Cause, DeadLetter};
use crate::event::record::{self, NOBODY, Record, Routed};

/// An output that is given up.
#[derive(Debug, Clone)]
pub struct Undelivered {
    /// Which one of its record.
    pub number: u16,
    /// What it says.
    pub output: Output,
    /// What the upstream said.
    pub reason: String,
    /// Times it was offered.
    pub attempts: u32,
}

impl Undelivered {
    /// Bytes it takes in a letter, apart from the event.
    pub fn size_bytes(&self) -> usize {
        let Output {
            topic,
            key,
            data,
            reason: _,
            rule,
            priority: _,
            options,
        } = &self.output;
        let texts = [topic, key, rule].into_iter().flatten();
        let texts: usize = texts.map(|text| text.len()).sum();
        let data = data.as_ref().map_or(0, bytes::Bytes::len);
        let options = options.as_ref().map_or(0, |options| options.size_bytes());
        texts + data + options + self.reason.len() + 16
    }
}

impl DeadLetter {
    /// The dead letter of outputs of one event that are given up for one cause, in the order of their numbers.
    pub fn of_outputs(
        event: &Event,
        upstream: &str,
        cause: Cause,
        outputs: Vec<Undelivered>,
        time_ms: UnixMs,
    ) -> DeadLetter {
        let first = outputs.first();
        let reason = first.map_or_else(String::new, |first| first.reason.clone());
        let rule = first.and_then(|first| first.output.rule.as_deref().map(str::to_owned));
        let attempts = outputs.iter().map(|one| one.attempts).max().unwrap_or(0);
        let routed = |one: Undelivered| Routed {
            lane: one.number,
            output: Output {
                // The head has it.
                reason: (one.reason != reason).then(|| one.reason.into()),
                ..one.output
            },
        };
        let outputs: Vec<Routed> = outputs.into_iter().map(routed).collect();
        let mut bytes = Vec::new();
        record::encode(event, &outputs, &mut bytes);
        DeadLetter {
            upstream: upstream.to_owned(),
            cause,
            reason,
            rule,
            attempts,
            time_ms,
            record: bytes,
            unknown: Vec::new(),
        }
    }
}

/// The numbers that the outputs of a letter had in the record they came from.
pub fn numbers((_, first): DeadLetterId, letter: &Record) -> Vec<u16> {
    let outputs = &letter.outputs;
    if outputs.len() == 1 {
        return vec![first];
    }
    let numbers: Vec<u16> = outputs.iter().map(|routed| routed.lane).collect();
    match numbers.first() == Some(&first) && numbers.is_sorted_by(|a, b| a < b) {
        true => numbers,
        // It is a record that could not be read once, as it was stored.
        false => (0u16..).zip(outputs).map(|(number, _)| number).collect(),
    }
}

/// The outputs of a record that are dead letters, by their numbers.
pub fn set_aside(store: &Store, sequence: Sequence) -> BTreeSet<u16> {
    let (mut outputs, mut from) = (BTreeSet::new(), (sequence, 0));
    while let Ok(found) = store.dead_letters(from, 1)
        && let Some(stored) = found.first().filter(|stored| stored.id.0 == sequence)
    {
        let letter = DeadLetter::decode(&stored.bytes);
        let record = letter.and_then(|letter| record::decode(&letter.record));
        match record {
            Ok(record) => outputs.extend(numbers(stored.id, &record)),
            Err(_) => _ = outputs.insert(stored.id.1),
        }
        from = after(stored.id);
    }
    outputs
}

/// Outputs for one lane, each under the number it had: derived events keep their ids, and no two get the same. Between
/// them are places for nobody.
pub fn in_their_places(
    outputs: impl IntoIterator<Item = (u16, Output)>,
    lane: LaneId,
) -> Vec<Routed> {
    let mut routed = Vec::new();
    for (number, output) in outputs {
        // Only the id of what is derived has the number in it.
        while output.is_derived() && routed.len() < usize::from(number) {
            routed.push(Routed {
                lane: NOBODY,
                output: Output::default(),
            });
        }
        routed.push(Routed { lane, output });
    }
    routed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(topic: Option<&str>) -> Output {
        Output {
            topic: topic.map(Into::into),
            ..Output::default()
        }
    }

    fn letter(lanes: &[LaneId]) -> Record {
        let event = Event {
            id: "e".into(),
            source: "s".into(),
            kind: "k".into(),
            subject: None,
            topic: "t".into(),
            publisher: "p".into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::new(),
            ..Event::default()
        };
        let routed = |lane: &LaneId| Routed {
            lane: *lane,
            output: output(None),
        };
        Record {
            event: event.into(),
            outputs: lanes.iter().map(routed).collect(),
        }
    }

    #[test]
    fn an_output_keeps_its_number_in_a_letter() {
        let cases: [(u16, &[LaneId], &[u16]); 6] = [
            (7, &[0], &[7]),
            (7, &[7], &[7]),
            (2, &[2, 3, 9], &[2, 3, 9]),
            (0, &[0, 400], &[0, 400]),
            // As it was stored, with lanes.
            (0, &[4, 3, 4], &[0, 1, 2]),
            (3, &[], &[]),
        ];
        for (first, lanes, expected) in cases {
            assert_eq!(numbers((12, first), &letter(lanes)), expected, "{lanes:?}");
        }
    }

    #[test]
    fn what_is_derived_goes_again_under_its_number_and_nothing_else_needs_it() {
        let made = Some("alarms/A");
        /// Numbers or lanes, with topics.
        type Outputs<'a> = &'a [(u16, Option<&'a str>)];
        let cases: [(Outputs<'_>, Outputs<'_>); 4] = [
            (&[(5, None), (9, None)], &[(3, None), (3, None)]),
            (&[(2, made)], &[(NOBODY, None), (NOBODY, None), (3, made)]),
            (&[(0, made), (1, made)], &[(3, made), (3, made)]),
            (
                &[(1, None), (2, made)],
                &[(3, None), (NOBODY, None), (3, made)],
            ),
        ];
        for (outputs, expected) in cases {
            let given = outputs
                .iter()
                .map(|(number, topic)| (*number, output(*topic)));
            let routed = in_their_places(given, 3);
            let found: Vec<_> = routed
                .iter()
                .map(|routed| (routed.lane, routed.output.topic.as_deref()))
                .collect();
            assert_eq!(found, expected, "{outputs:?}");
        }
    }
}
