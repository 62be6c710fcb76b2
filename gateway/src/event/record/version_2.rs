//! Version 2 of the stored form: one message of Protocol Buffers behind the version.
//!
//! ```proto
//! message Record {
//!   // The attributes, in any order.
//!   string id = 1;            // or, where it has the form of one that a gateway made, "0123456789abcdef-42":
//!   fixed64 id_start = 2;     //   its first part,
//!   uint64 id_number = 3;     //   and its second
//!   sint64 received = 4;      // milliseconds since 1970, as all times
//!   string source = 5;
//!   string type = 6;
//!   string topic = 7;
//!   string publisher = 8;
//!   sint64 time = 9;
//!   string time_text = 10;    // as the sender wrote it, where that says more
//!   string subject = 11;
//!   string datacontenttype = 12;
//!   repeated Extension extension = 13;
//!   string dataschema = 16;
//!   bool without_data = 17;
//!   // Of a publish of MQTT:
//!   bool retain = 18;
//!   uint32 payload_format = 19;
//!   string response_topic = 20;
//!   bytes correlation_data = 21;
//!   uint32 expiry_s = 22;
//!   uint64 expiry_running_ms = 23;
//!   bool expiry_clock_trusted = 24;
//!   // Behind them.
//!   repeated Output output = 14;
//!   // The last field, and always there: what is cut off ends without it.
//!   bytes data = 15;
//! }
//! message Extension { string name = 1; string value = 2; uint32 kind = 3; }  // kinds as `ExtensionKind` numbers them
//! message Output {
//!   uint32 lane = 1;          // 0 where it is left out, as all numbers
//!   uint32 priority = 2;      // one more than its number; left out for `normal`
//!   string topic = 3; string key = 4; bytes data = 5; string reason = 6; string rule = 7;
//!   bool retain = 8; uint32 qos = 9; repeated Capture capture = 10;
//!   // Of an event that a rule made:
//!   string id = 11; string type = 12; sint64 time = 13; string causationid = 14; string correlationid = 15;
//! }
//! message Capture { string name = 1; string value = 2; }
//! ```
//!
//! Fields that are not known are passed by, and kept where the event or the output is written again. A later release
//! that adds one adds it to the record or to the output, and writes it before the outputs or in one. What makes two records alike comes in one piece and what tells them
//! apart in another, so that a block of them compresses well.

mod output;

use std::sync::Arc;

use bytes::Bytes;
use tidegate_rules::event::{Event, EventTime, Extension, ExtensionKind, MqttProperties};

use super::wire::{Fields, PutFields, Value, shared};
use super::{Record, RecordError, Routed, SharedTexts, share};

const ID: u64 = 1;
const ID_START: u64 = 2;
const ID_NUMBER: u64 = 3;
const RECEIVED: u64 = 4;
const SOURCE: u64 = 5;
const TYPE: u64 = 6;
const TOPIC: u64 = 7;
const PUBLISHER: u64 = 8;
const TIME: u64 = 9;
const TIME_TEXT: u64 = 10;
const SUBJECT: u64 = 11;
const CONTENT_TYPE: u64 = 12;
const EXTENSION: u64 = 13;
const OUTPUT: u64 = 14;
const DATA: u64 = 15;
const SCHEMA: u64 = 16;
const WITHOUT_DATA: u64 = 17;
const RETAIN: u64 = 18;
const PAYLOAD_FORMAT: u64 = 19;
const RESPONSE_TOPIC: u64 = 20;
const CORRELATION_DATA: u64 = 21;
const EXPIRY: u64 = 22;
const EXPIRY_RUNNING: u64 = 23;
const EXPIRY_CLOCK_TRUSTED: u64 = 24;

/// Digits of the first part of an id that a gateway made.
const START_DIGITS: usize = 16;

