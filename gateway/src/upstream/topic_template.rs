//! The `topic` setting of an upstream, with places that each delivery fills.

use std::borrow::Cow;

use super::Delivery;

/// Fills the places of a topic template from a delivery.
pub fn filled<'a>(template: &str, delivery: &'a Delivery, gateway: &str) -> Cow<'a, str> {
    let event = &delivery.event;
    let topic = delivery.topic();
    if template == "{topic}" {
        return Cow::Borrowed(topic);
    }
    let filled = template
        .replace("{topic}", topic)
        .replace("{source}", &event.source)
        .replace("{publisher}", &event.publisher)
        .replace("{type}", &event.kind)
        .replace("{id}", &delivery.id())
        .replace("{key}", delivery.output.key.as_deref().unwrap_or_default())
        .replace("{gateway}", gateway);
    Cow::Owned(filled)
}
