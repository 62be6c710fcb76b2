//! The requests to a webhook, as the CloudEvents HTTP binding has them
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;

use crate::config::Format;
use crate::upstream::{Delivery, envelope};

/// Where the peer recognises a repetition.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Head and body of one POST.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
}

/// The POST of these deliveries; `batched` makes a batch even of one.
pub(super) fn post(deliveries: &[Delivery], format: Format, batched: bool) -> Post {
    match deliveries {
        [one] if !batched && format == Format::Binary => binary(one),
        [one] if !batched => Post {
            headers: headers("application/cloudevents+json", &idempotency_key(one)),
            body: envelope::structured(one).into(),
        },
        all => Post {
            headers: headers("application/cloudevents-batch+json", &batch_key(all)),
            body: batch(all).into(),
        },
    }
}

fn headers(content_type: &str, key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::try_from(content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_TYPE, content_type);
    put(&mut headers, IDEMPOTENCY_KEY, key);
    headers
}

/// The payload as it is, the envelope in `ce-` headers.
fn binary(delivery: &Delivery) -> Post {
    let event = &delivery.event;
    let content_type = event.content_type.as_deref();
    let mut headers = headers(
        content_type.unwrap_or("application/octet-stream"),
        &idempotency_key(delivery),
    );
    if content_type.is_none() {
        headers.remove(CONTENT_TYPE);
    }
    let own = [
        ("specversion", "1.0".to_owned()),
        ("topic", delivery.topic().to_owned()),
        ("publisher", event.publisher.to_string()),
    ];
    for (name, value) in envelope::attributes(delivery).into_iter().chain(own) {
        if let Ok(name) = HeaderName::try_from(format!("ce-{name}")) {
            put(&mut headers, name, &value);
        }
    }
    Post {
        headers,
        body: delivery.payload().clone(),
    }
}

/// A JSON array of structured events.
fn batch(deliveries: &[Delivery]) -> Vec<u8> {
    let documents: Vec<Box<RawValue>> = deliveries
        .iter()
        .filter_map(|delivery| String::from_utf8(envelope::structured(delivery)).ok())
        .filter_map(|document| RawValue::from_string(document).ok())
        .collect();
    serde_json::to_vec(&documents).unwrap_or_default()
}

/// What makes an event one and the same: CloudEvents ids are unique within their source only.
fn idempotency_key(delivery: &Delivery) -> String {
    format!("{}/{}", delivery.event.source, delivery.id())
}

/// The same events in the same order have the same key: 128 bits of FNV-1a.
fn batch_key(deliveries: &[Delivery]) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for delivery in deliveries {
        for byte in idempotency_key(delivery).bytes().chain([0]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    format!("batch-{hash:032x}")
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(percent_encoded(value)) {
        headers.insert(name, value);
    }
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
}
