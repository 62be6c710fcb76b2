//! One stored event as a document: its envelope, its payload, and what became of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_rules::decision::{Destinations, Priority};
use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::{Cursor, Sequence, Store};

use crate::event::cloudevents::json::{self, Document};
use crate::event::dead_letter::outputs;
use crate::event::record::{NOBODY, Record, Routed};

/// A stored event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventView {
    /// Its place in the log; absent for an event that is followed.
    pub sequence: Option<Sequence>,
    /// When the gateway received it, milliseconds since the Unix epoch.
    pub received_ms: UnixMs,
    /// The topic it was published under.
    pub topic: String,
    /// Who published it at its source.
    pub publisher: String,
    /// Bytes of its payload.
    pub size_bytes: usize,
    /// The event as a CloudEvents JSON document.
    pub event: Document,
    /// Where it went. Empty for an event that the rules dropped.
    pub outputs: Vec<OutputView>,
}

/// One output of an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputView {
    /// The upstream, or `dead_letter`.
    pub upstream: String,
    /// How urgent it is.
    pub priority: String,
    /// `delivered`, `dead letter` or `waiting`, as far as is known: a dead letter that was sent
    /// again or dropped counts as delivered.
    pub fate: String,
    /// The topic that a rule chose.
    pub topic: Option<String>,
    /// The partition key that a rule chose.
    pub key: Option<String>,
    /// The rule that sent it.
    pub rule: Option<String>,
    /// Why it is a dead letter.
    pub reason: Option<String>,
    /// The payload, where a rule changed it: JSON as it is written, or a text.
    pub data: Option<Box<RawValue>>,
    /// The same as base64, where it is neither.
    #[serde(default)]
    pub data_base64: Option<String>,
}

impl EventView {
    /// An event that has just been committed.
    pub fn live(event: &Event) -> EventView {
        EventView {
            sequence: None,
            received_ms: event.received,
            topic: event.topic.to_string(),
            publisher: event.publisher.to_string(),
            size_bytes: event.data.len(),
            event: Document::of(event),
            outputs: Vec::new(),
        }
    }

    /// The record at `sequence` with what became of it.
    pub fn stored(sequence: Sequence, record: &Record, store: &Store) -> EventView {
        let set_aside = match store.dead_letter_count() {
            0 => BTreeSet::new(),
            _ => outputs::set_aside(store, sequence),
        };
        let outputs = record.outputs.iter().zip(0u16..);
        let outputs = outputs.filter(|(routed, _)| routed.lane != NOBODY);
        let output = |(routed, number)| {
            let is_set_aside = set_aside.contains(&number);
            let content_type = record.event.content_type.as_deref();
            OutputView::of(sequence, routed, content_type, is_set_aside, store)
        };
        EventView {
            sequence: Some(sequence),
            outputs: outputs.map(output).collect(),
            ..EventView::live(&record.event)
        }
    }
}

impl OutputView {
    fn of(
        sequence: Sequence,
        routed: &Routed,
        content_type: Option<&str>,
        is_set_aside: bool,
        store: &Store,
    ) -> OutputView {
        let (lanes, output) = (store.lanes(), &routed.output);
        let lane = lanes.iter().find(|lane| lane.id == routed.lane);
        let cursor = store.cursor(routed.lane, output.priority as u8);
        let fate = match is_behind(&cursor, sequence) {
            true if is_set_aside => "dead letter",
            // It was sent again or dropped, by somebody or as one too many.
            true if lane.is_some_and(|lane| lane.name == Destinations::DEAD_LETTER) => "gone",
            true => "delivered",
            false => "waiting",
        };
        let data = output.data.as_deref();
        let (data, data_base64) =
            data.map_or((None, None), |data| json::payload_apart(data, content_type));
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        OutputView {
            upstream: lane
                .map_or_else(|| format!("lane {}", routed.lane), |lane| lane.name.clone()),
            priority: priority_name(output.priority).to_owned(),
            fate: fate.to_owned(),
            topic: text(&output.topic),
            key: text(&output.key),
            rule: text(&output.rule),
            reason: text(&output.reason),
            data,
            data_base64,
        }
    }
}

fn is_behind(cursor: &Cursor, sequence: Sequence) -> bool {
    sequence < cursor.low
        || cursor
            .above
            .iter()
            .any(|interval| interval.contains(&sequence))
}

/// The word that rules use for a priority.
pub fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
        Priority::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_interval_above_the_cursor_is_delivered() {
        let cursor = Cursor {
            low: 10,
            above: vec![12..=13],
        };
        let delivered: Vec<_> = (9..=14).filter(|at| is_behind(&cursor, *at)).collect();
        assert_eq!(delivered, [9, 12, 13]);
    }
}
