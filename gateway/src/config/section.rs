//! Reads one section of the file and collects everything that is wrong with it.
//!
//! A reader method answers with the value, or with a stand-in after noting the error: reading
//! goes on, so that all errors come at once. The stand-ins never leave `config/`.

use std::ops::Range;
use std::time::Duration;

use tidegate_rules::diagnostic::Diagnostic;
use toml_edit::{Item, TableLike, Value};

mod refuse;

use super::key::{Key, Takes};
use super::reading::Reading;
use super::unit;

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// A value with its place; defaults stand at the section's heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One table of the file with the keys it may have.
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading<'a>,
    table: Option<&'a dyn TableLike>,
    heading: Span,
    name: String,
    keys: Vec<&'static Key>,
}

impl<'a> Section<'a> {
    /// The section `name` with `lists` of keys; unknown keys are noted at once.
    /// Without `table` every key has its default.
    pub(super) fn open(
        reading: &'a Reading<'a>,
        name: impl Into<String>,
        table: Option<&'a dyn TableLike>,
        heading: Span,
        lists: &[&'static [Key]],
    ) -> Section<'a> {
        let section = Section {
            reading,
            table,
            heading,
            name: name.into(),
            keys: lists.iter().copied().flatten().collect(),
        };
        section.note_unknown_keys();
        section
    }