/// Appends the message.
pub(super) fn encode(event: &Event, outputs: &[Routed], buffer: &mut Vec<u8>) {
    match minted(&event.id) {
        Some((start, number)) => {
            buffer.put_varint(ID_NUMBER, number);
            buffer.put_signed(RECEIVED, event.received);
            buffer.put_fixed64(ID_START, start);
        }
        None => {
            buffer.put_bytes(ID, event.id.as_bytes());
            buffer.put_signed(RECEIVED, event.received);
        }
    }
    buffer.put_bytes(SOURCE, event.source.as_bytes());
    buffer.put_bytes(TYPE, event.kind.as_bytes());
    buffer.put_bytes(TOPIC, event.topic.as_bytes());
    buffer.put_bytes(PUBLISHER, event.publisher.as_bytes());
    if let Some(time) = &event.time {
        buffer.put_signed(TIME, time.ms);
        buffer.put_text(TIME_TEXT, time.text.as_deref());
    }
    buffer.put_text(SUBJECT, event.subject.as_deref());
    buffer.put_text(CONTENT_TYPE, event.content_type.as_deref());
    for extension in &event.extensions {
        buffer.put_message(EXTENSION, |inner| put_extension(extension, inner));
    }
    buffer.put_text(SCHEMA, event.schema.as_deref());
    if event.without_data {
        buffer.put_varint(WITHOUT_DATA, 1);
    }
    if let Some(mqtt) = &event.mqtt {
        put_mqtt(mqtt, buffer);
    }
    buffer.extend_from_slice(&event.unknown);
    for routed in outputs {
        buffer.put_message(OUTPUT, |inner| output::put(routed, inner));
    }
    buffer.put_bytes(DATA, &event.data);
}

fn put_extension(extension: &Extension, buffer: &mut Vec<u8>) {
    buffer.put_bytes(1, extension.name.as_bytes());
    buffer.put_bytes(2, extension.value.as_bytes());
    if extension.kind != ExtensionKind::Text {
        buffer.put_varint(3, extension.kind as u64);
    }
}

fn put_mqtt(mqtt: &MqttProperties, buffer: &mut Vec<u8>) {
    if mqtt.retain {
        buffer.put_varint(RETAIN, 1);
    }
    if let Some(format) = mqtt.payload_format {
        buffer.put_varint(PAYLOAD_FORMAT, format.into());
    }
    buffer.put_text(RESPONSE_TOPIC, mqtt.response_topic.as_deref());
    if let Some(correlation_data) = &mqtt.correlation_data {
        buffer.put_bytes(CORRELATION_DATA, correlation_data);
    }
    if let Some(expiry) = &mqtt.expiry {
        buffer.put_varint(EXPIRY, expiry.seconds.into());
        buffer.put_varint(EXPIRY_RUNNING, expiry.running_ms);
        buffer.put_varint(EXPIRY_CLOCK_TRUSTED, expiry.clock_trusted.into());
    }
}

/// The parts of an id that a gateway made, where that is exactly its form.
fn minted(id: &str) -> Option<(u64, u64)> {
    let (start, number) = id.split_at_checked(START_DIGITS)?;
    let number = number.strip_prefix('-')?;
    let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let is_number = number.bytes().all(|b| b.is_ascii_digit());
    let is_short = number == "0" || !number.starts_with('0');
    if !start.bytes().all(is_lower_hex) || !is_number || !is_short {
        return None;
    }
    Some((u64::from_str_radix(start, 16).ok()?, number.parse().ok()?))
}

/// Reads the message behind the version in `bytes`.
pub(super) fn decode(bytes: &Bytes, texts: &mut SharedTexts) -> Result<Record, RecordError> {
    let mut fields = Fields::of(&bytes[1..]);
    let mut reading = Reading::default();
    let mut outputs = Vec::new();
    while let Some((field, value)) = fields.next_field()? {
        match field {
            OUTPUT => outputs.push(output::read(value.bytes()?, bytes)?),
            DATA => {
                let mut event = reading.event()?;
                event.data = shared(bytes, value.bytes()?);
                return match fields.next_field()? {
                    None => Ok(Record {
                        event: Arc::new(event),
                        outputs,
                    }),
                    Some(_) => Err(RecordError::Malformed),
                };
            }
            field => reading.take(field, value, &fields, texts)?,
        }
    }
    Err(RecordError::Malformed)
}

/// The attributes of an event, from the beginning of the message.
pub(super) fn attributes(beginning: &[u8]) -> Result<Event, RecordError> {
    let mut texts = SharedTexts::default();
    let mut reading = Reading::default();
    let mut fields = Fields::of(beginning);
    loop {
        if let Some(OUTPUT | DATA) = fields.peek() {
            return reading.event();
        }
        match fields.next_field()? {
            Some((field, value)) => reading.take(field, value, &fields, &mut texts)?,
            None => return Err(RecordError::Malformed),
        }
    }
}

