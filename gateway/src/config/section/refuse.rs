//! What a section says about keys and values that it does not take.

use tidegate_rules::diagnostic::{Diagnostic, did_you_mean};
use toml_edit::Value;

use super::{Found, Section, kind};
use crate::config::key::{Absent, Takes, one_of};
use crate::config::unit;

impl<'a> Section<'a> {
    /// The error for a text that is none of `choices`.
    pub(super) fn not_a_choice(
        &self,
        key: &str,
        found: &Found<String>,
        choices: &[&str],
    ) -> Diagnostic {
        let error = self
            .error(
                key,
                format!("`{}` is no {key} of {}", found.value, self.name),
            )
            .with_note(format!("`{key}` takes {}", one_of(choices)));
        match did_you_mean(&found.value, choices.iter().copied()) {
            Some(near) => error
                .with_label(format!("did you mean \"{near}\"?"))
                .with_replacement(format!("\"{near}\"")),
            None => error,
        }
    }

    pub(super) fn refuse_unit(&self, key: &str, text: &str, wrong: unit::NoUnit) {
        let declared = self.key(key);
        let expected = declared.takes.example(declared.default_text());
        let error = self.error(key, format!("`{key}` takes {expected}, not \"{text}\""));
        self.reading.note(match wrong.suggestion {
            Some(meant) => error
                .with_label(format!("write \"{meant}\""))
                .with_replacement(format!("\"{meant}\"")),
            None => error.with_note(units_note(&declared.takes)),
        });
    }

    /// A number where a unit is needed: shows it as bytes, or with the default's unit of time.
    pub(super) fn refuse_bare_number(&self, key: &str, number: &str) {
        let declared = self.key(key);
        let unit = match (declared.takes, declared.default_text()) {
            (Takes::Duration(..), Some(usual)) => usual.trim_start_matches(char::is_numeric),
            _ => "B",
        };
        let error = self
            .error(key, format!("`{key}` needs a unit"))
            .with_label(format!("write \"{number}{unit}\" if that is what you mean"))
            .with_note(units_note(&declared.takes));
        self.reading.note(error);
    }

    pub(super) fn refuse_bounds(&self, key: &str, found: &str, min: &str, max: &str) {
        let error = self.error(key, format!("`{key}` is out of range: {found}"));
        let note = format!("`{key}`: {}", self.key(key).help);
        self.reading.note(
            error
                .with_label(format!("allowed are {min} to {max}"))
                .with_note(note),
        );
    }

    pub(super) fn refuse_type(&self, key: &str, value: &Value) {
        let declared = self.key(key);
        let quoted = matches!(declared.takes, Takes::Text | Takes::Path | Takes::Choice(_));
        let plain = matches!(
            value,
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_)
        );
        if let (true, true, Some(span)) = (quoted, plain, value.span()) {
            let text = self.reading.slice(&span).to_owned();
            let error = self.error(key, format!("`{key}` takes text, not {}", kind(value)));
            let error = error.with_label(format!("write \"{text}\""));
            self.reading
                .note(error.with_replacement(format!("\"{text}\"")));
            return;
        }
        self.refuse_item(key, kind(value));
    }

    pub(super) fn refuse_item(&self, key: &str, kind: &str) {
        let declared = self.key(key);
        let expected = declared.takes.example(declared.default_text());
        self.refuse(key, format!("`{key}` takes {expected}, not {kind}"));
    }

    pub(super) fn refuse_missing(&self, key: &str) {
        let declared = self.key(key);
        if let (Absent::Refused, false) = (declared.absent, self.has_misspelt(key)) {
            let message = match self.name.as_str() {
                "" => format!("section `[{key}]` is missing"),
                name => format!("{name} lacks the key `{key}`"),
            };
            let note = format!(
                "`{key}`: {}; takes {}",
                declared.help,
                declared.takes.example(None)
            );
            let error = self.reading.error(self.heading(), message);
            self.reading.note(error.with_note(note));
        }
    }

    /// Whether an unknown key is probably `key`, and has been noted as such.
    pub(super) fn has_misspelt(&self, key: &str) -> bool {
        self.unknown_keys()
            .any(|name| self.meant(name) == Some(key))
    }

    pub(super) fn unknown_keys(&self) -> impl Iterator<Item = &'a str> {
        let written = self.table.into_iter().flat_map(|table| table.iter());
        written
            .map(|(name, _)| name)
            .filter(|name| !self.keys.iter().any(|key| key.name == *name))
    }

    pub(super) fn meant(&self, name: &str) -> Option<&'static str> {
        did_you_mean(name, self.keys.iter().map(|key| key.name))
    }

    pub(super) fn note_unknown_keys(&self) {
        for name in self.unknown_keys() {
            self.note_unknown(name);
        }
    }

    pub(super) fn note_unknown(&self, name: &str) {
        let message = match self.name.as_str() {
            "" => format!("unknown section `{name}`"),
            section => format!("unknown key `{name}` in {section}"),
        };
        let error = self.reading.error(self.key_span(name), message);
        let known: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
        self.reading.note(match self.meant(name) {
            Some(near) => error.with_replacement(near),
            None => error.with_note(format!("known here: {}", known.join(", "))),
        });
    }
}

fn units_note(takes: &Takes) -> &'static str {
    match takes {
        Takes::Duration(..) => "units of time: ms, s, m, h, d",
        _ => "units of size: B, KiB, MiB, GiB, TiB",
    }
}
