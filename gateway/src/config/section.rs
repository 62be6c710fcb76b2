//! One section of the file: which keys it may have, which are written, and where.
//!
//! Values are read in `section/read.rs`; what is said of wrong ones stands in `section/errors.rs`.

mod errors;
mod read;

use tidegate_rules::diagnostic::Diagnostic;
use toml_edit::{Item, TableLike, Value};

use super::context::{Context, Span, Spanned};
use super::key::{AnyKey, Key, Rows, Table, Takes};
pub(crate) use read::Read;

/// One table of the file with the keys it may have.
pub(crate) struct Section<'a> {
    pub(crate) context: &'a Context<'a>,
    table: Option<&'a dyn TableLike>,
    heading: Span,
    name: String,
    keys: Vec<&'static AnyKey>,
}

impl<'a> Section<'a> {
    /// The section `name` with `lists` of keys; unknown keys are reported at once.
    /// Without `table` every key has its default.
    pub(crate) fn open(
        context: &'a Context<'a>,
        name: impl Into<String>,
        table: Option<&'a dyn TableLike>,
        heading: Span,
        lists: &[Rows],
    ) -> Section<'a> {
        let section = Section {
            context,
            table,
            heading,
            name: name.into(),
            keys: lists.iter().copied().flatten().copied().collect(),
        };
        section.report_unknown_keys();
        section
    }

    /// The section with only `key` looked at; others are not called unknown.
    pub(super) fn only(
        context: &'a Context<'a>,
        name: String,
        table: &'a dyn TableLike,
        heading: Span,
        key: &'static AnyKey,
    ) -> Section<'a> {
        Section {
            context,
            table: Some(table),
            heading,
            name,
            keys: vec![key],
        }
    }

    /// What the section is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the section's heading stands.
    pub(crate) fn heading(&self) -> Span {
        self.heading.clone()
    }

    /// Whether `key` is written in the file.
    pub(crate) fn has(&self, key: &AnyKey) -> bool {
        self.item(key).is_some()
    }

    /// The place of the value of `key`, or of the heading where it is not written.
    pub(crate) fn span(&self, key: &AnyKey) -> Span {
        self.item(key)
            .and_then(Item::span)
            .unwrap_or_else(|| self.heading())
    }

    /// The place of the word `name` before its value, or of the heading where it is not written.
    pub(super) fn name_span(&self, name: &str) -> Span {
        name_span(self.table, name).unwrap_or_else(|| self.heading())
    }

    /// Reports an error at the value of `key`.
    pub(crate) fn report(&self, key: &AnyKey, message: impl Into<String>) {
        self.context.report(self.error(key, message));
    }

    /// An error at the value of `key`, for adding to.
    pub(crate) fn error(&self, key: &AnyKey, message: impl Into<String>) -> Diagnostic {
        self.context.error(self.span(key), message)
    }

    /// A warning at the value of `key`, for adding to.
    pub(crate) fn warning(&self, key: &AnyKey, message: impl Into<String>) -> Diagnostic {
        self.context.warning(self.span(key), message)
    }

    /// The table under `key` with its own keys.
    pub(crate) fn table(&self, key: &Key<Option<Table>>) -> Option<Section<'a>> {
        let Takes::Table(rows) = key.takes else {
            return None;
        };
        let table = self.table_like(key)?;
        let name = match self.name.as_str() {
            "" => format!("[{}]", key.name),
            name => format!("`{}` of {name}", key.name),
        };
        let heading = self.name_span(key.name);
        Some(Section::open(
            self.context,
            name,
            Some(table),
            heading,
            &[rows],
        ))
    }

    /// The entries of the table under `key`: name, place of the name, item.
    pub(crate) fn entries(&self, key: &AnyKey) -> Vec<(Spanned<String>, &'a Item)> {
        let Some(table) = self.table_like(key) else {
            return Vec::new();
        };
        let named = |name: &str| Spanned {
            value: name.to_owned(),
            span: name_span(Some(table), name).unwrap_or_else(|| self.span(key)),
        };
        table
            .iter()
            .map(|(name, item)| (named(name), item))
            .collect()
    }

    fn table_like(&self, key: &AnyKey) -> Option<&'a dyn TableLike> {
        let item = self.item(key);
        if let (Some(item), None) = (item, item.and_then(Item::as_table_like)) {
            self.report_item(key, item.type_name());
        }
        if item.is_none() {
            self.report_missing(key);
        }
        item.and_then(Item::as_table_like)
    }

    /// The value of `key`; reports a required one that is missing.
    fn value(&self, key: &AnyKey) -> Option<&'a Value> {
        let item = self.item(key);
        if let Some(Item::Table(_) | Item::ArrayOfTables(_)) = item {
            self.report_item(key, "a section");
        }
        if item.is_none() {
            self.report_missing(key);
        }
        item.and_then(Item::as_value)
    }

    fn item(&self, key: &AnyKey) -> Option<&'a Item> {
        debug_assert!(
            self.keys.iter().any(|known| known.name == key.name),
            "{} does not list its key {}",
            self.name,
            key.name
        );
        self.table.and_then(|table| table.get(key.name))
    }
}

fn name_span(table: Option<&dyn TableLike>, name: &str) -> Option<Span> {
    table?.key(name)?.span()
}

/// What a value is, in messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a table",
    }
}
