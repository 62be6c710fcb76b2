//! Events as CloudEvents 1.0 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>):
//! the attributes by their names, in the one order in which all bindings write them, and back.
//!
//! | file | binding |
//! |---|---|
//! | `json` | one JSON document, or a batch of them |
//! | `http` | attributes in headers, the payload as the body |
//! | `mqtt` | attributes in user properties of MQTT 5, the payload as it is |
//! | `base64` | bytes in a JSON document, and in HTTP basic |
//!
//! `datacontenttype` is not among the attributes written: every protocol has a place for it.

pub mod base64;
pub mod http;
pub mod json;
pub mod mqtt;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use tidegate_rules::event::content_type::is_json;
use tidegate_rules::event::{Event, EventTime, Extension, ExtensionKind, UnixMs};

use super::delivery::Delivery;
use super::way::{self, PATH};

/// The version of CloudEvents that is written, and the only one that is read.
pub const SPEC_VERSION: &str = "1.0";
/// Extension attributes of one event.
const EXTENSIONS_MAX: usize = 32;
/// Attributes that an event may leave with beside its extensions.
const OWN_ATTRIBUTES: usize = 11;
/// The longest name of an extension: CloudEvents advises 20 characters, and forbids no more.
const NAME_BYTES_MAX: usize = 128;
/// The longest value of an attribute, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024;
/// The longest id: a derived event's is that of its cause and more.
const ID_BYTES_MAX: usize = 4096;
/// The longest value that may have come over MQTT as something else than an attribute.
const TEXT_BYTES_MAX: usize = 65_535;
/// What a gateway adds to an event on its way, beside the extensions that its sender gave it.
const ADDED_ON_THE_WAY: [&str; 4] = [PATH, "partitionkey", "causationid", "historical"];
/// Digits of a second's fraction that are read; further ones are below what is kept.
const FRACTION_DIGITS_MAX: usize = 9;

/// An attribute by its CloudEvents name, and its value as text.
pub type Attribute<'a> = (&'a str, Cow<'a, str>);

/// Why something is no event that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Where and what, in words.
    Bad(String),
    /// Over a limit, in words.
    TooLarge(String),
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

fn bad<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Bad(what.into()))
}

/// The attributes of an event as it was committed.
pub fn of_event(event: &Event) -> Vec<Attribute<'_>> {
    let mut attributes = defined(event, Cow::Borrowed(&event.id));
    attributes.extend(extensions(event));
    attributes
}

/// The attributes of a delivery. What a rule derived says which event caused it.
pub fn of_delivery(delivery: &Delivery) -> Vec<Attribute<'_>> {
    of_delivery_with(delivery, extensions(&delivery.event))
}

/// The attributes of a delivery, with these for its extensions.
fn of_delivery_with<'a>(
    delivery: &'a Delivery,
    extensions: impl Iterator<Item = Attribute<'a>>,
) -> Vec<Attribute<'a>> {
    let event = &delivery.event;
    let mut attributes = defined(event, delivery.id());
    if let Some(key) = &delivery.output.key {
        attributes.push(("partitionkey", Cow::Borrowed(key)));
    }
    let derived = delivery.is_derived();
    if derived {
        attributes.push(("causationid", Cow::Borrowed(&event.id)));
    }
    if delivery.historical {
        attributes.push(("historical", Cow::Borrowed("true")));
    }
    attributes.extend(extensions.filter(|(name, _)| !derived || *name != "causationid"));
    continue_way(&mut attributes, event, delivery.mark.as_deref());
    attributes
}

/// Adds the mark of the start that the event leaves to its way.
pub fn continue_way<'a>(
    attributes: &mut Vec<Attribute<'a>>,
    event: &'a Event,
    mark: Option<&'a str>,
) {
    if let Some(mark) = mark {
        attributes.retain(|(name, _)| *name != PATH);
        attributes.push((PATH, way::onward(event, mark)));
    }
}

fn defined<'a>(event: &'a Event, id: Cow<'a, str>) -> Vec<Attribute<'a>> {
    let mut attributes = Vec::with_capacity(OWN_ATTRIBUTES + event.extensions.len());
    attributes.extend([
        ("id", id),
        ("source", Cow::Borrowed(&*event.source)),
        ("type", Cow::Borrowed(&*event.kind)),
        ("time", time(event)),
    ]);
    let optional = [("subject", &event.subject), ("dataschema", &event.schema)];
    for (name, value) in optional {
        attributes.extend(value.as_deref().map(|value| (name, Cow::Borrowed(value))));
    }
    attributes
}

fn extensions(event: &Event) -> impl Iterator<Item = Attribute<'_>> {
    let named = event.extensions.iter();
    named
        .filter(|extension| extension.kind != ExtensionKind::Property)
        .map(|extension| (&*extension.name, Cow::Borrowed(&*extension.value)))
}

/// Sets one attribute of an event. `topic` and `publisher` are the event's own, though CloudEvents
/// knows them as extensions.
///
/// # Errors
/// What is wrong with the name or the value; a `time` that is none leaves the event without one.
pub fn read(event: &mut Event, name: &str, value: &str) -> Result<(), Wrong> {
    check_value(name, value)?;
    match name {
        "specversion" if value == SPEC_VERSION => {}
        "specversion" => {
            return bad(format!("`specversion` is {value:?}, not {SPEC_VERSION:?}"));
        }
        // Empty ones say as little as none.
        "publisher" | "datacontenttype" if value.is_empty() => {}
        "id" | "source" | "type" | "time" | "subject" | "dataschema" | "topic"
            if value.is_empty() =>
        {
            return bad(format!("`{name}` is empty"));
        }
        "id" => event.id = value.into(),
        "source" => event.source = value.into(),
        "type" => event.kind = value.into(),
        "time" => {
            event.time = event_time(value);
            if event.time.is_none() {
                return bad(format!("`time` is {value:?}, not an RFC 3339 time"));
            }
        }
        "subject" => event.subject = Some(value.into()),
        "dataschema" => event.schema = Some(value.into()),
        "datacontenttype" => event.content_type = Some(value.into()),
        "topic" => event.topic = value.into(),
        "publisher" => event.publisher = value.into(),
        _ => return read_extension(event, name, value),
    }
    Ok(())
}

