//! The event: CloudEvents 1.0 attributes around an untouched payload.
//!
//! An event is immutable. A rule that changes a payload produces an [`crate::decision::Output`]
//! with a payload of its own; the event itself stays as it arrived.

pub mod content_type;
pub(crate) mod json;

use std::sync::Arc;

use bytes::Bytes;

/// Milliseconds since the Unix epoch, as the gateway's clock or the sender gave them.
pub type UnixMs = i64;

/// One event as it arrived, or as the gateway itself raised it.
///
/// Attribute names and meanings follow CloudEvents 1.0
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// CloudEvents `id`: unique together with `source`.
    pub id: Arc<str>,
    /// CloudEvents `source`: `<gateway id>/<source name>`, or what the sender gave.
    pub source: Arc<str>,
    /// CloudEvents `type`: the kind of happening. System events start with `dev.tidegate.`.
    pub kind: Arc<str>,
    /// CloudEvents `subject`, where the sender gave one.
    pub subject: Option<Arc<str>>,
    /// The topic it was published under: levels divided by `/`, no wildcards.
    pub topic: Arc<str>,
    /// Who published it at the source: the MQTT client id, the device id, the HTTP user.
    /// Order is kept per (`source`, `publisher`).
    pub publisher: Arc<str>,
    /// CloudEvents `time`: when it happened, where the sender said so.
    pub time: Option<EventTime>,
    /// When the gateway received it.
    pub received: UnixMs,
    /// CloudEvents `datacontenttype`, such as `application/json`.
    pub content_type: Option<Arc<str>>,
    /// CloudEvents `dataschema`.
    pub schema: Option<Arc<str>>,
    /// Extension attributes in the order they came: `traceparent`, `sequence`, `partitionkey`, …; among them, in their
    /// places, the user properties of MQTT 5 that are none.
    pub extensions: Vec<Extension>,
    /// What a publish of MQTT said beside, where it said anything.
    pub mqtt: Option<Box<MqttProperties>>,
    /// It has no data at all; an empty payload is one.
    pub without_data: bool,
    /// The payload, exactly as it came.
    pub data: Bytes,
    /// Fields of the stored form that this release does not know, as they are there.
    pub unknown: Bytes,
}

/// When something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTime {
    /// Rounded down to milliseconds.
    pub ms: UnixMs,
    /// As the sender wrote it, where that says more: digits below a millisecond, an offset.
    pub text: Option<Arc<str>>,
}

impl From<UnixMs> for EventTime {
    fn from(ms: UnixMs) -> EventTime {
        EventTime { ms, text: None }
    }
}

/// An extension attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its name; that of a property may be any text.
    pub name: Arc<str>,
    /// Its value, as JSON writes it where it is a number or a boolean.
    pub value: Arc<str>,
    /// What the value is.
    pub kind: ExtensionKind,
}

impl Extension {
    /// A text under a name.
    pub fn text(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Extension {
        Extension {
            name: name.into(),
            value: value.into(),
            kind: ExtensionKind::Text,
        }
    }
}

/// What the value of an extension is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum ExtensionKind {
    /// Text, as every value is in MQTT and HTTP.
    #[default]
    Text = 0,
    /// A number in a JSON document.
    Number = 1,
    /// `true` or `false` in a JSON document.
    Boolean = 2,
    /// A user property of MQTT 5 that is no attribute: its name is none of CloudEvents, or has stood before.
    Property = 3,
}

/// Properties of a publish, beside those of the user (MQTT 5, section 3.3.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MqttProperties {
    /// Whether it was a retained message, or asked to be one.
    pub retain: bool,
    /// Payload Format Indicator: 0 for bytes, 1 for UTF-8.
    pub payload_format: Option<u8>,
    /// Where an answer is awaited.
    pub response_topic: Option<Arc<str>>,
    /// What an answer must bear.
    pub correlation_data: Option<Bytes>,
    /// How long it is worth sending.
    pub expiry: Option<Expiry>,
}

/// How long a message is worth sending, counted from its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expiry {
    /// Message Expiry Interval at its arrival, in seconds.
    pub seconds: u32,
    /// The store's running time at its arrival, in milliseconds.
    pub running_ms: u64,
    /// Whether the wall clock could be trusted then.
    pub clock_trusted: bool,
}

impl Event {
    /// When it happened: the sender's time, else the time of arrival.
    pub fn happened(&self) -> UnixMs {
        self.time.as_ref().map_or(self.received, |time| time.ms)
    }

    /// The value of an extension attribute.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions
            .iter()
            .find(|extension| *extension.name == *name && extension.kind != ExtensionKind::Property)
            .map(|extension| &*extension.value)
    }

    /// Gives an extension this text, in place of what it had.
    pub fn set_extension(&mut self, name: &str, value: &str) {
        self.remove_extension(name);
        self.extensions.push(Extension::text(name, value));
    }

    /// Takes an extension attribute away; properties stay.
    pub fn remove_extension(&mut self, name: &str) {
        self.extensions.retain(|extension| {
            *extension.name != *name || extension.kind == ExtensionKind::Property
        });
    }
}
