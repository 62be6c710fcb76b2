//! The binary mode of the MQTT binding: attributes in user properties of MQTT 5
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/mqtt-protocol-binding.md>).
//!
//! The topic is that of the packet, the publisher the client: neither is a property.

use tidegate_rules::event::Event;

use super::{Attribute, of_delivery, of_event, read, read_extension};
use crate::event::delivery::Delivery;

/// The user properties that a subscriber gets with a committed event.
pub fn properties(event: &Event) -> Vec<Attribute<'_>> {
    of_event(event)
}

/// The user properties that a delivery leaves with.
pub fn properties_of(delivery: &Delivery) -> Vec<(String, String)> {
    of_delivery(delivery)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_owned()))
        .collect()
}

/// Takes one user property as an attribute of the event. Names may carry the prefix `ce_` or
/// `ce-`. Devices send properties of their own beside CloudEvents: what is no attribute is left
/// out, and refuses nothing.
pub fn read_property(event: &mut Event, name: &str, value: &str) {
    let name = name
        .strip_prefix("ce_")
        .or_else(|| name.strip_prefix("ce-"))
        .unwrap_or(name);
    let _ = match name {
        "topic" | "publisher" => read_extension(event, name, value),
        _ => read(event, name, value),
    };
}