/// Adds an extension attribute to an event.
///
/// # Errors
/// What is wrong with the name or the value, or that there are too many.
pub fn read_extension(event: &mut Event, name: &str, value: &str) -> Result<(), Wrong> {
    check_value(name, value)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if name == "data" {
        return bad("`data` is the name of the payload, and of no attribute");
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return bad(format!(
            "{name:.200?} is no name of an attribute: up to {NAME_BYTES_MAX} lower-case letters and digits"
        ));
    }
    // What is added on the way must not make the next gateway refuse the event.
    let added = |name: &str| ADDED_ON_THE_WAY.contains(&name);
    let others = event.extensions.iter();
    let others = others
        .filter(|extension| extension.kind != ExtensionKind::Property && !added(&extension.name));
    if added(name) {
        event.remove_extension(name);
    } else if others.count() >= EXTENSIONS_MAX {
        return bad(format!("it has more than {EXTENSIONS_MAX} extensions"));
    }
    event.extensions.push(Extension::text(name, value));
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), Wrong> {
    let bytes_max = match name {
        "id" | "causationid" => ID_BYTES_MAX,
        "topic" | "publisher" | "partitionkey" | "datacontenttype" => TEXT_BYTES_MAX,
        _ => VALUE_BYTES_MAX,
    };
    match value.len() <= bytes_max {
        true => Ok(()),
        false => bad(format!("`{name:.200}` is longer than {bytes_max} bytes")),
    }
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

/// Whether a message of binary mode says nothing: an empty payload is data only under a type that has empty texts.
pub fn is_without_data(event: &Event) -> bool {
    event.data.is_empty() && event.content_type.as_deref().is_none_or(is_json)
}

/// The content type of a message of binary mode with this payload. Where there is no data, one that would make an empty text
/// of it is left out.
pub fn binary_content_type<'e>(event: &'e Event, payload: &[u8]) -> Option<&'e str> {
    let kind = event.content_type.as_deref();
    kind.filter(|kind| !event.without_data || !payload.is_empty() || is_json(kind))
}

/// A time as RFC 3339 in UTC; what no calendar holds becomes the epoch.
fn rfc3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

/// When an event happened, or arrived, as its sender wrote it.
fn time(event: &Event) -> Cow<'_, str> {
    let text = event.time.as_ref().and_then(|time| time.text.as_deref());
    text.map_or_else(|| Cow::Owned(rfc3339(event.happened())), Cow::Borrowed)
}

/// An RFC 3339 time with every digit that it has.
fn event_time(text: &str) -> Option<EventTime> {
    let text_read = short_fraction(text);
    let time = text_read.parse::<jiff::Timestamp>().ok();
    let ms = match time {
        Some(time) => time.as_millisecond(),
        None => last_days(&text_read)?,
    };
    let text = as_rfc3339(text).filter(|text| rfc3339(ms) != *text);
    Some(EventTime {
        ms,
        text: text.map(Into::into),
    })
}

/// The last days of the year 9999, which RFC 3339 has and the library's moments have not. They often stand for "never".
fn last_days(text: &str) -> Option<UnixMs> {
    let text = as_rfc3339(text).filter(|text| text.starts_with("9999-12-"))?;
    let (moment, zone) = text.split_at(text.rfind(['Z', '+', '-'])?);
    let moment: jiff::civil::DateTime = moment.parse().ok()?;
    let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    let (hours, minutes) = zone
        .get(1..)
        .and_then(|zone| zone.split_once(':'))
        .unwrap_or(("0", "0"));
    let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
    let offset_ms = minutes * 60_000 * if zone.starts_with('-') { -1 } else { 1 };
    let ms = i64::try_from(moment.duration_since(epoch).as_millis()).ok()?;
    Some(ms - offset_ms)
}

/// The same in the letters that every reader takes; `None` where more is read than RFC 3339 allows.
fn as_rfc3339(text: &str) -> Option<String> {
    let text = text.to_ascii_uppercase().replacen(' ', "T", 1);
    let (moment, behind) = text.split_at_checked("2026-01-02T03:04:05".len())?;
    let fits = |text: &str, form: &str| {
        let mut both = text.bytes().zip(form.bytes());
        let fits = both.all(|(b, form)| b == form || form == b'0' && b.is_ascii_digit());
        fits && text.len() == form.len()
    };
    let zone = match behind.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => behind,
    };
    let is_zone = ["Z", "+00:00", "-00:00"]
        .iter()
        .any(|form| fits(zone, form));
    (fits(moment, "0000-00-00T00:00:00") && is_zone).then_some(text)
}

/// The time with no more digits behind the second than are read: RFC 3339 allows any number.
fn short_fraction(text: &str) -> Cow<'_, str> {
    let Some((before, rest)) = text.split_once('.') else {
        return Cow::Borrowed(text);
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match digits > FRACTION_DIGITS_MAX {
        true => Cow::Owned(format!(
            "{before}.{}{}",
            &rest[..FRACTION_DIGITS_MAX],
            &rest[digits..]
        )),
        false => Cow::Borrowed(text),
    }
}
