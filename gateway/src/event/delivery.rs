//! An output on its way to an upstream, and what names it there.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_rules::decision::Output;
use tidegate_rules::event::Event;
use tidegate_store::Sequence;

/// Names one delivery of a lane: the record, and which of its outputs to this lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The record's place in the log.
    pub sequence: Sequence,
    /// Counts the record's outputs.
    pub output: u16,
}

/// One thing to send, ready for any protocol.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What the upstream settles it by.
    pub token: Token,
    /// The event as it was committed; `event.data` is the payload as it arrived.
    pub event: Arc<Event>,
    /// What the rules say of it.
    pub output: Output,
    /// Part of a backlog that live traffic overtook (`backfill = "live_first"`).
    pub historical: bool,
    /// How often this delivery was handed to the upstream before (0 the first time).
    pub attempts: u32,
    /// The mark of this start, which ends the way that the event leaves with.
    pub mark: Option<Arc<str>>,
}

impl Delivery {
    /// A short event of this gateway without a payload, from the start with this mark: what is shorter hardly comes.
    pub fn least(gateway: &str, mark: &Arc<str>) -> Delivery {
        let event = Event {
            id: format!("{mark}-1").into(),
            source: format!("{gateway}/a").into(),
            kind: "reading".into(),
            subject: None,
            topic: "a".into(),
            publisher: "".into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
            ..Event::default()
        };
        Delivery {
            token: Token {
                sequence: 1,
                output: 0,
            },
            event: Arc::new(event),
            output: Output::default(),
            historical: false,
            attempts: 0,
            mark: Some(Arc::clone(mark)),
        }
    }

    /// The id it leaves under: the event's own if it leaves as it came, else the event's with
    /// the rule's name and the number of the output. What a rule derives is another event, and
    /// a receiver that drops repetitions by id must not take one for the other. A repetition
    /// has the same id.
    pub fn id(&self) -> Cow<'_, str> {
        match (&self.output.rule, self.is_derived()) {
            (Some(rule), true) => {
                Cow::Owned(format!("{}/{rule}/{}", self.event.id, self.token.output))
            }
            _ => Cow::Borrowed(&self.event.id),
        }
    }

    /// Whether a rule gave it a topic or a payload of its own.
    pub fn is_derived(&self) -> bool {
        self.output.is_derived()
    }

    /// The topic it leaves under: a rule's, else the event's own.
    pub fn topic(&self) -> &str {
        self.output.topic.as_deref().unwrap_or(&self.event.topic)
    }

    /// The payload to send.
    pub fn payload(&self) -> &Bytes {
        self.output.data.as_ref().unwrap_or(&self.event.data)
    }

    /// Bytes it counts for in windows and budgets: payload and a flat share for the attributes.
    pub fn size_bytes(&self) -> usize {
        self.payload().len() + self.event.topic.len() + 128
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::cloudevents;

    fn event() -> Event {
        Event {
            id: "e-1".into(),
            source: "plant-a/floor".into(),
            kind: "reading".into(),
            subject: None,
            topic: "plant/A/press7/temp".into(),
            publisher: "press7".into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::new(),
            ..Event::default()
        }
    }

    fn delivery(output: u16, topic: Option<&str>) -> Delivery {
        Delivery {
            token: Token {
                sequence: 7,
                output,
            },
            event: Arc::new(event()),
            output: Output {
                topic: topic.map(Arc::from),
                rule: Some("hot".into()),
                ..Output::default()
            },
            historical: false,
            attempts: 0,
            mark: None,
        }
    }

    #[test]
    fn what_a_rule_derives_leaves_under_an_id_of_its_own() {
        assert_eq!(delivery(0, None).id(), "e-1", "unchanged, it is the event");
        let alarm = delivery(1, Some("alarms/A"));
        assert_eq!(alarm.id(), "e-1/hot/1");
        assert_ne!(alarm.id(), delivery(2, Some("alarms/B")).id());
        assert!(cloudevents::of_delivery(&alarm).contains(&("causationid", "e-1".into())));
    }
}
