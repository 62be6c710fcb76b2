//! CloudEvents attributes in MQTT 5 user properties, as the binary mode of the CloudEvents MQTT
//! binding has them (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/mqtt-protocol-binding.md>).

use std::sync::Arc;

use tidegate_rules::event::Event;

/// Extension attributes of one event that are kept; what comes above is not.
const EXTENSIONS_MAX: usize = 32;
/// The longest value of an attribute, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Takes one user property as an attribute of the event. Names may carry the prefix `ce_` or
/// `ce-`. What CloudEvents does not allow as a name, or is too long, is left out.
pub(super) fn read(event: &mut Event, name: &str, value: &str) {
    let name = name
        .strip_prefix("ce_")
        .or_else(|| name.strip_prefix("ce-"))
        .unwrap_or(name);
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return;
    }
    match name {
        "id" => event.id = value.into(),
        "source" => event.source = value.into(),
        "type" => event.kind = value.into(),
        "subject" => event.subject = Some(value.into()),
        "time" => event.time = milliseconds(value),
        "datacontenttype" => event.content_type = Some(value.into()),
        "dataschema" => event.schema = Some(value.into()),
        "specversion" => {}
        _ => extension(event, name, value),
    }
}

fn extension(event: &mut Event, name: &str, value: &str) {
    let allowed = !name.is_empty()
        && name.len() <= 20
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if allowed && event.extensions.len() < EXTENSIONS_MAX {
        event.extensions.push((Arc::from(name), Arc::from(value)));
    }
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_millisecond())
}

/// The attributes a subscriber gets with a live event.
pub(super) fn write(event: &Event) -> Vec<(&str, &str)> {
    let mut user: Vec<(&str, &str)> = vec![
        ("id", &event.id),
        ("source", &event.source),
        ("type", &event.kind),
    ];
    user.extend(event.subject.as_deref().map(|subject| ("subject", subject)));
    user.extend(
        event
            .extensions
            .iter()
            .map(|(name, value)| (&**name, &**value)),
    );
    user
}
