//! `id_field` of a source: where its senders say which event it is.

use std::collections::HashMap;

use serde_json::value::RawValue;
use tidegate_rules::event::Event;

use crate::config::key::{Key, Text};
use crate::config::section::Section;
use crate::event::cloudevents::VALUE_BYTES_MAX;

/// What `id_field` is for.
pub(crate) const HELP: &str = "user property, header or JSON member that holds the id of an event, by which its repetition is known";

/// Some writers of JSON put it in front.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The configured name.
pub(crate) fn of_section(section: &Section<'_>, key: &Key<Option<Text>>) -> Option<String> {
    let field = section.read(key)?.value;
    if field.is_empty() {
        section.report(key, "`id_field` is empty: take it out, or name a field");
        return None;
    }
    Some(field)
}

/// Gives an event the id in its `field`: the property or header of that name, else a member of its JSON payload. Where
/// there is none, or one too long, the id stays as it was.
pub(super) fn read(event: &mut Event, field: &str, property: Option<&str>) {
    let id = property.filter(|id| !id.is_empty()).map(str::to_owned);
    let id = id.or_else(|| member(&event.data, field));
    if let Some(id) = id.filter(|id| (1..=VALUE_BYTES_MAX).contains(&id.len())) {
        event.id = id.into();
    }
}

/// A text, a number or a truth value of a JSON object, as text.
fn member(payload: &[u8], field: &str) -> Option<String> {
    let payload = payload.strip_prefix(BYTE_ORDER_MARK).unwrap_or(payload);
    let members: HashMap<String, &RawValue> = serde_json::from_slice(payload).ok()?;
    let json = members.get(field)?.get();
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok(),
        // As it is written: a number need not be one that we could hold.
        b'-' | b'0'..=b'9' | b't' | b'f' => Some(json.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_text_a_number_or_a_truth_value_of_an_object() {
        for (payload, expected) in [
            (r#"{"seq":7}"#, Some("7")),
            (r#"{"a":[{"seq":1}],"seq" : "x y"}"#, Some("x y")),
            (
                r#"{"seq":18446744073709551616}"#,
                Some("18446744073709551616"),
            ),
            (r#"{"seq":true}"#, Some("true")),
            (r#"{"seq":1e400}"#, Some("1e400")),
            (r#"{"seq":-0.50}"#, Some("-0.50")),
            (r#"{"seq":1,"seq":2}"#, Some("2")),
            (r#"{"seq":"\u00e9","x":"\ud800"}"#, Some("\u{e9}")),
            (r#"{"seq":"\ud800"}"#, None),
            ("\u{feff}{\"seq\":7}", Some("7")),
            (r#"{"seq":[1]}"#, None),
            (r#"{"seq":null}"#, None),
            (r#"{"seq":{"seq":1}}"#, None),
            (r#"[{"seq":1}]"#, None),
            ("seq=1", None),
            ("", None),
        ] {
            assert_eq!(
                member(payload.as_bytes(), "seq").as_deref(),
                expected,
                "{payload}"
            );
        }
    }

    #[test]
    fn a_property_goes_before_a_member_unless_it_is_empty_or_too_long() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        for (property, expected) in [
            (Some("p"), "p"),
            (Some(""), "7"),
            (None, "7"),
            (Some(&*long), "minted"),
        ] {
            let mut event = Event {
                id: "minted".into(),
                data: r#"{"seq":7}"#.into(),
                ..Event::default()
            };
            read(&mut event, "seq", property);
            assert_eq!(&*event.id, expected);
        }
    }
}
