//! Version 1 of the stored form, which is read and no longer written.
//!
//! ```text
//! version: u8 = 1 │ head: postcard │ the event's payload │ the payloads that rules made, in order
//! ```
//!
//! The head holds the attributes, what each output says, and the lengths of the payloads behind it.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tidegate_rules::decision::{Output, Priority};
use tidegate_rules::event::{Event, EventTime, Extension, UnixMs};
use tidegate_store::LaneId;

use super::{Record, RecordError, Routed, SharedTexts, share};

#[derive(Deserialize)]
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

#[derive(Deserialize)]
struct OutputHead<'a> {
    lane: LaneId,
    priority: u8,
    topic: Option<&'a str>,
    key: Option<&'a str>,
    data_len: Option<u32>,
    reason: Option<&'a str>,
    rule: Option<&'a str>,
}

/// Reads what stands behind the version in `bytes`.
pub(super) fn decode(bytes: &Bytes, texts: &mut SharedTexts) -> Result<Record, RecordError> {
    let (head, mut payloads) = take_head(&bytes[1..])?;
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

/// The attributes of an event, from the beginning of what stands behind the version.
pub(super) fn attributes(behind: &[u8]) -> Result<Event, RecordError> {
    let (head, _) = take_head(behind)?;
    Ok(event(&head, Bytes::new(), &mut SharedTexts::default()))
}

/// The source of the event.
pub(super) fn source(behind: &[u8]) -> Option<&str> {
    Some(take_head(behind).ok()?.0.source)
}

fn take_head(behind: &[u8]) -> Result<(RecordHead<'_>, &[u8]), RecordError> {
    postcard::take_from_bytes(behind).map_err(|_| RecordError::Malformed)
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
        options: None,
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
        time: head.time.map(EventTime::from),
        received: head.received,
        content_type: head.content_type.map(Arc::from),
        schema: head.schema.map(Arc::from),
        extensions: head
            .extensions
            .iter()
            .map(|(name, value)| Extension::text(*name, *value))
            .collect(),
        data,
        ..Event::default()
    }
}
