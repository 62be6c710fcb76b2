//! Topics, topic filters and topic templates in the configuration.

use tidegate_rules::diagnostic::did_you_mean;
use tidegate_rules::topic::{TopicFilter, is_valid_topic_name};

use super::section::{Found, Section};

/// The topic filters under `key`.
pub(super) fn filters(section: &Section<'_>, key: &str, placeholders: &[&str]) -> Vec<String> {
    let found = section.texts(key);
    found
        .into_iter()
        .filter_map(|found| filter(section, key, found, placeholders))
        .collect()
}

fn filter(
    section: &Section<'_>,
    key: &str,
    found: Found<String>,
    placeholders: &[&str],
) -> Option<String> {
    let example = fill(section, key, &found, placeholders)?;
    if let Err(wrong) = TopicFilter::parse(&example) {
        let message = format!("`{}` is no topic filter: {wrong}", found.value);
        section
            .reading
            .note(section.reading.error(found.span, message));
        return None;
    }
    Some(found.value)
}

/// The topic template under `key`, in which `{placeholders}` are filled in per event.
pub(super) fn template(section: &Section<'_>, key: &str, placeholders: &[&str]) -> Option<String> {
    let found = section.text(key)?;
    let example = fill(section, key, &found, placeholders)?;
    if !is_valid_topic_name(&example) {
        let message = format!("`{}` is no topic to publish under", found.value);
        let error = section.error(key, message);
        let note = "a topic is not empty and has no wildcards `+` and `#`";
        section.reading.note(error.with_note(note));
        return None;
    }
    Some(found.value)
}

/// The text with `x` for every placeholder; an unknown one is an error.
fn fill(
    section: &Section<'_>,
    key: &str,
    found: &Found<String>,
    placeholders: &[&str],
) -> Option<String> {
    let mut filled = String::new();
    let mut rest = found.value.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        if !placeholders.contains(&name) {
            let message = format!("`{{{name}}}` is nothing that `{key}` knows");
            let error = section.reading.error(found.span.clone(), message);
            section
                .reading
                .note(match did_you_mean(name, placeholders.iter().copied()) {
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
