//! An event as a document for whoever looks at it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use tidegate_rules::event::Event;
use tidegate_rules::event::content_type::is_json;

use super::{DocumentData, SPEC_VERSION, base64, is_document, members, of_event, quoted};

/// A CloudEvents document: its members in their order, each as it is written.
#[derive(Debug, Clone)]
pub struct Document {
    members: Vec<(String, Box<RawValue>)>,
}

impl Document {
    /// A committed event. JSON is shown as such whatever its content type, where no reader would take it for something
    /// else.
    pub fn of(event: &Event) -> Document {
        let mut members = members(event, of_event(event));
        members.insert("specversion", Cow::Owned(quoted(SPEC_VERSION)));
        let declared = event.content_type.as_deref();
        let data = (!event.without_data).then(|| shown(&event.data, declared));
        let content_type = match &data {
            // Without it, a text would be one of JSON.
            Some(text @ DocumentData::Text(_)) => Some(declared.unwrap_or(text.content_type())),
            _ => declared,
        };
        members.extend(content_type.map(|it| ("datacontenttype", Cow::Owned(quoted(it)))));
        members.extend(data.map(DocumentData::member));
        let raw = |(name, json): (&str, Cow<'_, str>)| {
            let json = RawValue::from_string(json.into_owned()).ok()?;
            Some((name.to_owned(), json))
        };
        Document {
            members: members.into_iter().filter_map(raw).collect(),
        }
    }

    /// Names and values as people read them: texts without quotes. The payload is not among them.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let others = self.members.iter();
        let others = others.filter(|(name, _)| !matches!(&**name, "data" | "data_base64"));
        others.map(|(name, json)| (&**name, unquoted(json.get())))
    }

    /// An attribute as people read it; empty where it is absent.
    pub fn attribute(&self, name: &str) -> Cow<'_, str> {
        let mut attributes = self.attributes();
        let found = attributes.find(|(known, _)| *known == name);
        found.map_or(Cow::Borrowed(""), |(_, value)| value)
    }

    /// The payload as people read it: JSON as it is written, text, or base64 of bytes; `None` where there is none.
    pub fn payload(&self) -> Option<Cow<'_, str>> {
        let (name, json) = self
            .members
            .iter()
            .find(|(name, _)| matches!(&**name, "data" | "data_base64"))?;
        let content_type = self.attribute("datacontenttype");
        let is_json = content_type.is_empty() || is_json(&content_type);
        Some(match &**name {
            "data" if is_json => Cow::Borrowed(json.get()),
            "data" => unquoted(json.get()),
            _ => text_of(unquoted(json.get())),
        })
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.members.iter().map(|(name, json)| (name, json)))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvents document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Document { members })
    }
}

/// A payload beside a document: as JSON or text, else as base64.
pub fn payload_apart(
    payload: &[u8],
    content_type: Option<&str>,
) -> (Option<Box<RawValue>>, Option<String>) {
    match shown(payload, content_type) {
        DocumentData::Bytes(bytes) => (None, Some(base64::encode(bytes))),
        data => (
            RawValue::from_string(data.member().1.into_owned()).ok(),
            None,
        ),
    }
}

/// What [`payload_apart`] gave, as people read it.
pub fn payload_text<'p>(
    data: Option<&'p RawValue>,
    encoded: Option<&'p str>,
) -> Option<Cow<'p, str>> {
    let data = data.map(|json| Cow::Borrowed(json.get()));
    data.or_else(|| encoded.map(|text| text_of(Cow::Borrowed(text))))
}

/// JSON under another content type is recognised by readers unless it is a text; white space around it belongs to it.
fn shown<'a>(payload: &'a [u8], content_type: Option<&str>) -> DocumentData<'a> {
    let is_plain = |text: &&str| {
        let is_text = text.starts_with('"');
        !is_text && text.trim_ascii().len() == text.len() && is_document(text)
    };
    match std::str::from_utf8(payload).ok().filter(is_plain) {
        Some(text) => DocumentData::Json(text),
        None => DocumentData::of(payload, content_type),
    }
}

/// The text that JSON stands for, and JSON that is no text as it is.
fn unquoted(json: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(json),
    }
}

/// The text that base64 stands for, or the base64 of other bytes.
fn text_of(encoded: Cow<'_, str>) -> Cow<'_, str> {
    let bytes = base64::decode(encoded.as_bytes());
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Cow::Owned(text),
        None => encoded,
    }
}