/// The source of the event.
pub(super) fn source(beginning: &[u8]) -> Option<&str> {
    let mut fields = Fields::of(beginning);
    loop {
        match fields.next_field().ok()?? {
            (SOURCE, value) => return value.text().ok(),
            (OUTPUT | DATA, _) => return None,
            _ => {}
        }
    }
}

/// An event as far as its fields were read.
#[derive(Default)]
struct Reading {
    event: Event,
    start: Option<u64>,
    number: Option<u64>,
    time_text: Option<Arc<str>>,
    unknown: Vec<u8>,
}

impl Reading {
    fn take(
        &mut self,
        field: u64,
        value: Value<'_>,
        fields: &Fields<'_>,
        texts: &mut SharedTexts,
    ) -> Result<(), RecordError> {
        let event = &mut self.event;
        match field {
            ID => event.id = value.text()?.into(),
            ID_START => self.start = Some(value.number()?),
            ID_NUMBER => self.number = Some(value.number()?),
            RECEIVED => event.received = value.signed()?,
            SOURCE => event.source = share(&mut texts.source, value.text()?),
            TYPE => event.kind = share(&mut texts.kind, value.text()?),
            TOPIC => event.topic = share(&mut texts.topic, value.text()?),
            PUBLISHER => event.publisher = share(&mut texts.publisher, value.text()?),
            TIME => event.time = Some(EventTime::from(value.signed()?)),
            TIME_TEXT => self.time_text = Some(value.text()?.into()),
            SUBJECT => event.subject = Some(value.text()?.into()),
            CONTENT_TYPE => event.content_type = Some(value.text()?.into()),
            EXTENSION => event.extensions.push(extension(value.bytes()?)?),
            SCHEMA => event.schema = Some(value.text()?.into()),
            WITHOUT_DATA => event.without_data = value.number()? != 0,
            RETAIN..=EXPIRY_CLOCK_TRUSTED => {
                let mqtt = event.mqtt.get_or_insert_default();
                take_mqtt(mqtt, field, value)?;
            }
            _ => fields.keep(&mut self.unknown)?,
        }
        Ok(())
    }

    fn event(self) -> Result<Event, RecordError> {
        let mut event = self.event;
        match (self.start, self.number) {
            (Some(start), Some(number)) => event.id = format!("{start:016x}-{number}").into(),
            (None, None) => {}
            _ => return Err(RecordError::Malformed),
        }
        if let (Some(time), text) = (&mut event.time, self.time_text) {
            time.text = text;
        }
        event.unknown = self.unknown.into();
        Ok(event)
    }
}

fn take_mqtt(mqtt: &mut MqttProperties, field: u64, value: Value<'_>) -> Result<(), RecordError> {
    match field {
        RETAIN => mqtt.retain = value.number()? != 0,
        PAYLOAD_FORMAT => mqtt.payload_format = Some(value.within()?),
        RESPONSE_TOPIC => mqtt.response_topic = Some(value.text()?.into()),
        CORRELATION_DATA => mqtt.correlation_data = Some(Bytes::copy_from_slice(value.bytes()?)),
        _ => {
            let expiry = mqtt.expiry.get_or_insert_default();
            match field {
                EXPIRY => expiry.seconds = value.within()?,
                EXPIRY_RUNNING => expiry.running_ms = value.number()?,
                _ => expiry.clock_trusted = value.number()? != 0,
            }
        }
    }
    Ok(())
}

fn extension(message: &[u8]) -> Result<Extension, RecordError> {
    let (mut name, mut text, mut kind) = (None, None, 0);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => name = Some(value.text()?),
            2 => text = Some(value.text()?),
            3 => kind = value.number()?,
            _ => {}
        }
    }
    let kinds = [
        ExtensionKind::Text,
        ExtensionKind::Number,
        ExtensionKind::Boolean,
        ExtensionKind::Property,
    ];
    let kind = kinds.into_iter().find(|known| *known as u64 == kind);
    let (Some(name), Some(text)) = (name, text) else {
        return Err(RecordError::Malformed);
    };
    Ok(Extension {
        name: name.into(),
        value: text.into(),
        kind: kind.ok_or(RecordError::Malformed)?,
    })
}
