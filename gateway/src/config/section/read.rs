//! The values of a section's keys, checked against what each key takes.
//!
//! Reading answers with the value, or with a stand-in after reporting the error: it goes on, so
//! that all errors come at once. A configuration with a stand-in in it never leaves `config/`.

use std::path::PathBuf;
use std::time::Duration;

use toml_edit::{Item, Value};

use super::{Section, Spanned, kind};
use crate::config::key::unit;
use crate::config::key::{AnyKey, Choice, Count, Key, MemorySize, OneOf, Size, Text, Texts};

/// What a key of the type `Key<Self>` is read into.
pub(crate) trait Read {
    /// The value, with its place where errors are found in it later.
    type Value;

    /// Reads `key`, reporting what is wrong.
    fn read(section: &Section<'_>, key: &AnyKey) -> Self::Value;
}

impl Section<'_> {
    /// The value of `key`.
    pub(crate) fn read<R: Read>(&self, key: &Key<R>) -> R::Value {
        R::read(self, key)
    }
}

/// With its `${VARIABLE}`s expanded.
impl Read for Text {
    type Value = Option<Spanned<String>>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Self::Value {
        section.text(key)
    }
}

impl Read for Option<Text> {
    type Value = Option<Spanned<String>>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Self::Value {
        section.text(key)
    }
}

impl Read for bool {
    type Value = bool;

    fn read(section: &Section<'_>, key: &AnyKey) -> bool {
        section.flag(key).unwrap_or_default()
    }
}

impl Read for Option<bool> {
    type Value = Option<bool>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Option<bool> {
        section.flag(key)
    }
}

impl<N: TryFrom<u64> + Default> Read for Count<N> {
    type Value = N;

    fn read(section: &Section<'_>, key: &AnyKey) -> N {
        let default = || key.default_text()?.parse().ok();
        let count: Option<u64> = section.count(key).or_else(default);
        N::try_from(count.unwrap_or_default()).unwrap_or_default()
    }
}

impl<N: TryFrom<u64>> Read for Option<Count<N>> {
    type Value = Option<N>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Option<N> {
        N::try_from(section.count(key)?).ok()
    }
}

impl Read for Duration {
    type Value = Duration;

    fn read(section: &Section<'_>, key: &AnyKey) -> Duration {
        let default = || unit::duration(key.default_text()?).ok();
        let duration = section.duration(key).or_else(default);
        duration.unwrap_or_default()
    }
}

impl Read for Option<Duration> {
    type Value = Option<Duration>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Option<Duration> {
        section.duration(key)
    }
}

impl Read for Size {
    type Value = u64;

    fn read(section: &Section<'_>, key: &AnyKey) -> u64 {
        let default = || unit::size(key.default_text()?).ok();
        section.size(key).or_else(default).unwrap_or_default()
    }
}

impl Read for Option<Size> {
    type Value = Option<u64>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Option<u64> {
        section.size(key)
    }
}

impl Read for MemorySize {
    type Value = usize;

    fn read(section: &Section<'_>, key: &AnyKey) -> usize {
        usize::try_from(Size::read(section, key)).unwrap_or(usize::MAX)
    }
}

/// The first choice stands in for a wrong one.
impl<C: Choice> Read for OneOf<C> {
    type Value = C;

    fn read(section: &Section<'_>, key: &AnyKey) -> C {
        let (_, first) = C::CHOICES[0];
        section.choice(key).unwrap_or(first)
    }
}

impl<C: Choice> Read for Option<OneOf<C>> {
    type Value = Option<C>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Option<C> {
        section.choice(key)
    }
}

/// Bytes of one name in a path, and of a path, that Linux takes.
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 4095;

/// Why no file can ever have this path.
fn no_path(path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("is empty".to_owned());
    }
    if path.contains('\0') {
        return Some("holds U+0000, which no path can have".to_owned());
    }
    let longest = path.split('/').map(str::len).max().unwrap_or_default();
    if longest > NAME_BYTES_MAX {
        return Some(format!(
            "has a name of {longest} bytes, and one of a file has at most {NAME_BYTES_MAX}"
        ));
    }
    (path.len() > PATH_BYTES_MAX).then(|| {
        let bytes = path.len();
        format!("has {bytes} bytes, and a path has at most {PATH_BYTES_MAX}")
    })
}

/// Relative to the configuration's folder; the file need not exist.
impl Read for Option<PathBuf> {
    type Value = Option<PathBuf>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Option<PathBuf> {
        let found = section.text(key)?;
        if let Some(why) = no_path(&found.value) {
            section.report(key, format!("`{}` {why}", key.name));
            return None;
        }
        Some(section.context.resolve(&found.value))
    }
}

