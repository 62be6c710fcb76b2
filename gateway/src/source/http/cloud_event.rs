//! CloudEvents as they are posted: one attribute, one JSON document, a batch of them
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>). Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tidegate_rules::event::Event;

use super::base64;

/// Events of one batch.
pub const BATCH_EVENTS_MAX: usize = 1000;
/// Extension attributes of one event.
const EXTENSIONS_MAX: usize = 32;
/// The longest value of an attribute, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Why a post is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Where and what, in words.
    Bad(String),
    /// Over a limit, in words.
    TooLarge(String),
}

fn bad<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Bad(what.into()))
}

/// Sets one attribute of an event, by its CloudEvents name.
///
/// # Errors
/// What is wrong with the name or the value.
pub fn attribute(event: &mut Event, name: &str, value: &str) -> Result<(), Wrong> {
    if value.len() > VALUE_BYTES_MAX {
        return bad(format!("`{name}` is longer than {VALUE_BYTES_MAX} bytes"));
    }
    if value.is_empty() {
        return bad(format!("`{name}` is empty"));
    }
    match name {
        "specversion" if value == "1.0" => {}
        "specversion" => return bad(format!("`specversion` is {value:?}, not \"1.0\"")),
        "id" => event.id = value.into(),
        "source" => event.source = value.into(),
        "type" => event.kind = value.into(),
        "subject" => event.subject = Some(value.into()),
        "topic" => event.topic = value.into(),
        "publisher" => event.publisher = value.into(),
        "time" => match value.parse::<jiff::Timestamp>() {
            Ok(time) => event.time = Some(time.as_millisecond()),
            Err(_) => return bad(format!("`time` is {value:?}, not an RFC 3339 time")),
        },
        "datacontenttype" => event.content_type = Some(value.into()),
        "dataschema" => event.schema = Some(value.into()),
        _ => return extension(event, name, value),
    }
    Ok(())
}

fn extension(event: &mut Event, name: &str, value: &str) -> Result<(), Wrong> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if name.is_empty() || name.len() > 20 || !name.bytes().all(plain) {
        return bad(format!(
            "{name:?} is no name of an attribute: up to 20 lower-case letters and digits"
        ));
    }
    if event.extensions.len() >= EXTENSIONS_MAX {
        return bad(format!("it has more than {EXTENSIONS_MAX} extensions"));
    }
    event.extensions.push((Arc::from(name), Arc::from(value)));
    Ok(())
}

/// Checks what every CloudEvent must have, by the names that were set.
///
/// # Errors
/// Which attribute is missing.
pub fn complete<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Wrong> {
    let mut missing = vec!["specversion", "id", "source", "type"];
    names.for_each(|name| missing.retain(|needed| *needed != name));
    match missing.first() {
        None => Ok(()),
        Some(name) => bad(format!("the attribute `{name}` is missing")),
    }
}

/// One event from a JSON document; `template` has what the document does not say.
///
/// # Errors
/// What is wrong, and where.
pub fn structured(document: &[u8], template: &Event) -> Result<Event, Wrong> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(document)
        .map_err(|error| Wrong::Bad(format!("it is no JSON object: {error}")))?;
    complete(members.keys().map(String::as_str))?;
    let mut event = template.clone();
    event.content_type = None;
    for (name, value) in &members {
        match name.as_str() {
            "data" | "data_base64" => {}
            _ => member(&mut event, name, value.get())?,
        }
    }
    event.data = match (members.get("data"), members.get("data_base64")) {
        (Some(_), Some(_)) => return bad("it has both `data` and `data_base64`"),
        (Some(data), None) => data_of(&event, data.get()),
        (None, Some(text)) => encoded(text.get())?,
        (None, None) => Bytes::new(),
    };
    if members.contains_key("data") && event.content_type.is_none() {
        event.content_type = Some("application/json".into());
    }
    Ok(event)
}

fn member(event: &mut Event, name: &str, json: &str) -> Result<(), Wrong> {
    use serde_json::Value;
    match serde_json::from_str(json) {
        Ok(Value::Null) => Ok(()),
        Ok(Value::String(text)) => attribute(event, name, &text),
        Ok(Value::Bool(_) | Value::Number(_)) => attribute(event, name, json),
        _ => bad(format!("`{name}` is no text, number or boolean")),
    }
}

/// JSON stays byte for byte; text under another content type is the payload itself.
fn data_of(event: &Event, json: &str) -> Bytes {
    let kind = event.content_type.as_deref().unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_json = kind.ends_with("/json") || kind.ends_with("+json");
    match serde_json::from_str::<String>(json) {
        Ok(text) if !is_json => text.into(),
        _ => Bytes::copy_from_slice(json.as_bytes()),
    }
}

fn encoded(json: &str) -> Result<Bytes, Wrong> {
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
pub fn batch(
    document: &[u8],
    template: &Event,
    payload_bytes_max: usize,
) -> Result<Vec<Event>, Wrong> {
    let elements: Vec<&RawValue> = serde_json::from_slice(document)
        .map_err(|error| Wrong::Bad(format!("it is no JSON array: {error}")))?;
    if elements.len() > BATCH_EVENTS_MAX {
        let count = elements.len();
        return Err(Wrong::TooLarge(format!(
            "a batch of {count} events is over {BATCH_EVENTS_MAX}"
        )));
    }
    let read = |(place, element): (usize, &&RawValue)| {
        structured(element.get().as_bytes(), template)
            .and_then(|event| within(event, payload_bytes_max))
            .map_err(|wrong| wrong.at(&format!("element {place}")))
    };
    elements.iter().enumerate().map(read).collect()
}

/// The event, if its payload is within `max_payload`.
///
/// # Errors
/// How large it is.
pub fn within(event: Event, payload_bytes_max: usize) -> Result<Event, Wrong> {
    let bytes = event.data.len();
    match bytes <= payload_bytes_max {
        true => Ok(event),
        false => Err(Wrong::TooLarge(format!(
            "a payload of {bytes} bytes is over max_payload = {payload_bytes_max}"
        ))),
    }
}

impl Wrong {
    /// The same, with where it is in front.
    pub fn at(self, place: &str) -> Wrong {
        match self {
            Wrong::Bad(what) => Wrong::Bad(format!("{place}: {what}")),
            Wrong::TooLarge(what) => Wrong::TooLarge(format!("{place}: {what}")),
        }
    }
}
