//! The binary mode of the HTTP binding: an attribute per header
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use tidegate_rules::event::Event;

use super::{SPEC_VERSION, Wrong, complete, of_delivery, read};
use crate::event::delivery::Delivery;

/// In front of the name of an attribute.
const PREFIX: &str = "ce-";

/// Adds the attributes of a delivery.
pub fn write(delivery: &Delivery, headers: &mut HeaderMap) {
    let own = [
        ("specversion", Cow::Borrowed(SPEC_VERSION)),
        ("topic", Cow::Borrowed(delivery.topic())),
        ("publisher", Cow::Borrowed(&*delivery.event.publisher)),
    ];
    // Nobody's name is no attribute.
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in of_delivery(delivery).into_iter().chain(own) {
        if let Ok(name) = HeaderName::try_from(format!("{PREFIX}{name}")) {
            put(headers, name, &value);
        }
    }
}

/// Sets a header to a text, encoded as the binding says.
pub fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(percent_encoded(value)) {
        headers.insert(name, value);
    }
}

/// Whether a header is an attribute.
pub fn has_attributes(headers: &HeaderMap) -> bool {
    names(headers).next().is_some()
}

/// Checks that the headers have what every CloudEvent must have.
///
/// # Errors
/// Which attribute is missing.
pub fn check_complete(headers: &HeaderMap) -> Result<(), Wrong> {
    complete(names(headers))
}

fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let names = headers.keys();
    names.filter_map(|name| name.as_str().strip_prefix(PREFIX))
}

/// Takes the attributes and the content type of a request.
///
/// # Errors
/// Which header is wrong, and why.
pub fn read_headers(event: &mut Event, headers: &HeaderMap) -> Result<(), Wrong> {
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        let wrong = |what: &str| Wrong::Bad(format!("header {PREFIX}{name}: {what}"));
        let text = value
            .to_str()
            .map_err(|_| wrong("it is no ASCII; percent-encode it"))?;
        let text = percent_decoded(&unquoted(text)).ok_or_else(|| wrong("it is no UTF-8"))?;
        read(event, name, &text).map_err(|what| what.at("headers"))?;
    }
    let kind = headers.get(CONTENT_TYPE).map(|kind| {
        let what = "header content-type: it is no UTF-8";
        std::str::from_utf8(kind.as_bytes()).map_err(|_| Wrong::Bad(what.into()))
    });
    let kind = kind.transpose()?;
    // An empty one says as little as none.
    if let Some(kind) = kind.filter(|kind| !kind.trim().is_empty()) {
        read(event, "datacontenttype", kind).map_err(|what| what.at("headers"))?;
    }
    for name in headers.keys() {
        let is_read = *name == CONTENT_TYPE || name.as_str().starts_with(PREFIX);
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        if is_read && values.any(|other| Some(other) != first) {
            return Err(Wrong::Bad(format!(
                "header {name}: it stands there more than once, with other values"
            )));
        }
    }
    Ok(())
}

/// Section 3.1.3.2 of the binding: everything but printable ASCII, and `"` and `%`, is written
/// as the percent-encoded bytes of its UTF-8.
fn percent_encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => text.push_str(&format!("%{byte:02X}")),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// A value that is one quoted string (RFC 9110, section 5.6.4) without its quotes and backslashes, as
/// section 3.1.3.2 of the binding wants it before the percent signs; any other value as it is.
fn unquoted(value: &str) -> Cow<'_, str> {
    let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let Some(inside) = inside else {
        return Cow::Borrowed(value);
    };
    let mut text = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            // The quotes around it belong to two strings, or it has no end.
            '"' => return Cow::Borrowed(value),
            '\\' => match characters.next() {
                Some(escaped) => text.push(escaped),
                None => return Cow::Borrowed(value),
            },
            plain => text.push(plain),
        }
    }
    Cow::Owned(text)
}

/// `%41` becomes `A`; a `%` without two digits stays. `None` where the result is no UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_percent_encoded_as_the_binding_says() {
        for (value, expected) in [
            ("plain/text", "plain/text"),
            ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("a \"b\" 100%\r\n", "a%20%22b%22%20100%25%0D%0A"),
        ] {
            assert_eq!(percent_encoded(value), expected);
        }
    }

    #[test]
    fn a_quoted_value_loses_its_quotes() {
        for (value, expected) in [
            ("plain", "plain"),
            (r#""a b""#, "a b"),
            (r#""a \"b\" \\ %22""#, r#"a "b" \ %22"#),
            (r#""""#, ""),
            (r#"""#, r#"""#),
            (r#""a"#, r#""a"#),
            (r#"a "b" c"#, r#"a "b" c"#),
            (r#""a" "b""#, r#""a" "b""#),
            (r#""a\""#, r#""a\""#),
            (r#"a\"b"#, r#"a\"b"#),
        ] {
            assert_eq!(unquoted(value), expected, "{value}");
        }
    }

    #[test]
    fn percent_signs_are_decoded_where_two_digits_follow() {
        for (text, expected) in [
            ("a/b", Some("a/b")),
            ("Euro%20%E2%82%AC", Some("Euro €")),
            ("100%", Some("100%")),
            ("%+1%zz%4", Some("%+1%zz%4")),
            ("%ff", None),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), expected, "{text}");
        }
    }
}
