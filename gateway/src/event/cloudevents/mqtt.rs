//! The binary mode of the MQTT binding: attributes in user properties of MQTT 5
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/mqtt-protocol-binding.md>).
//!
//! The topic is that of the packet, the publisher the client: neither is a property. A user property that is no attribute is
//! kept in its place among the extensions, as [`ExtensionKind::Property`], and leaves over MQTT 5 only.

pub mod publish;

use std::borrow::Cow;

use tidegate_rules::event::{Event, Extension, ExtensionKind};

use super::{
    Attribute, SPEC_VERSION, continue_way, defined, of_delivery_with, read, read_extension,
};
use crate::event::arrival::SENDER_ID;
use crate::event::delivery::Delivery;
use crate::event::way::PATH;

/// By this a receiver knows the binary mode (section 3.1 of the binding).
const VERSION: Attribute<'_> = ("specversion", Cow::Borrowed(SPEC_VERSION));
/// The extension by which rules and documents tell a message that was retained, or asked to be.
const RETAIN: &str = "retain";
/// Bytes of the names and values of user properties that are kept beside the attributes.
const PROPERTY_BYTES_MAX: usize = 64 << 10;

/// The user properties that a subscriber gets with a committed event from the start with this mark.
pub fn properties<'a>(event: &'a Event, mark: Option<&'a str>) -> Vec<Attribute<'a>> {
    let mut attributes = vec![VERSION];
    attributes.extend(defined(event, Cow::Borrowed(&event.id)));
    attributes.extend(user_properties(event));
    continue_way(&mut attributes, event, mark);
    attributes
}

/// Of these those that its sender gave it beside what names the event: for a subscriber that takes only small packets.
pub fn properties_of_sender(event: &Event) -> Vec<Attribute<'_>> {
    user_properties(event).collect()
}

/// The user properties that a delivery leaves with.
pub fn properties_of(delivery: &Delivery) -> Vec<Attribute<'_>> {
    let others = of_delivery_with(delivery, user_properties(&delivery.event));
    let mut attributes = Vec::with_capacity(1 + others.len());
    attributes.push(VERSION);
    attributes.extend(others);
    attributes
}

/// The user properties that a structured delivery leaves with: those that have no place in its document, and its way, which
/// who does not open the document must see too.
pub fn beside_document(delivery: &Delivery) -> Vec<Attribute<'_>> {
    let event = &*delivery.event;
    let properties = event.extensions.iter();
    let properties = properties.filter(|extension| extension.kind == ExtensionKind::Property);
    let mut attributes: Vec<Attribute<'_>> = properties.map(attribute_of).collect();
    continue_way(&mut attributes, event, delivery.mark.as_deref());
    attributes
}

/// Extensions and properties in their order, without the one that stands for the flag of the packet.
fn user_properties(event: &Event) -> impl Iterator<Item = Attribute<'_>> {
    let retained = is_retained(event);
    let is_flag = move |extension: &&Extension| {
        retained && *extension.name == *RETAIN && extension.kind != ExtensionKind::Property
    };
    let all = event.extensions.iter();
    all.filter(move |extension| !is_flag(extension))
        .map(attribute_of)
}

fn attribute_of(extension: &Extension) -> Attribute<'_> {
    (&*extension.name, Cow::Borrowed(&*extension.value))
}

/// Whether it was a retained message, or asked to be one.
pub fn is_retained(event: &Event) -> bool {
    event.mqtt.as_ref().is_some_and(|mqtt| mqtt.retain)
}

/// Takes the user properties of a publish as attributes of the event. Devices send properties of their own beside
/// CloudEvents: what is no attribute, or has stood before, is kept as a property in its place. An `id` of a device that does
/// not speak CloudEvents may be anything, and names no event: it becomes the extension `senderid`.
///
/// The retain flag and the content type of the packet are there before; both win over properties of their names.
///
/// # Errors
/// What is too much to be kept, in words.
pub fn read_properties<'a>(
    event: &mut Event,
    properties: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<(), String> {
    let speaks = properties.clone().any(|(name, _)| {
        let attribute = attribute(name);
        attribute == "specversion" || attribute != name
    });
    if is_retained(event) {
        event.extensions.push(Extension::text(RETAIN, "true"));
    }
    let typed = event.content_type.is_some();
    let mut had: Vec<&str> = Vec::new();
    let mut property_bytes = 0;
    for (property, value) in properties {
        let name = attribute(property);
        let stands = match name {
            // Who is asked for the way hears the last one, and only that.
            PATH => Some(PATH),
            "id" if !speaks => Some(SENDER_ID),
            "datacontenttype" if typed || value.is_empty() => None,
            RETAIN if is_retained(event) => None,
            name => Some(name),
        };
        let stands = stands.filter(|name| *name == PATH || !had.contains(name));
        let taken = stands.is_some_and(|name| take(event, name, value));
        match stands {
            Some(name) if taken => had.push(name),
            // It must not be taken for the way.
            _ if name == PATH => {}
            _ => {
                property_bytes += property.len() + value.len();
                if property_bytes <= PROPERTY_BYTES_MAX {
                    event.extensions.push(Extension {
                        kind: ExtensionKind::Property,
                        ..Extension::text(property, value)
                    });
                }
            }
        }
    }
    match property_bytes <= PROPERTY_BYTES_MAX {
        true => Ok(()),
        false => Err(format!(
            "its user properties beside the attributes of CloudEvents have {property_bytes} bytes, and {PROPERTY_BYTES_MAX} are kept"
        )),
    }
}

/// Whether a property was taken as this attribute.
fn take(event: &mut Event, name: &str, value: &str) -> bool {
    let before = (name == "time").then(|| event.time.clone());
    let read = match name {
        "topic" | "publisher" | SENDER_ID => read_extension(event, name, value),
        name => read(event, name, value),
    };
    if let (Err(_), Some(before)) = (&read, before) {
        event.time = before;
    }
    read.is_ok()
}

/// The name of the attribute: a property may carry the prefix `ce_` or `ce-`.
fn attribute(name: &str) -> &str {
    name.strip_prefix("ce_")
        .or_else(|| name.strip_prefix("ce-"))
        .unwrap_or(name)
}
