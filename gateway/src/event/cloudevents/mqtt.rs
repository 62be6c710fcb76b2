//! The MQTT binding: attributes in user properties of MQTT 5 (binary mode), or in a document that is the payload
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/mqtt-protocol-binding.md>).
//!
//! The topic is that of the packet, the publisher the client: neither is a property. A user property that is no attribute is
//! kept in its place among the extensions, as [`ExtensionKind::Property`], and leaves over MQTT 5 only.

pub mod publish;
mod structured;

use std::borrow::Cow;

use tidegate_rules::event::{Event, Extension, ExtensionKind};

use super::{
    Attribute, SPEC_VERSION, continue_way, defined, is_without_data, of_delivery_with, of_event,
    read, read_extension,
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

/// Takes what a publish says: the event in its document, where its payload is one, and its user properties. Whether it was
/// a document, and what of it is too much to be kept, in words.
pub fn read_publish<'a>(
    event: &mut Event,
    properties: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> (bool, Result<(), String>) {
    if !structured::open(event) {
        let read = read_properties(event, properties);
        event.without_data = is_without_data(event);
        return (false, read);
    }
    let said = event.clone();
    let mut attributes = of_event(&said);
    attributes.push(VERSION);
    attributes.extend(
        said.content_type
            .as_deref()
            .map(|kind| ("datacontenttype", Cow::Borrowed(kind))),
    );
    // They may stand beside the document once more (section 3.2.3 of the binding).
    let others = properties.filter(|(name, value)| {
        let name = attribute(name);
        !attributes.contains(&(name, Cow::Borrowed(*value)))
    });
    // The time of an event that says none is that of its arrival.
    let names = attributes.iter().map(|(name, _)| *name);
    let had = names.filter(|name| *name != "time" || said.time.is_some());
    let had = had.collect();
    (true, take_properties(event, others, true, had))
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
    take_properties(event, properties, speaks, Vec::new())
}

/// Of a sender that `speaks` CloudEvents or does not, beside the attributes that it `had`.
fn take_properties<'h, 'a: 'h>(
    event: &mut Event,
    properties: impl Iterator<Item = (&'a str, &'a str)>,
    speaks: bool,
    mut had: Vec<&'h str>,
) -> Result<(), String> {
    if is_retained(event) && event.extension(RETAIN).is_none() {
        event.extensions.push(Extension::text(RETAIN, "true"));
    }
    let typed = event.content_type.is_some();
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
