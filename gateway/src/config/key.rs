//! One key of the configuration: its name, what it takes, its default and what it is for.
//!
//! The reader takes defaults and bounds from here and the table in `gateway/README.md` is made
//! from here, so a setting is described in exactly one place.

use super::unit;

/// A key and everything there is to know about it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What holds when it is absent.
    pub absent: Absent,
    /// What it is for, in a few words.
    pub help: &'static str,
}

/// What a key takes. Bounds are written as in the file and are themselves allowed.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// `"any text"`
    Text,
    /// `true` or `false`
    Flag,
    /// A whole number.
    Count(u64, u64),
    /// `"5ms"`
    Duration(&'static str, &'static str),
    /// `"2GiB"`
    Size(&'static str, &'static str),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// `"127.0.0.1:1883"`
    Address,
    /// A file or folder, relative to the configuration file.
    Path,
    /// `["text", …]`
    Texts,
    /// `{ key = value, … }` with these keys.
    Table(&'static [Key]),
    /// `{ NAME = { … }, … }` with these keys under each name.
    Tables(&'static [Key]),
    /// `{ NAME = "text", … }`
    Pairs,
}

/// What holds when a key is absent.
#[derive(Debug, Clone, Copy)]
pub enum Absent {
    /// The file is refused.
    Refused,
    /// As if this had been written (without quotes).
    Default(&'static str),
    /// What this says, for the README.
    Means(&'static str),
}

impl Key {
    /// A key that must be there.
    pub const fn required(name: &'static str, takes: Takes, help: &'static str) -> Key {
        Key {
            name,
            takes,
            absent: Absent::Refused,
            help,
        }
    }

    /// A key with a default.
    pub const fn default(
        name: &'static str,
        takes: Takes,
        default: &'static str,
        help: &'static str,
    ) -> Key {
        Key {
            name,
            takes,
            absent: Absent::Default(default),
            help,
        }
    }

    /// A key whose absence means something of its own.
    pub const fn optional(
        name: &'static str,
        takes: Takes,
        means: &'static str,
        help: &'static str,
    ) -> Key {
        Key {
            name,
            takes,
            absent: Absent::Means(means),
            help,
        }
    }

    /// The default as written in a file.
    pub(super) fn default_text(&self) -> Option<&'static str> {
        match self.absent {
            Absent::Default(text) => Some(text),
            Absent::Refused | Absent::Means(_) => None,
        }
    }

    /// Whether the default could be written into a file as it is.
    pub fn default_is_allowed(&self) -> bool {
        let Some(text) = self.default_text() else {
            return true;
        };
        let (min, max) = self.takes.bounds();
        let within = |amount: u64| (min..=max).contains(&amount);
        match self.takes {
            Takes::Count(..) => text.parse().is_ok_and(within),
            Takes::Duration(..) => unit::duration(text).is_ok_and(|d| within(d.as_millis() as u64)),
            Takes::Size(..) => unit::size(text).is_ok_and(within),
            Takes::Choice(choices) => choices.contains(&text),
            Takes::Flag => matches!(text, "true" | "false"),
            Takes::Address => text.parse::<std::net::SocketAddr>().is_ok(),
            Takes::Text | Takes::Path => true,
            Takes::Texts | Takes::Table(_) | Takes::Tables(_) | Takes::Pairs => false,
        }
    }

    /// Its line in the table of the README: key, takes, default, meaning.
    pub fn row(&self, section: &str) -> String {
        let absent = match self.absent {
            Absent::Refused => "required".to_owned(),
            Absent::Default(text) if self.takes.is_quoted() => format!("`\"{text}\"`"),
            Absent::Default(text) => format!("`{text}`"),
            Absent::Means(what) => what.to_owned(),
        };
        let takes = self.takes.describe();
        let name = self.name;
        format!(
            "| `{section}` | `{name}` | {takes} | {absent} | {} |",
            self.help
        )
    }
}

impl Takes {
    /// In words, with bounds.
    pub fn describe(&self) -> String {
        match self {
            Takes::Text => "text".to_owned(),
            Takes::Flag => "`true` or `false`".to_owned(),
            Takes::Count(min, max) => format!("{min} – {max}"),
            Takes::Duration(min, max) => format!("duration, {min} – {max}"),
            Takes::Size(min, max) => format!("size, {min} – {max}"),
            Takes::Choice(choices) => {
                let quoted: Vec<_> = choices.iter().map(|c| format!("`\"{c}\"`")).collect();
                quoted.join(", ")
            }
            Takes::Address => "address:port".to_owned(),
            Takes::Path => "path".to_owned(),
            Takes::Texts => "list of texts".to_owned(),
            Takes::Table(_) => "table".to_owned(),
            Takes::Tables(_) => "table of tables".to_owned(),
            Takes::Pairs => "table of texts".to_owned(),
        }
    }

    /// An example of what to write, for messages.
    pub(super) fn example(&self, default: Option<&str>) -> String {
        match self {
            Takes::Text => "text in quotes".to_owned(),
            Takes::Flag => "true or false".to_owned(),
            Takes::Count(min, max) => format!("a whole number from {min} to {max}"),
            Takes::Duration(min, _) => {
                format!("a duration such as \"{}\"", default.unwrap_or(min))
            }
            Takes::Size(min, _) => format!("a size such as \"{}\"", default.unwrap_or(min)),
            Takes::Choice(choices) => one_of(choices),
            Takes::Address => "an address such as \"127.0.0.1:1883\"".to_owned(),
            Takes::Path => "a path in quotes".to_owned(),
            Takes::Texts => "a list such as [\"a\", \"b\"]".to_owned(),
            Takes::Table(_) => "a table such as { key = \"value\" }".to_owned(),
            Takes::Tables(_) => "a table such as { NAME = { … } }".to_owned(),
            Takes::Pairs => "a table such as { NAME = \"value\" }".to_owned(),
        }
    }

    fn is_quoted(&self) -> bool {
        !matches!(self, Takes::Flag | Takes::Count(..))
    }

    /// Bounds of a duration or size in milliseconds or bytes; of a count as they are.
    pub(super) fn bounds(&self) -> (u64, u64) {
        let ms = |text| unit::duration(text).map_or(0, |d| d.as_millis() as u64);
        let bytes = |text| unit::size(text).unwrap_or(0);
        match self {
            Takes::Count(min, max) => (*min, *max),
            Takes::Duration(min, max) => (ms(min), ms(max)),
            Takes::Size(min, max) => (bytes(min), bytes(max)),
            _ => (0, u64::MAX),
        }
    }
}

/// `"a"`, `"b"` or `"c"`.
pub(super) fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices
        .iter()
        .map(|choice| format!("\"{choice}\""))
        .collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
