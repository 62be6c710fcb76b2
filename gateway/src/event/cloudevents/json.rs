//! CloudEvents as JSON documents, one or a batch of them
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidegate_rules::event::Event;
use tidegate_rules::event::content_type::is_json;

use super::{
    Attribute, SPEC_VERSION, Wrong, bad, base64, complete, of_delivery, of_event, read, within,
};
use crate::event::delivery::Delivery;

/// The content type of one document.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The content type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";
/// Events of one batch that is read.
pub const BATCH_EVENTS_MAX: usize = 1000;

/// What every document of [`structured`] begins with: the rest of a torn one is known by it.
pub const BEGINNING: &str = r#"{"specversion":"1.0","#;

/// A payload as a document holds it.
enum DocumentData<'a> {
    Json(Value),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl DocumentData<'_> {
    /// JSON where it may be that and is, text where it is UTF-8, else bytes.
    fn of(payload: &[u8], may_be_json: bool) -> DocumentData<'_> {
        let json = may_be_json.then(|| serde_json::from_slice(payload).ok());
        match (json.flatten(), std::str::from_utf8(payload)) {
            (Some(value), _) => DocumentData::Json(value),
            (None, Ok(text)) => DocumentData::Text(text),
            (None, Err(_)) => DocumentData::Bytes(payload),
        }
    }

    fn member(self) -> (&'static str, Value) {
        match self {
            DocumentData::Json(value) => ("data", value),
            DocumentData::Text(text) => ("data", text.into()),
            DocumentData::Bytes(bytes) => ("data_base64", base64::encode(bytes).into()),
        }
    }
}

fn members(attributes: Vec<Attribute<'_>>) -> Map<String, Value> {
    let version = [("specversion".to_owned(), SPEC_VERSION.into())];
    let named = attributes.into_iter();
    let named = named.map(|(name, value)| (name.to_owned(), value.into_owned().into()));
    version.into_iter().chain(named).collect()
}

/// A delivery as one document. Without a content type, a payload that parses as JSON is JSON.
pub fn structured(delivery: &Delivery) -> Vec<u8> {
    let event = &delivery.event;
    let mut document = members(of_delivery(delivery));
    document.insert("topic".into(), delivery.topic().into());
    if !event.publisher.is_empty() {
        document.insert("publisher".into(), (*event.publisher).into());
    }
    let declared = event.content_type.as_deref();
    let data = DocumentData::of(delivery.payload(), declared.is_none_or(is_json));
    let content_type = match &data {
        DocumentData::Json(_) => "application/json",
        DocumentData::Text(_) => declared.unwrap_or("text/plain"),
        DocumentData::Bytes(_) => declared.unwrap_or("application/octet-stream"),
    };
    document.insert("datacontenttype".into(), content_type.into());
    let (name, value) = data.member();
    document.insert(name.into(), value);
    document.remove("specversion");
    let others = serde_json::to_vec(&Value::Object(document)).unwrap_or_default();
    [BEGINNING.as_bytes(), others.get(1..).unwrap_or_default()].concat()
}

/// Deliveries as a batch.
pub fn batch(deliveries: &[Delivery]) -> Vec<u8> {
    let documents: Vec<Box<RawValue>> = deliveries
        .iter()
        .filter_map(|delivery| String::from_utf8(structured(delivery)).ok())
        .filter_map(|document| RawValue::from_string(document).ok())
        .collect();
    serde_json::to_vec(&documents).unwrap_or_default()
}

/// A committed event as a document for whoever looks at it: what parses as JSON is shown as such,
/// whatever its content type.
pub fn document(event: &Event) -> Value {
    let mut document = members(of_event(event));
    if let Some(content_type) = &event.content_type {
        document.insert("datacontenttype".into(), (**content_type).into());
    }
    let (name, value) = data_member(&event.data);
    document.insert(name.into(), value);
    Value::Object(document)
}

/// A payload as the member of a document that holds it: JSON where it is JSON, text where it is
/// text, else base64.
pub fn data_member(payload: &[u8]) -> (&'static str, Value) {
    DocumentData::of(payload, true).member()
}

/// The payload of a document, as it stands there.
pub fn data_of_document(document: &Value) -> Option<&Value> {
    document.get("data").or_else(|| document.get("data_base64"))
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
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(document).map_err(|error| {
            Wrong::Bad(format!(
                "it is no JSON object: {error}; it begins with {}",
                beginning(document)
            ))
        })?;
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
    match serde_json::from_str(json) {
        Ok(Value::Null) => Ok(()),
        Ok(Value::String(text)) => read(event, name, &text),
        Ok(Value::Bool(_) | Value::Number(_)) => read(event, name, json),
        Ok(Value::Array(_) | Value::Object(_)) => {
            bad(format!("`{name}` is no text, number or boolean"))
        }
        // Half a surrogate pair, a number without bounds.
        Err(why) => bad(format!("`{name}` cannot be read: {why}")),
    }
}

/// JSON stays byte for byte; text under another content type is the payload itself.
fn data_of(event: &Event, json: &str) -> Bytes {
    let is_json = event.content_type.as_deref().is_none_or(is_json);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_show_as_what_they_are() {
        assert_eq!(
            data_member(b"{\"t\":21.5}"),
            ("data", serde_json::json!({"t": 21.5}))
        );
        assert_eq!(data_member(b"21,5 C"), ("data", "21,5 C".into()));
        assert_eq!(data_member(&[0xff, 0x00]), ("data_base64", "/wA=".into()));
    }
}
