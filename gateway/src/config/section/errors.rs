//! What a section says about keys and values that it does not take.

use tidegate_rules::diagnostic::{Diagnostic, did_you_mean};
use toml_edit::Value;

use super::{Section, Spanned, kind};
use crate::config::key::unit;
use crate::config::key::{Absent, AnyKey, Takes, enumerate};

impl<'a> Section<'a> {
    /// The error for a text that is none of `choices`.
    pub(super) fn not_a_choice(
        &self,
        key: &AnyKey,
        found: &Spanned<String>,
        choices: &[&str],
    ) -> Diagnostic {
        let name = key.name;
        let message = format!("`{}` is no {name} of {}", found.value, self.name);
        let error = self
            .error(key, message)
            .with_note(format!("`{name}` takes {}", enumerate(choices)));
        match did_you_mean(&found.value, choices.iter().copied()) {
            Some(near) => error
                .with_label(format!("did you mean \"{near}\"?"))
                .with_replacement(format!("\"{near}\"")),
            None => error,
        }
    }

    pub(super) fn report_unit(&self, key: &AnyKey, text: &str, wrong: unit::NoUnit) {
        let expected = key.takes.example(key.default_text());
        let message = format!("`{}` takes {expected}, not \"{text}\"", key.name);
        let error = self.error(key, message);
        self.context.report(match wrong.suggestion {
            Some(meant) => error
                .with_label(format!("write \"{meant}\""))
                .with_replacement(format!("\"{meant}\"")),
            None => error.with_note(units_note(&key.takes)),
        });
    }

    /// A number where a unit is needed: shows it as bytes, or with the default's unit of time.
    pub(super) fn report_bare_number(&self, key: &AnyKey, number: &str) {
        let unit = match (key.takes, key.default_text()) {
            (Takes::Duration(..), Some(usual)) => usual.trim_start_matches(char::is_numeric),
            _ => "B",
        };
        let error = self
            .error(key, format!("`{}` needs a unit", key.name))
            .with_label(format!("write \"{number}{unit}\" if that is what you mean"))
            .with_note(units_note(&key.takes));
        self.context.report(error);
    }

    pub(super) fn report_bounds(&self, key: &AnyKey, found: &str, min: &str, max: &str) {
        let error = self.error(key, format!("`{}` is out of range: {found}", key.name));
        let note = format!("`{}`: {}", key.name, key.help);
        self.context.report(
            error
                .with_label(format!("allowed are {min} to {max}"))
                .with_note(note),
        );
    }

    pub(super) fn report_type(&self, key: &AnyKey, value: &Value) {
        let quoted = matches!(key.takes, Takes::Text | Takes::Path | Takes::Choice(_));
        let plain = matches!(
            value,
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_)
        );
        if let (true, true, Some(span)) = (quoted, plain, value.span()) {
            let text = self.context.slice(&span).to_owned();
            let message = format!("`{}` takes text, not {}", key.name, kind(value));
            let error = self.error(key, message);
            let error = error.with_label(format!("write \"{text}\""));
            self.context
                .report(error.with_replacement(format!("\"{text}\"")));
            return;
        }
        self.report_item(key, kind(value));
    }

    pub(super) fn report_item(&self, key: &AnyKey, kind: &str) {
        let expected = key.takes.example(key.default_text());
        self.report(key, format!("`{}` takes {expected}, not {kind}", key.name));
    }

    pub(super) fn report_missing(&self, key: &AnyKey) {
        if self.context.is_incomplete {
            return;
        }
        if let (Absent::Refused, false) = (key.absent, self.has_misspelt(key)) {
            let message = match self.name.as_str() {
                "" => format!("section `[{}]` is missing", key.name),
                name => format!("{name} lacks the key `{}`", key.name),
            };
            let note = format!(
                "`{}`: {}; takes {}",
                key.name,
                key.help,
                key.takes.example(None)
            );
            let error = self.context.error(self.heading(), message);
            self.context.report(error.with_note(note));
        }
    }

    /// Whether an unknown key is probably `key`, and has been reported as such.
    pub(super) fn has_misspelt(&self, key: &AnyKey) -> bool {
        self.unknown_keys()
            .any(|name| self.meant(name) == Some(key.name))
    }

    pub(super) fn unknown_keys(&self) -> impl Iterator<Item = &'a str> {
        let written = self.table.into_iter().flat_map(|table| table.iter());
        written
            .map(|(name, _)| name)
            .filter(|name| !self.keys.iter().any(|key| key.name == *name))
    }

    pub(super) fn meant(&self, name: &str) -> Option<&'static str> {
        if let Some(key) = self.renamed(name) {
            return Some(key.name);
        }
        did_you_mean(name, self.keys.iter().map(|key| key.name))
    }

    /// The key that had this name once.
    fn renamed(&self, name: &str) -> Option<&'static AnyKey> {
        let mut keys = self.keys.iter().copied();
        keys.find(|key| key.formerly.contains(&name))
    }

    pub(super) fn report_unknown_keys(&self) {
        for name in self.unknown_keys() {
            self.report_unknown(name);
        }
    }

    pub(super) fn report_unknown(&self, name: &str) {
        if let Some(key) = self.renamed(name) {
            let message = format!("`{name}` in {} is called `{}` now", self.name, key.name);
            let error = self.context.error(self.name_span(name), message);
            let error = error.with_label(format!("write `{}`", key.name));
            self.context.report(error.with_replacement(key.name));
            return;
        }
        let message = match self.name.as_str() {
            "" => format!("unknown section `{name}`"),
            section => format!("unknown key `{name}` in {section}"),
        };
        let error = self.context.error(self.name_span(name), message);
        let known: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
        self.context.report(match self.meant(name) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml_edit::Document;

    use super::*;
    use crate::config::context::Context;
    use crate::config::key::{Count, count, keys};

    keys! {
        /// Keys that were called otherwise.
        KEYS: RenamedKeys {
            window: Count<u64> = count(1, 9).default("5", "how many").formerly(&["inflight", "max_inflight"]),
            depth: Option<Count<u64>> = count(1, 9).required("how deep").formerly(&["levels"]),
        }
    }

    #[test]
    fn a_former_name_is_an_error_that_names_the_new_one() {
        let cases = [
            ("window = 1\ndepth = 1", ""),
            (
                "inflight = 1\ndepth = 1",
                "`inflight` in [s] is called `window` now",
            ),
            (
                "max_inflight = 1\ndepth = 1",
                "`max_inflight` in [s] is called `window` now",
            ),
            // It is not missing beside that.
            ("levels = 1", "`levels` in [s] is called `depth` now"),
            // A slip is none.
            ("windwo = 1\ndepth = 1", "unknown key `windwo` in [s]"),
        ];
        for (text, expected) in cases {
            let document = Document::parse(text).expect("TOML");
            let context = Context::new(Path::new("x.toml"), "x.toml", text, &|_| None, &[]);
            let table = document.as_table();
            let section = Section::open(&context, "[s]", Some(table), 0..0, &[RenamedKeys::ROWS]);
            let _ = (section.read(&KEYS.window), section.read(&KEYS.depth));
            let found = context.into_diagnostics();
            let said: Vec<&str> = found.iter().map(|one| one.message.as_str()).collect();
            let expected: Vec<&str> = [expected]
                .into_iter()
                .filter(|one| !one.is_empty())
                .collect();
            assert_eq!(said, expected, "{text}");
        }
    }
}
