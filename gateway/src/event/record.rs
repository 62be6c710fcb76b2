//! The stored form of an event and all its consequences, versioned.
//!
//! # Bytes
//!
//! ```text
//! version: u8 = 1 │ head: postcard │ the event's payload │ the payloads that rules made, in order
//! ```
//!
//! The head holds the attributes, what each output says, and the lengths of the payloads behind
//! it. Payloads are never re-encoded. A reader refuses versions it does not know, so that an
//! older gateway leaves a newer store untouched. Frozen examples live in `tests` below.

pub mod tags;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_rules::decision::{Output, Priority};
use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::LaneId;

/// The version this gateway writes.
pub const VERSION: u8 = 1;

/// The lane of an output that only keeps the place of one that went elsewhere: it is routed nowhere.
pub const NOBODY: LaneId = LaneId::MAX;

/// An event with everything that was decided about it, as one commit holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The event as it arrived.
    pub event: Arc<Event>,
    /// What to send, by lane. Empty: dropped by rule.
    pub outputs: Vec<Routed>,
}

/// One output with the lane it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Routed {
    /// The lane of the upstream.
    pub lane: LaneId,
    /// What to send.
    pub output: Output,
}

/// Why stored bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// Written by a newer gateway.
    Version(u8),
    /// The bytes do not hold what the head says.
    Malformed,
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordError::Version(version) => write!(
                f,
                "the record has version {version}, this gateway reads version {VERSION}; run the gateway that wrote it"
            ),
            RecordError::Malformed => f.write_str(
                "the record does not hold what its head says; `tidegate store verify` shows the extent",
            ),
        }
    }
}

impl std::error::Error for RecordError {}

#[derive(Serialize, Deserialize)]
struct RecordHead<'a> {
    id: &'a str,
    source: &'a str,
    kind: &'a str,
    topic: &'a str,
    publisher: &'a str,
    received: UnixMs,
    time: Option<UnixMs>,
    subject: Option<&'a str>,
    content_type: Option<&'a str>,
    schema: Option<&'a str>,
    #[serde(borrow)]
    extensions: Vec<(&'a str, &'a str)>,
    data_len: u32,
    #[serde(borrow)]
    outputs: Vec<OutputHead<'a>>,
}

#[derive(Serialize, Deserialize)]
struct OutputHead<'a> {
    lane: LaneId,
    priority: u8,
    topic: Option<&'a str>,
    key: Option<&'a str>,
    data_len: Option<u32>,
    reason: Option<&'a str>,
    rule: Option<&'a str>,
}

/// Appends the stored form to `buffer`.
///
/// Payloads above 4 GiB cannot occur: every source bounds them far below.
pub fn encode(event: &Event, outputs: &[Routed], buffer: &mut Vec<u8>) {
    buffer.push(VERSION);
    let head = RecordHead {
        id: &event.id,
        source: &event.source,
        kind: &event.kind,
        topic: &event.topic,
        publisher: &event.publisher,
        received: event.received,
        time: event.time,
        subject: event.subject.as_deref(),
        content_type: event.content_type.as_deref(),
        schema: event.schema.as_deref(),
        extensions: event
            .extensions
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect(),
        data_len: event.data.len() as u32,
        outputs: outputs.iter().map(OutputHead::of).collect(),
    };
    // Serializing plain structs into a growing vector has no way to fail.
    let _ = postcard::serialize_with_flavor(&head, Appender(buffer));
    buffer.extend_from_slice(&event.data);
    let made = outputs
        .iter()
        .filter_map(|routed| routed.output.data.as_ref());
    for data in made {
        buffer.extend_from_slice(data);
    }
}

