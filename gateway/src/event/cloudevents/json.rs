//! CloudEvents as JSON documents, one or a batch of them
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).
//!
//! What is JSON stands in a document byte for byte, and a reader takes it out so; what is none must not come out as a JSON
//! text. White space around a payload that is JSON is no part of it to other readers; ours finds it ([`space`]).

mod document;
mod raw_members;
mod space;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tidegate_rules::event::content_type::is_json;
use tidegate_rules::event::{Event, ExtensionKind};

use super::{
    Attribute, SPEC_VERSION, Wrong, bad, base64, complete, of_delivery, of_event, read, within,
};
use crate::event::delivery::Delivery;
pub use document::{Document, payload_apart, payload_text};
use raw_members::RawMembers;

/// The content type of one document.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The content type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";
/// Events of one batch that is read.
pub const BATCH_EVENTS_MAX: usize = 1000;

/// What every document of [`structured`] begins with: the rest of a torn one is known by it.
pub const BEGINNING: &str = r#"{"specversion":"1.0","#;

/// Members of a document by their names, each as it is written.
type Members<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// A payload as a document holds it.
enum DocumentData<'a> {
    Json(&'a str),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> DocumentData<'a> {
    /// JSON where it may be that and is, text where no reader takes a text for JSON, else bytes. Without a content type it
    /// may be JSON.
    fn of(payload: &'a [u8], content_type: Option<&str>) -> DocumentData<'a> {
        let declared = content_type.map(is_json);
        match std::str::from_utf8(payload) {
            Ok(text) if declared != Some(false) && is_document(text) => DocumentData::Json(text),
            Ok(text) if declared != Some(true) => DocumentData::Text(text),
            _ => DocumentData::Bytes(payload),
        }
    }

    /// The content type that says so, where none does.
    fn content_type(&self) -> &'static str {
        match self {
            DocumentData::Json(_) => "application/json",
            DocumentData::Text(_) => "text/plain",
            DocumentData::Bytes(_) => "application/octet-stream",
        }
    }

    fn member(self) -> (&'static str, Cow<'a, str>) {
        match self {
            DocumentData::Json(json) => ("data", Cow::Borrowed(json)),
            DocumentData::Text(text) => ("data", Cow::Owned(quoted(text))),
            DocumentData::Bytes(bytes) => {
                ("data_base64", Cow::Owned(quoted(&base64::encode(bytes))))
            }
        }
    }
}

/// Whether a text is one JSON value, whatever number it has in it.
fn is_document(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn members<'a>(event: &Event, attributes: Vec<Attribute<'a>>) -> Members<'a> {
    let json = |name: &str, value: Cow<'a, str>| match is_bare(event, name, &value) {
        true => value,
        false => Cow::Owned(quoted(&value)),
    };
    let named = attributes.into_iter();
    named
        .map(|(name, value)| (name, json(name, value)))
        .collect()
}

/// Whether this is the value of an extension that stands without quotes.
fn is_bare(event: &Event, name: &str, value: &str) -> bool {
    let bare = |kind| matches!(kind, ExtensionKind::Number | ExtensionKind::Boolean);
    let mut named = event.extensions.iter();
    let found = named.any(|it| bare(it.kind) && *it.name == *name && *it.value == *value);
    found && is_document(value)
}

/// A delivery as one document. Without a content type, a payload that parses as JSON is JSON.
pub fn structured(delivery: &Delivery) -> Vec<u8> {
    let event = &delivery.event;
    let mut members = members(event, of_delivery(delivery));
    members.insert("topic", Cow::Owned(quoted(delivery.topic())));
    if !event.publisher.is_empty() {
        members.insert("publisher", Cow::Owned(quoted(&event.publisher)));
    }
    let declared = event.content_type.as_deref();
    let is_there = delivery.output.data.is_some() || !event.without_data;
    let data = is_there.then(|| DocumentData::of(delivery.payload(), declared));
    let content_type = declared.or(data.as_ref().map(DocumentData::content_type));
    members.extend(content_type.map(|it| ("datacontenttype", Cow::Owned(quoted(it)))));
    members.extend(data.map(DocumentData::member));
    let bytes: usize = members
        .iter()
        .map(|(name, json)| name.len() + json.len() + 4)
        .sum();
    let mut document = Vec::with_capacity(BEGINNING.len() + bytes);
    document.extend_from_slice(BEGINNING.as_bytes());
    for (place, (name, json)) in members.iter().enumerate() {
        if place > 0 {
            document.push(b',');
        }
        document.extend_from_slice(quoted(name).as_bytes());
        document.push(b':');
        document.extend_from_slice(json.as_bytes());
    }
    document.push(b'}');
    document
}

/// A delivery as one document on a line of its own: ends of lines between the tokens of a payload become spaces.
pub fn line(delivery: &Delivery) -> Vec<u8> {
    let mut line = structured(delivery);
    on_one_line(&mut line);
    line.push(b'\n');
    line
}

