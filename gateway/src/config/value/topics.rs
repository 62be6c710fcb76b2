//! Topics, topic filters and topic templates in the configuration.

use tidegate_rules::diagnostic::did_you_mean;
use tidegate_rules::topic::{TopicFilter, is_valid_topic_name};

use crate::config::context::Spanned;
use crate::config::key::{AnyKey, Key, Text, Texts};
use crate::config::section::Section;

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