impl<'a> OutputHead<'a> {
    fn of(Routed { lane, output }: &'a Routed) -> OutputHead<'a> {
        OutputHead {
            lane: *lane,
            priority: output.priority as u8,
            topic: output.topic.as_deref(),
            key: output.key.as_deref(),
            data_len: output.data.as_ref().map(|data| data.len() as u32),
            reason: output.reason.as_deref(),
            rule: output.rule.as_deref(),
        }
    }
}

struct Appender<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads a stored record.
///
/// # Errors
/// [`RecordError::Version`] for a version this gateway does not know,
/// [`RecordError::Malformed`] for anything that is not what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    decode_sharing(&Bytes::copy_from_slice(bytes), &mut SharedTexts::default())
}

/// Texts that an event mostly has in common with the one before it.
#[derive(Debug, Default)]
pub struct SharedTexts {
    source: Arc<str>,
    kind: Arc<str>,
    topic: Arc<str>,
    publisher: Arc<str>,
}

fn share(known: &mut Arc<str>, text: &str) -> Arc<str> {
    if **known != *text {
        *known = text.into();
    }
    Arc::clone(known)
}

/// As [`decode`], for records one after the other: what they have in common is kept once, and
/// payloads are views into their bytes.
///
/// # Errors
/// As [`decode`].
pub fn decode_sharing(bytes: &Bytes, texts: &mut SharedTexts) -> Result<Record, RecordError> {
    let (version, rest) = bytes.split_first().ok_or(RecordError::Malformed)?;
    if *version != VERSION {
        return Err(RecordError::Version(*version));
    }
    let (head, mut payloads) =
        postcard::take_from_bytes::<RecordHead>(rest).map_err(|_| RecordError::Malformed)?;
    let mut take = |len| take(bytes, &mut payloads, len);
    let data = take(head.data_len)?;
    let outputs = head
        .outputs
        .iter()
        .map(|output| routed(output, &mut take))
        .collect::<Result<Vec<_>, _>>()?;
    if !payloads.is_empty() {
        return Err(RecordError::Malformed);
    }
    Ok(Record {
        event: Arc::new(event(&head, data, texts)),
        outputs,
    })
}

/// The attributes of an event, from the beginning of its record: the rest need not be there. It has no data.
///
/// # Errors
/// As [`decode`]; the beginning may be too short.
pub fn attributes(bytes: &[u8]) -> Result<Event, RecordError> {
    let (version, rest) = bytes.split_first().ok_or(RecordError::Malformed)?;
    if *version != VERSION {
        return Err(RecordError::Version(*version));
    }
    let (head, _) =
        postcard::take_from_bytes::<RecordHead>(rest).map_err(|_| RecordError::Malformed)?;
    Ok(event(&head, Bytes::new(), &mut SharedTexts::default()))
}

/// The source of a stored event, read without the rest; empty where the bytes are no record.
pub fn source(bytes: &[u8]) -> &str {
    let Some((&VERSION, rest)) = bytes.split_first() else {
        return "";
    };
    postcard::take_from_bytes::<RecordHead>(rest).map_or("", |(head, _)| head.source)
}

fn take(bytes: &Bytes, payloads: &mut &[u8], len: u32) -> Result<Bytes, RecordError> {
    let (data, rest) = payloads
        .split_at_checked(len as usize)
        .ok_or(RecordError::Malformed)?;
    *payloads = rest;
    Ok(bytes.slice_ref(data))
}

fn routed(
    head: &OutputHead,
    mut take: impl FnMut(u32) -> Result<Bytes, RecordError>,
) -> Result<Routed, RecordError> {
    let output = Output {
        topic: head.topic.map(Arc::from),
        key: head.key.map(Arc::from),
        data: match head.data_len {
            Some(len) => Some(take(len)?),
            None => None,
        },
        reason: head.reason.map(Arc::from),
        rule: head.rule.map(Arc::from),
        priority: Priority::from_byte(head.priority).ok_or(RecordError::Malformed)?,
    };
    Ok(Routed {
        lane: head.lane,
        output,
    })
}

