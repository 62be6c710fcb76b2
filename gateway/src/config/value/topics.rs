//! Topics, topic filters and topic templates in the configuration.

use tidegate_rules::diagnostic::did_you_mean;
use tidegate_rules::topic::{TopicFilter, is_valid_topic_name, uncarried};

use crate::config::context::Spanned;
use crate::config::key::{AnyKey, Key, Text, Texts};
use crate::config::section::Section;

/// The longest text of MQTT in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 65_535;

/// What MQTT does not carry in this text.
pub(crate) fn objection(text: &str) -> Option<String> {
    if text.len() > TEXT_BYTES_MAX {
        let bytes = text.len();
        return Some(format!(
            "has {bytes} bytes; MQTT carries at most {TEXT_BYTES_MAX}"
        ));
    }
    let character = u32::from(uncarried(text)?);
    Some(format!(
        "has the character U+{character:04X}, which MQTT does not carry"
    ))
}

/// Reports what MQTT does not carry in the text under `key`; whether there is nothing.
fn is_carried(section: &Section<'_>, key: &AnyKey, found: &Spanned<String>) -> bool {
    let Some(why) = objection(&found.value) else {
        return true;
    };
    let message = format!("`{}` {why}", key.name);
    let error = section.context.error(found.span.clone(), message);
    section.context.report(error);
    false
}

/// The topic filters under `key`.
pub(crate) fn filters(
    section: &Section<'_>,
    key: &Key<Option<Texts>>,
    placeholders: &[&str],
) -> Vec<String> {
    let found = section.read(key);
    found
        .into_iter()
        .filter_map(|found| filter(section, key, found, placeholders))
        .collect()
}

fn filter(
    section: &Section<'_>,
    key: &AnyKey,
    found: Spanned<String>,
    placeholders: &[&str],
) -> Option<String> {
    let example = fill(section, key, &found, placeholders)?;
    if !is_carried(section, key, &found) {
        return None;
    }
    if let Err(wrong) = TopicFilter::parse(&example) {
        let message = format!("`{}` is no topic filter: {wrong}", found.value);
        section
            .context
            .report(section.context.error(found.span, message));
        return None;
    }
    Some(found.value)
}

/// The topic template under `key`, in which `{placeholders}` are filled in per event.
pub(crate) fn template(
    section: &Section<'_>,
    key: &Key<Text>,
    placeholders: &[&str],
) -> Option<String> {
    let found = section.read(key)?;
    let example = fill(section, key, &found, placeholders)?;
    if !is_carried(section, key, &found) {
        return None;
    }
    if !is_valid_topic_name(&example) {
        let message = format!("`{}` is no topic to publish under", found.value);
        let error = section.error(key, message);
        let note = "a topic is not empty and has no wildcards `+` and `#`";
        section.context.report(error.with_note(note));
        return None;
    }
    Some(found.value)
}

/// The text with `x` for every placeholder; an unknown one is an error.
fn fill(
    section: &Section<'_>,
    key: &AnyKey,
    found: &Spanned<String>,
    placeholders: &[&str],
) -> Option<String> {
    let mut filled = String::new();
    let mut rest = found.value.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        if !placeholders.contains(&name) {
            let message = format!("`{{{name}}}` is nothing that `{}` knows", key.name);
            let error = section.context.error(found.span.clone(), message);
            section
                .context
                .report(match did_you_mean(name, placeholders.iter().copied()) {
                    Some(near) => error.with_label(format!("did you mean `{{{near}}}`?")),
                    None => error.with_note(known(placeholders)),
                });
            return None;
        }
        filled.push_str(before);
        filled.push('x');
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

fn known(placeholders: &[&str]) -> String {
    let named: Vec<String> = placeholders
        .iter()
        .map(|name| format!("{{{name}}}"))
        .collect();
    match named.is_empty() {
        true => "no placeholder is known here".to_owned(),
        false => format!("known are {}", named.join(" ")),
    }
}
