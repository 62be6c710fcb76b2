//! One output in a record.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_rules::decision::{Made, Output, Priority, SendOptions};

use super::super::wire::{Fields, PutFields, Value, shared};
use super::super::{RecordError, Routed};

/// Appends the message of an output.
pub(super) fn put(routed: &Routed, buffer: &mut Vec<u8>) {
    let Routed { lane, output } = routed;
    if *lane != 0 {
        buffer.put_varint(1, (*lane).into());
    }
    if output.priority != Priority::Normal {
        buffer.put_varint(2, output.priority as u64 + 1);
    }
    buffer.put_text(3, output.topic.as_deref());
    buffer.put_text(4, output.key.as_deref());
    buffer.put_text(6, output.reason.as_deref());
    buffer.put_text(7, output.rule.as_deref());
    if let Some(options) = &output.options {
        put_options(options, buffer);
    }
    if let Some(data) = &output.data {
        buffer.put_bytes(5, data);
    }
}

fn put_options(options: &SendOptions, buffer: &mut Vec<u8>) {
    if let Some(retain) = options.retain {
        buffer.put_varint(8, retain.into());
    }
    if let Some(qos) = options.qos {
        buffer.put_varint(9, qos.into());
    }
    for (name, value) in &options.captures {
        buffer.put_message(10, |inner| {
            inner.put_bytes(1, name.as_bytes());
            inner.put_bytes(2, value.as_bytes());
        });
    }
    if let Some(made) = &options.made {
        buffer.put_bytes(11, made.id.as_bytes());
        buffer.put_text(12, made.kind.as_deref());
        if let Some(time) = made.time {
            buffer.put_signed(13, time);
        }
        buffer.put_text(14, made.causation_id.as_deref());
        buffer.put_text(15, made.correlation_id.as_deref());
    }
    buffer.extend_from_slice(&options.unknown);
}

/// Reads the message of an output; its payload is a view into `whole`.
pub(super) fn read(message: &[u8], whole: &Bytes) -> Result<Routed, RecordError> {
    let mut routed = Routed {
        lane: 0,
        output: Output::default(),
    };
    let output = &mut routed.output;
    let (mut options, mut unknown) = (SendOptions::default(), Vec::new());
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => routed.lane = value.within()?,
            2 => {
                let number = value.within::<u8>()?.checked_sub(1);
                let priority = number.and_then(Priority::from_byte);
                output.priority = priority.ok_or(RecordError::Malformed)?;
            }
            3 => output.topic = Some(value.text()?.into()),
            4 => output.key = Some(value.text()?.into()),
            5 => output.data = Some(shared(whole, value.bytes()?)),
            6 => output.reason = Some(value.text()?.into()),
            7 => output.rule = Some(value.text()?.into()),
            8 => options.retain = Some(value.number()? != 0),
            9 => options.qos = Some(value.within()?),
            10 => options.captures.push(capture(value.bytes()?)?),
            11..=15 => take_made(options.made.get_or_insert_default(), field, value)?,
            _ => fields.keep(&mut unknown)?,
        }
    }
    options.unknown = unknown.into();
    output.options = (options != SendOptions::default()).then(|| Box::new(options));
    Ok(routed)
}

fn capture(message: &[u8]) -> Result<(Arc<str>, Arc<str>), RecordError> {
    let (mut name, mut text) = (None, None);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => name = Some(value.text()?),
            2 => text = Some(value.text()?),
            _ => {}
        }
    }
    let both = name.zip(text).ok_or(RecordError::Malformed)?;
    Ok((both.0.into(), both.1.into()))
}

fn take_made(made: &mut Made, field: u64, value: Value<'_>) -> Result<(), RecordError> {
    match field {
        11 => made.id = value.text()?.into(),
        12 => made.kind = Some(value.text()?.into()),
        13 => made.time = Some(value.signed()?),
        14 => made.causation_id = Some(value.text()?.into()),
        _ => made.correlation_id = Some(value.text()?.into()),
    }
    Ok(())
}