fn event(head: &RecordHead, data: Bytes, texts: &mut SharedTexts) -> Event {
    Event {
        id: head.id.into(),
        source: share(&mut texts.source, head.source),
        kind: share(&mut texts.kind, head.kind),
        subject: head.subject.map(Arc::from),
        topic: share(&mut texts.topic, head.topic),
        publisher: share(&mut texts.publisher, head.publisher),
        time: head.time,
        received: head.received,
        content_type: head.content_type.map(Arc::from),
        schema: head.schema.map(Arc::from),
        extensions: head
            .extensions
            .iter()
            .map(|(name, value)| (Arc::from(*name), Arc::from(*value)))
            .collect(),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> (Event, Vec<Routed>) {
        let event = Event {
            id: "17-42".into(),
            source: "plant-a/floor".into(),
            kind: "reading".into(),
            subject: Some("press7".into()),
            topic: "plant/A/press7/temp".into(),
            publisher: "press7".into(),
            time: Some(1_700_000_000_000),
            received: 1_700_000_000_123,
            content_type: Some("application/json".into()),
            schema: None,
            extensions: vec![("traceparent".into(), "00-ab-cd-01".into())],
            data: Bytes::from_static(b"{\"t\":21.5}"),
        };
        let plain = Routed {
            lane: 3,
            output: Output::default(),
        };
        let changed = Routed {
            lane: 0,
            output: Output {
                topic: Some("alarms/A".into()),
                key: Some("A".into()),
                data: Some(Bytes::from_static(b"{}")),
                reason: Some("no rule for this topic".into()),
                rule: Some("hot_press".into()),
                priority: Priority::Critical,
            },
        };
        (event, vec![plain, changed])
    }

    fn encoded() -> Vec<u8> {
        let (event, outputs) = full();
        let mut buffer = Vec::new();
        encode(&event, &outputs, &mut buffer);
        buffer
    }

    #[test]
    fn what_was_encoded_is_decoded_unchanged() {
        let (event, outputs) = full();
        let record = decode(&encoded()).expect("a fresh record");
        assert_eq!((&*record.event, &record.outputs), (&event, &outputs));
    }

    #[test]
    fn records_one_after_the_other_share_what_they_have_in_common_and_nothing_else() {
        let mut texts = SharedTexts::default();
        let (event, outputs) = full();
        let others = [
            Event {
                topic: "plant/B".into(),
                ..event.clone()
            },
            Event {
                publisher: "press8".into(),
                id: "17-43".into(),
                ..event.clone()
            },
            Event {
                kind: "alarm".into(),
                source: "plant-b/floor".into(),
                ..event.clone()
            },
        ];
        for event in others.iter().flat_map(|other| [&event, other, other]) {
            let mut buffer = Vec::new();
            encode(event, &outputs, &mut buffer);
            let record = decode_sharing(&buffer.into(), &mut texts).expect("a fresh record");
            assert_eq!(&*record.event, event);
            assert!(Arc::ptr_eq(&record.event.topic, &texts.topic));
        }
    }

    #[test]
    fn every_truncation_and_every_appended_byte_is_noticed() {
        let whole = encoded();
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err(), "cut at {len}");
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(decode(&longer), Err(RecordError::Malformed));
    }

    #[test]
    fn the_attributes_are_read_from_the_beginning() {
        let (whole, head) = (encoded(), encoded().len() - 12);
        for len in 0..=whole.len() {
            let read = attributes(&whole[..len]);
            let expected = Event {
                data: Bytes::new(),
                ..full().0
            };
            assert_eq!(read.ok(), (len >= head).then_some(expected), "{len} bytes");
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_its_number() {
        let mut newer = encoded();
        newer[0] = 9;
        assert_eq!(decode(&newer), Err(RecordError::Version(9)));
    }

    #[test]
    fn version_1_bytes_stay_readable() {
        let frozen = include_bytes!("record/version_1.bin");
        let (event, outputs) = full();
        let record = decode(frozen).expect("the frozen fixture");
        assert_eq!((&*record.event, &record.outputs), (&event, &outputs));
        assert_eq!(encoded(), frozen, "version 1 is still what is written");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8.., 0..512)) {
            let _ = decode(&bytes);
        }
    }
}
