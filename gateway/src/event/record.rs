//! The stored form of an event and all its consequences, versioned.
//!
//! # Bytes
//!
//! ```text
//! version: u8 = 2 │ a message of Protocol Buffers, which `version_2` defines
//! ```
//!
//! Payloads are never re-encoded. Version 1 is read as well. A reader refuses versions it does not know, so that an
//! older gateway leaves a newer store untouched. Frozen examples lie beside `tests`.

pub mod tags;
mod version_1;
mod version_2;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tidegate_rules::decision::Output;
use tidegate_rules::event::Event;
use tidegate_store::LaneId;

/// The version this gateway writes; it reads those before as well.
pub const VERSION: u8 = 2;

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
                "the record has version {version}, this gateway reads versions 1 to {VERSION}; run the gateway that wrote it"
            ),
            RecordError::Malformed => f.write_str(
                "the record does not hold what its head says; `tidegate store verify` shows the extent",
            ),
        }
    }
}

impl std::error::Error for RecordError {}

/// Appends the stored form to `buffer`.
///
/// Payloads above 4 GiB cannot occur: every source bounds them far below.
pub fn encode(event: &Event, outputs: &[Routed], buffer: &mut Vec<u8>) {
    buffer.push(VERSION);
    version_2::encode(event, outputs, buffer);
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
    match bytes.first() {
        Some(1) => version_1::decode(bytes, texts),
        Some(2) => version_2::decode(bytes, texts),
        Some(version) => Err(RecordError::Version(*version)),
        None => Err(RecordError::Malformed),
    }
}

/// The attributes of an event, from the beginning of its record: the rest need not be there. It has no data.
///
/// # Errors
/// As [`decode`]; the beginning may be too short.
pub fn attributes(bytes: &[u8]) -> Result<Event, RecordError> {
    match bytes.split_first() {
        Some((1, behind)) => version_1::attributes(behind),
        Some((2, behind)) => version_2::attributes(behind),
        Some((version, _)) => Err(RecordError::Version(*version)),
        None => Err(RecordError::Malformed),
    }
}

/// The source of a stored event, read without the rest; empty where the bytes are no record.
pub fn source(bytes: &[u8]) -> &str {
    let source = match bytes.split_first() {
        Some((1, behind)) => version_1::source(behind),
        Some((2, behind)) => version_2::source(behind),
        _ => None,
    };
    source.unwrap_or_default()
}
