//! The requests to a webhook, as the CloudEvents HTTP binding has them
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::event::cloudevents::{binary_content_type, http, json};
use crate::upstream::Delivery;
use crate::upstream::format::Format;

/// Where the peer recognises a repetition.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Head and body of one POST.
#[derive(Debug, Clone)]
pub(super) struct WebhookRequest {
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
}

/// Whether a delivery can be posted on its own in the binary mode: attributes are encoded, a content type is not.
///
/// # Errors
/// Which character no header carries.
pub(super) fn check(delivery: &Delivery) -> Result<(), String> {
    let content_type = delivery.event.content_type.as_deref().unwrap_or_default();
    match content_type.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(()),
        Some(character) => Err(format!(
            "the content type {content_type:.80?} has U+{:04X}, which no HTTP header carries",
            u32::from(character)
        )),
    }
}

/// The POST of these deliveries; `batched` makes a batch even of one.
pub(super) fn post(deliveries: &[Delivery], format: Format, batched: bool) -> WebhookRequest {
    match deliveries {
        [one] if !batched && format == Format::Binary => binary(one),
        [one] if !batched => WebhookRequest {
            headers: headers(json::CONTENT_TYPE, &idempotency_key(one)),
            body: json::structured(one).into(),
        },
        all => WebhookRequest {
            headers: headers(json::BATCH_CONTENT_TYPE, &batch_key(all)),
            body: json::batch(all).into(),
        },
    }
}

fn headers(content_type: &str, key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::try_from(content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_TYPE, content_type);
    http::put(&mut headers, IDEMPOTENCY_KEY, key);
    headers
}

/// The payload as it is, the attributes in `ce-` headers.
fn binary(delivery: &Delivery) -> WebhookRequest {
    let event = &delivery.event;
    let content_type = binary_content_type(event, delivery.payload());
    let mut headers = headers(
        content_type.unwrap_or("application/octet-stream"),
        &idempotency_key(delivery),
    );
    if content_type.is_none() {
        headers.remove(CONTENT_TYPE);
    }
    http::write(delivery, &mut headers);
    WebhookRequest {
        headers,
        body: delivery.payload().clone(),
    }
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