/// Empty where it is not written.
impl Read for Option<Texts> {
    type Value = Vec<Spanned<String>>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Self::Value {
        let Some(value) = section.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.as_array() else {
            section.report_type(key, value);
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|item| section.element(key, item))
            .collect()
    }
}

impl<'a> Section<'a> {
    /// A text with its `${VARIABLE}`s expanded, where written or given by a default.
    pub(in crate::config) fn text(&self, key: &AnyKey) -> Option<Spanned<String>> {
        let Some(value) = self.value(key) else {
            return self.default_text(key).map(|text| Spanned {
                value: text.to_owned(),
                span: self.heading(),
            });
        };
        let Value::String(text) = value else {
            self.report_type(key, value);
            return None;
        };
        let span = self.span(key);
        let value = self.context.expand(text.value(), &span)?;
        Some(Spanned { value, span })
    }

    /// A text exactly as written, for keys that may only name a variable.
    pub(in crate::config) fn raw_text(&self, key: &AnyKey) -> Option<&'a str> {
        self.item(key).and_then(Item::as_str)
    }

    /// One of the words that `key` takes.
    pub(in crate::config) fn word(&self, key: &AnyKey, words: &[&str]) -> Option<String> {
        let found = self.text(key)?;
        if !words.contains(&found.value.as_str()) {
            self.context.report(self.not_a_choice(key, &found, words));
            return None;
        }
        Some(found.value)
    }

    fn choice<C: Choice>(&self, key: &AnyKey) -> Option<C> {
        if let (Some(flags), Some(Value::Boolean(flag))) = (C::FLAGS, self.value(key)) {
            return Some(flags[usize::from(*flag.value())]);
        }
        let words: Vec<&str> = C::CHOICES.iter().map(|(word, _)| *word).collect();
        let found = self.word(key, &words)?;
        let mut choices = C::CHOICES.iter();
        let (_, chosen) = choices.find(|(word, _)| *word == found)?;
        Some(*chosen)
    }

    fn flag(&self, key: &AnyKey) -> Option<bool> {
        match self.value(key) {
            Some(Value::Boolean(flag)) => Some(*flag.value()),
            Some(other) => {
                self.report_type(key, other);
                None
            }
            None => self.default_text(key).map(|text| text == "true"),
        }
    }

    /// A whole number within its bounds, where written or given by a default.
    fn count(&self, key: &AnyKey) -> Option<u64> {
        let number = match self.value(key) {
            Some(Value::Integer(number)) => *number.value(),
            Some(other) => {
                self.report_type(key, other);
                return None;
            }
            None => return self.default_text(key)?.parse().ok(),
        };
        let (min, max) = key.takes.bounds();
        let count = u64::try_from(number).ok();
        let within = count.filter(|count| (min..=max).contains(count));
        if within.is_none() {
            self.report_bounds(key, &number.to_string(), &min.to_string(), &max.to_string());
        }
        within
    }

    fn duration(&self, key: &AnyKey) -> Option<Duration> {
        let read = |text: &str| unit::duration(text).map(|d| d.as_millis() as u64);
        let text = |ms| unit::duration_text(Duration::from_millis(ms));
        self.measure(key, read, text).map(Duration::from_millis)
    }

    fn size(&self, key: &AnyKey) -> Option<u64> {
        self.measure(key, unit::size, unit::size_text)
    }

    /// A number with a unit within its bounds, where written or given by a default.
    fn measure(
        &self,
        key: &AnyKey,
        read: impl Fn(&str) -> Result<u64, unit::NoUnit>,
        write: impl Fn(u64) -> String,
    ) -> Option<u64> {
        let (min, max) = key.takes.bounds();
        if let Some(Value::Integer(number)) = self.value(key) {
            self.report_bare_number(key, &number.value().to_string());
            return None;
        }
        let found = self.text(key)?;
        match read(&found.value) {
            Ok(amount) if (min..=max).contains(&amount) => Some(amount),
            Ok(_) => {
                self.report_bounds(
                    key,
                    &format!("\"{}\"", found.value),
                    &write(min),
                    &write(max),
                );
                None
            }
            Err(wrong) => {
                self.report_unit(key, &found.value, wrong);
                None
            }
        }
    }

    fn element(&self, key: &AnyKey, item: &Value) -> Option<Spanned<String>> {
        let span = item.span().unwrap_or_else(|| self.span(key));
        let Some(text) = item.as_str() else {
            let message = format!("`{}` holds texts only, this is {}", key.name, kind(item));
            let error = self.context.error(span, message);
            self.context.report(error.with_label("put it in quotes"));
            return None;
        };
        let value = self.context.expand(text, &span)?;
        Some(Spanned { value, span })
    }

    fn default_text(&self, key: &AnyKey) -> Option<&'static str> {
        match self.has(key) {
            true => None,
            false => key.default_text(),
        }
    }
}