    /// The section with only `keys` looked at; others are not called unknown.
    pub(super) fn only(
        reading: &'a Reading<'a>,
        name: String,
        table: &'a dyn TableLike,
        heading: Span,
        keys: &'static [Key],
    ) -> Section<'a> {
        Section {
            reading,
            table: Some(table),
            heading,
            name,
            keys: keys.iter().collect(),
        }
    }

    /// What the section is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the section's heading stands.
    pub(super) fn heading(&self) -> Span {
        self.heading.clone()
    }

    /// Whether `key` is written in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// The place of the value of `key`, or of the heading where it is not written.
    pub(super) fn span(&self, key: &str) -> Span {
        self.item(key)
            .and_then(Item::span)
            .unwrap_or_else(|| self.heading())
    }

    /// The place of the word `key` itself, or of the heading where it is not written.
    pub(super) fn key_span(&self, key: &str) -> Span {
        key_span(self.table, key).unwrap_or_else(|| self.heading())
    }

    /// Notes an error at the value of `key`.
    pub(super) fn refuse(&self, key: &str, message: impl Into<String>) {
        self.reading.note(self.error(key, message));
    }

    /// An error at the value of `key`, for adding to.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        self.reading.error(self.span(key), message)
    }

    /// A text with its `${VARIABLE}`s filled in.
    pub(super) fn text(&self, key: &str) -> Option<Found<String>> {
        let Some(value) = self.value(key) else {
            return self.default_text(key).map(|text| Found {
                value: text.to_owned(),
                span: self.heading(),
            });
        };
        let Value::String(text) = value else {
            self.refuse_type(key, value);
            return None;
        };
        let span = self.span(key);
        let value = self.reading.fill_in(text.value(), &span)?;
        Some(Found { value, span })
    }

    /// A text exactly as written, for keys that may only name a variable.
    pub(super) fn raw_text(&self, key: &str) -> Option<&'a str> {
        self.item(key).and_then(Item::as_str)
    }

    /// One of the key's choices; the first one stands in for a wrong one.
    pub(super) fn choice(&self, key: &str) -> &'static str {
        let Takes::Choice(choices) = self.key(key).takes else {
            return "";
        };
        let first = choices.first().copied().unwrap_or_default();
        let Some(found) = self.text(key) else {
            return first;
        };
        if let Some(choice) = choices.iter().find(|choice| **choice == found.value) {
            return choice;
        }
        self.reading.note(self.not_a_choice(key, &found, choices));
        first
    }

    /// `true` or `false`, where written or given by a default.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.value(key) {
            Some(Value::Boolean(flag)) => Some(*flag.value()),
            Some(other) => {
                self.refuse_type(key, other);
                None
            }
            None => self.default_text(key).map(|text| text == "true"),
        }
    }

    /// A whole number within its bounds, where written or given by a default.
    pub(super) fn count_if(&self, key: &str) -> Option<u64> {
        let number = match self.value(key) {
            Some(Value::Integer(number)) => *number.value(),
            Some(other) => {
                self.refuse_type(key, other);
                return None;
            }
            None => return self.default_text(key)?.parse().ok(),
        };
        let (min, max) = self.key(key).takes.bounds();
        let count = u64::try_from(number).ok();
        let within = count.filter(|count| (min..=max).contains(count));
        if within.is_none() {
            self.refuse_bounds(key, &number.to_string(), &min.to_string(), &max.to_string());
        }
        within
    }

    /// A whole number that has a default, which also stands in for a wrong one.
    pub(super) fn count(&self, key: &str) -> u64 {
        let default = || self.key(key).default_text()?.parse().ok();
        self.count_if(key).or_else(default).unwrap_or_default()
    }

    /// [`Section::count`] for numbers that count things in memory.
    pub(super) fn number<T: TryFrom<u64> + Default>(&self, key: &str) -> T {
        T::try_from(self.count(key)).unwrap_or_default()
    }

    /// A duration; its default stands in for a wrong one.
    pub(super) fn duration(&self, key: &str) -> Duration {
        let read = |text: &str| unit::duration(text).map(|d| d.as_millis() as u64);
        let text = |ms| unit::duration_text(Duration::from_millis(ms));
        let default = || read(self.key(key).default_text()?).ok();
        let ms = self.measure(key, read, text).or_else(default);
        Duration::from_millis(ms.unwrap_or_default())
    }

    /// A size in bytes, where written or given by a default.
    pub(super) fn size_if(&self, key: &str) -> Option<u64> {
        self.measure(key, unit::size, unit::size_text)
    }

    /// A size in bytes; its default stands in for a wrong one.
    pub(super) fn size(&self, key: &str) -> u64 {
        let default = || unit::size(self.key(key).default_text()?).ok();
        self.size_if(key).or_else(default).unwrap_or_default()
    }

    /// [`Section::size`] for sizes of things in memory.
    pub(super) fn bytes(&self, key: &str) -> usize {
        usize::try_from(self.size(key)).unwrap_or(usize::MAX)
    }

    /// A list of texts with their places; empty where it is not written.
    pub(super) fn texts(&self, key: &str) -> Vec<Found<String>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.as_array() else {
            self.refuse_type(key, value);
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|item| self.element(key, item))
            .collect()
    }

    fn element(&self, key: &str, item: &Value) -> Option<Found<String>> {
        let span = item.span().unwrap_or_else(|| self.span(key));
        let Some(text) = item.as_str() else {
            let message = format!("`{key}` holds texts only, this is {}", kind(item));
            let error = self.reading.error(span, message);
            self.reading.note(error.with_label("put it in quotes"));
            return None;
        };
        let value = self.reading.fill_in(text, &span)?;
        Some(Found { value, span })
    }

    /// The table under `key` with its own keys.
    pub(super) fn table(&self, key: &str) -> Option<Section<'a>> {
        let Takes::Table(keys) = self.key(key).takes else {
            return None;
        };
        let table = self.table_like(key)?;
        let name = match self.name.as_str() {
            "" => format!("[{key}]"),
            name => format!("`{key}` of {name}"),
        };
        Some(Section::open(
            self.reading,
            name,
            Some(table),
            self.key_span(key),
            &[keys],
        ))
    }

    /// The entries of the table under `key`: name, place of the name, item.
    pub(super) fn entries(&self, key: &str) -> Vec<(Found<String>, &'a Item)> {
        let Some(table) = self.table_like(key) else {
            return Vec::new();
        };
        let named = |name: &str| Found {
            value: name.to_owned(),
            span: key_span(Some(table), name).unwrap_or_else(|| self.span(key)),
        };
        table
            .iter()
            .map(|(name, item)| (named(name), item))
            .collect()
    }

    fn table_like(&self, key: &str) -> Option<&'a dyn TableLike> {
        let item = self.item(key);
        if let (Some(item), None) = (item, item.and_then(Item::as_table_like)) {
            self.refuse_item(key, item.type_name());
        }
        if item.is_none() {
            self.refuse_missing(key);
        }
        item.and_then(Item::as_table_like)
    }

    fn measure(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<u64, unit::NoUnit>,
        write: impl Fn(u64) -> String,
    ) -> Option<u64> {
        let (min, max) = self.key(key).takes.bounds();
        if let Some(Value::Integer(number)) = self.value(key) {
            self.refuse_bare_number(key, &number.value().to_string());
            return None;
        }
        let found = self.text(key)?;
        match read(&found.value) {
            Ok(amount) if (min..=max).contains(&amount) => Some(amount),
            Ok(_) => {
                self.refuse_bounds(
                    key,
                    &format!("\"{}\"", found.value),
                    &write(min),
                    &write(max),
                );
                None
            }
            Err(wrong) => {
                self.refuse_unit(key, &found.value, wrong);
                None
            }
        }
    }

    /// The value of `key`; notes a required one that is missing.
    fn value(&self, key: &str) -> Option<&'a Value> {
        let item = self.item(key);
        if let Some(Item::Table(_) | Item::ArrayOfTables(_)) = item {
            self.refuse_item(key, "a section");
        }
        if item.is_none() {
            self.refuse_missing(key);
        }
        item.and_then(Item::as_value)
    }

    fn item(&self, key: &str) -> Option<&'a Item> {
        self.table.and_then(|table| table.get(key))
    }

    /// The declaration of `key`. Asking for an undeclared key is a mistake of this program,
    /// which the tests over all keys would meet.
    fn key(&self, key: &str) -> &'static Key {
        self.keys
            .iter()
            .find(|declared| declared.name == key)
            .unwrap_or_else(|| panic!("{} has no key {key}", self.name))
    }

    fn default_text(&self, key: &str) -> Option<&'static str> {
        match self.has(key) {
            true => None,
            false => self.key(key).default_text(),
        }
    }
}

fn key_span(table: Option<&dyn TableLike>, key: &str) -> Option<Span> {
    table?.key(key)?.span()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a table",
    }
}
