//! What a string of MQTT may hold: a broker hangs up on a packet that breaks this, so it is known
//! before the packet is sent (MQTT 5.0 section 1.5.4, MQTT 3.1.1 section 1.5.3).

use crate::config::value::topics;
use crate::event::cloudevents::mqtt::publish::PublishProperties;

fn check(place: &str, text: &str) -> Result<(), String> {
    // Nearly all texts are this, and it is told at a glance.
    let plain = |all, byte| all & matches!(byte, b' '..=b'~');
    if text.len() <= usize::from(u16::MAX) && text.bytes().fold(true, plain) {
        return Ok(());
    }
    match topics::objection(text) {
        None => Ok(()),
        Some(why) => Err(format!("{place} {} {why}", shown(text))),
    }
}

/// The beginning of a text, escaped.
fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let beginning: String = text.chars().take(CHARACTERS_MAX).collect();
    match beginning.len() < text.len() {
        true => format!("{beginning:?}…"),
        false => format!("{beginning:?}"),
    }
}

/// Whether this can be published under.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn check_topic(topic: &str) -> Result<(), String> {
    check("the topic", topic)?;
    let why = match topic.find(['+', '#']) {
        _ if topic.is_empty() => "is empty",
        Some(_) => "has a wildcard",
        None => return Ok(()),
    };
    Err(format!(
        "the topic {} {why}; see `topic` of the upstream or the rule",
        shown(topic)
    ))
}

/// Whether these can stand in a PUBLISH of MQTT 5.
///
/// # Errors
/// What is wrong with which, in words.
pub(super) fn check_properties(properties: &PublishProperties<'_>) -> Result<(), String> {
    if let Some(content_type) = properties.content_type {
        check("the content type", content_type)?;
    }
    if let Some(response_topic) = properties.response_topic {
        check("the response topic", response_topic)?;
        if response_topic.contains(['+', '#']) {
            let shown = shown(response_topic);
            return Err(format!(
                "the response topic {shown} has a wildcard, which no answer can be published under"
            ));
        }
    }
    for (name, value) in &properties.user {
        check("the name of an attribute", name)?;
        check("", value).map_err(|why| format!("the attribute `{name}`{why}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::event::cloudevents::Attribute;

    fn of_user(user: Vec<Attribute<'_>>) -> PublishProperties<'_> {
        PublishProperties {
            user,
            ..PublishProperties::default()
        }
    }

    fn answered(response_topic: &str) -> PublishProperties<'_> {
        PublishProperties {
            response_topic: Some(response_topic),
            ..PublishProperties::default()
        }
    }

    #[test]
    fn what_mqtt_does_not_carry_is_named_by_character_and_place() {
        let long = "x".repeat(65_536);
        let bad = [
            "\0",
            "\u{1}",
            "\n",
            "\r",
            "\t",
            "\u{1f}",
            "\u{7f}",
            "\u{80}",
            "\u{85}",
            "\u{9f}",
            "\u{fdd0}",
            "\u{fdef}",
            "\u{fffe}",
            "\u{ffff}",
            "\u{1fffe}",
            "\u{10ffff}",
        ];
        for character in bad {
            let code = u32::from(character.chars().next().expect("a character"));
            let text = format!("a/{character}b");
            let named = format!("U+{code:04X}");
            let user = |name, value| of_user(vec![(name, Cow::Borrowed(value))]);
            let mut content_type = of_user(Vec::new());
            content_type.content_type = Some(&text);
            let said = [
                (check_topic(&text), "the topic"),
                (check_properties(&content_type), "the content type"),
                (check_properties(&answered(&text)), "the response topic"),
                (check_properties(&user("subject", &text)), "`subject`"),
                (
                    check_properties(&user(&text, "x")),
                    "the name of an attribute",
                ),
            ];
            for (said, place) in said {
                let said = said.expect_err(place);
                assert!(said.contains(&named) && said.contains(place), "{said}");
            }
        }
        for topic in ["", "a/+", "#", "a+b", &long] {
            assert!(check_topic(topic).is_err(), "{topic:.9}");
        }
        for wrong in ["a/+", "#", &long] {
            assert!(check_properties(&answered(wrong)).is_err(), "{wrong:.9}");
        }
        for good in [
            "a",
            "/",
            "grün/日本/🌡",
            " ",
            "\u{a0}",
            "\u{ad}",
            "\u{200b}",
            "\u{feff}",
            "\u{fffd}",
            "\u{e000}",
        ] {
            assert_eq!(check_topic(good), Ok(()));
            let properties = PublishProperties {
                content_type: Some(good),
                ..of_user(vec![(good, Cow::Borrowed(good))])
            };
            assert_eq!(check_properties(&properties), Ok(()));
            assert_eq!(check_properties(&answered(good)), Ok(()));
        }
    }
}
