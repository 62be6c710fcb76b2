//! The binary mode of the MQTT binding: attributes in user properties of MQTT 5
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/mqtt-protocol-binding.md>).
//!
//! The topic is that of the packet, the publisher the client: neither is a property.

use std::borrow::Cow;

use tidegate_rules::event::Event;

use super::{
    Attribute, SPEC_VERSION, continue_way, extensions, of_delivery, of_event, read, read_extension,
};
use crate::event::arrival::SENDER_ID;
use crate::event::delivery::Delivery;
use crate::event::way::{self, PATH};

/// By this a receiver knows the binary mode (section 3.1 of the binding).
const VERSION: Attribute<'_> = ("specversion", Cow::Borrowed(SPEC_VERSION));

/// The user properties that a subscriber gets with a committed event from the start with this mark.
pub fn properties<'a>(event: &'a Event, mark: Option<&'a str>) -> Vec<Attribute<'a>> {
    let mut attributes = vec![VERSION];
    attributes.extend(of_event(event));
    continue_way(&mut attributes, event, mark);
    attributes
}

/// Of these those that its sender gave it beside what names the event: for a subscriber that takes only small packets.
pub fn properties_of_sender(event: &Event) -> Vec<Attribute<'_>> {
    extensions(event).collect()
}

/// The user properties that a delivery leaves with.
pub fn properties_of(delivery: &Delivery) -> Vec<Attribute<'_>> {
    let others = of_delivery(delivery);
    let mut attributes = Vec::with_capacity(1 + others.len());
    attributes.push(VERSION);
    attributes.extend(others);
    attributes
}

/// The user property that a structured delivery leaves with: who does not open its payload must see the way too.
pub fn way_of(delivery: &Delivery) -> Vec<Attribute<'_>> {
    let mark = delivery.mark.iter();
    mark.map(|mark| (PATH, way::onward(&delivery.event, mark)))
        .collect()
}

/// Takes the user properties of a publish as attributes of the event. Devices send properties of their own beside
/// CloudEvents: what is no attribute is left out, and refuses nothing. An `id` of a device that does not speak CloudEvents
/// may be anything, and names no event: it becomes the extension `senderid`.
pub fn read_properties<'a>(
    event: &mut Event,
    properties: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) {
    let speaks = properties.clone().any(|(name, _)| {
        let attribute = attribute(name);
        attribute == "specversion" || attribute != name
    });
    for (name, value) in properties {
        let _ = match attribute(name) {
            "id" if !speaks => read_extension(event, SENDER_ID, value),
            name @ ("topic" | "publisher") => read_extension(event, name, value),
            name => read(event, name, value),
        };
    }
}

/// The name of the attribute: a property may carry the prefix `ce_` or `ce-`.
fn attribute(name: &str) -> &str {
    name.strip_prefix("ce_")
        .or_else(|| name.strip_prefix("ce-"))
        .unwrap_or(name)
}
