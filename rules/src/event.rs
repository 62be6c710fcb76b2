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
#[derive(Debug, Clone, PartialEq)]
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
    pub time: Option<UnixMs>,
    /// When the gateway received it.
    pub received: UnixMs,
    /// CloudEvents `datacontenttype`, such as `application/json`.
    pub content_type: Option<Arc<str>>,
    /// CloudEvents `dataschema`.
    pub schema: Option<Arc<str>>,
    /// Extension attributes in the order they came: `traceparent`, `sequence`, `partitionkey`, …
    pub extensions: Vec<(Arc<str>, Arc<str>)>,
    /// The payload, exactly as it came.
    pub data: Bytes,
}

impl Event {
    /// When it happened: the sender's time, else the time of arrival.
    pub fn happened(&self) -> UnixMs {
        self.time.unwrap_or(self.received)
    }

    /// The value of an extension attribute.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions
            .iter()
            .find(|(key, _)| &**key == name)
            .map(|(_, value)| &**value)
    }
}