/// Makes spaces of the ends of lines in JSON, which stand nowhere but between tokens.
pub fn on_one_line(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

/// Deliveries as a batch.
pub fn batch(deliveries: &[Delivery]) -> Vec<u8> {
    let documents: Vec<Vec<u8>> = deliveries.iter().map(structured).collect();
    [b"[", &*documents.join(&b','), b"]"].concat()
}

/// The first bytes of what cannot be read, escaped: mostly they tell what it is.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    const BYTES_MAX: usize = 40;
    let shown = bytes.get(..BYTES_MAX).unwrap_or(bytes).escape_ascii();
    match bytes.len() {
        0 => "nothing: it is empty".to_owned(),
        len if len > BYTES_MAX => format!("\"{shown}\"…"),
        _ => format!("\"{shown}\""),
    }
}

/// One event from a JSON document; `template` has what the document does not say.
///
/// # Errors
/// What is wrong, and where.
pub fn read_structured(document: &[u8], template: &Event) -> Result<Event, Wrong> {
    let members: RawMembers<'_> = serde_json::from_slice(document).map_err(|error| {
        Wrong::Bad(format!(
            "it is no JSON object: {error}; it begins with {}",
            beginning(document)
        ))
    })?;
    let RawMembers {
        by_name: members,
        twice,
    } = members;
    complete(members.keys().map(String::as_str))?;
    let mut event = template.clone();
    event.content_type = None;
    for (name, value) in &members {
        match name.as_str() {
            "data" | "data_base64" => {}
            _ => member(&mut event, name, value.get())?,
        }
    }
    let (data, encoded) = (members.get("data"), members.get("data_base64"));
    let encoded = encoded.filter(|encoded| encoded.get() != "null");
    event.without_data = data.is_none() && encoded.is_none();
    event.data = match (data, encoded) {
        (Some(_), Some(_)) => return bad("it has both `data` and `data_base64`"),
        (Some(data), None) => data_of(&event, document, data.get())?,
        (None, Some(text)) => decoded(text.get())?,
        (None, None) => Bytes::new(),
    };
    if data.is_some() && event.content_type.is_none() {
        event.content_type = Some("application/json".into());
    }
    match twice {
        None => Ok(event),
        Some(name) => bad(format!("`{name:.100}` stands there twice")),
    }
}

fn member(event: &mut Event, name: &str, json: &str) -> Result<(), Wrong> {
    let kind = match json.as_bytes().first() {
        Some(b'n') => return Ok(()),
        Some(b'{' | b'[') => return bad(format!("`{name}` is no text, number or boolean")),
        Some(b'"') => {
            // Half a surrogate pair is no text.
            let text: String = serde_json::from_str(json)
                .map_err(|why| Wrong::Bad(format!("`{name}` cannot be read: {why}")))?;
            return read(event, name, &text);
        }
        Some(b't' | b'f') => ExtensionKind::Boolean,
        _ => ExtensionKind::Number,
    };
    read(event, name, json)?;
    let read = event.extensions.last_mut();
    if let Some(extension) = read.filter(|extension| *extension.name == *name) {
        extension.kind = kind;
    }
    Ok(())
}

/// JSON stays byte for byte, with the white space around it that is its own; text under another content type is the payload
/// itself.
fn data_of(event: &Event, document: &[u8], json: &str) -> Result<Bytes, Wrong> {
    let is_json = event.content_type.as_deref().is_none_or(is_json);
    match serde_json::from_str::<String>(json) {
        Ok(text) if !is_json => Ok(text.into()),
        Err(_) if !is_json && json.starts_with('"') => {
            bad("`data` is no text: it has half a surrogate pair in it")
        }
        _ => {
            let document = std::str::from_utf8(document).unwrap_or_default();
            let json = space::with_its_own(document, json);
            Ok(Bytes::copy_from_slice(json.as_bytes()))
        }
    }
}

fn decoded(json: &str) -> Result<Bytes, Wrong> {
    let text = serde_json::from_str::<String>(json).ok();
    match text.and_then(|text| base64::decode(text.as_bytes())) {
        Some(bytes) => Ok(bytes.into()),
        None => bad("`data_base64` is no base64 text"),
    }
}

/// All events of a batch, in order.
///
/// # Errors
/// What is wrong, and in which element, counted from 0.
pub fn read_batch(
    document: &[u8],
    template: &Event,
    payload_bytes_max: usize,
) -> Result<Vec<Event>, Wrong> {
    let elements: Vec<&RawValue> = serde_json::from_slice(document).map_err(|error| {
        Wrong::Bad(format!(
            "it is no JSON array: {error}; it begins with {}",
            beginning(document)
        ))
    })?;
    if elements.len() > BATCH_EVENTS_MAX {
        let count = elements.len();
        return Err(Wrong::TooLarge(format!(
            "a batch of {count} events is over {BATCH_EVENTS_MAX}"
        )));
    }
    let read = |(place, element): (usize, &&RawValue)| {
        read_structured(element.get().as_bytes(), template)
            .and_then(|event| within(event, payload_bytes_max))
            .map_err(|wrong| wrong.at(&format!("element {place}")))
    };
    elements.iter().enumerate().map(read).collect()
}
