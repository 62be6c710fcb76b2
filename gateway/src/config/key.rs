//! One key of the configuration: its name, what it takes, its default and what it is for.
//!
//! [`keys!`] declares the keys of a section, a line each. The reader takes name, type, bounds and
//! default from that line, and the table in `gateway/README.md` is made from it, so a setting is
//! described in exactly one place.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

pub mod unit;

/// All keys of a section or of a part of one, in the order of the README.
pub(crate) type Rows = &'static [&'static AnyKey];

/// A key and everything there is to know about it, save the type it is read into.
#[derive(Debug, Clone, Copy)]
pub struct AnyKey {
    /// As written in the file.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What holds when it is absent.
    pub absent: Absent,
    /// What it is for, in a few words.
    pub help: &'static str,
    /// Names that it had once: whoever writes one is told the new one, for good.
    pub formerly: &'static [&'static str],
}

/// A key that `Section::read` reads as `V`.
pub(crate) struct Key<V> {
    key: AnyKey,
    read_as: PhantomData<fn() -> V>,
}

impl<V> Deref for Key<V> {
    type Target = AnyKey;

    fn deref(&self) -> &AnyKey {
        &self.key
    }
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
    Choice(fn() -> Vec<&'static str>),
    /// `"127.0.0.1:1883"`
    Address,
    /// A file or folder, relative to the configuration file.
    Path,
    /// `["text", …]`
    Texts,
    /// `{ key = value, … }` with these keys.
    Table(Rows),
    /// `{ NAME = { … }, … }`
    Tables,
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

/// Read as a text with its place.
pub(crate) enum Text {}
/// Read as a whole number of the type `N`.
pub(crate) struct Count<N>(PhantomData<N>);
/// Read as bytes on a disk or a wire.
pub(crate) enum Size {}
/// Read as bytes in memory.
pub(crate) enum MemorySize {}
/// Read as one of the choices of `C`.
pub(crate) struct OneOf<C>(PhantomData<C>);
/// Read as texts with their places.
pub(crate) enum Texts {}
/// Opened as a section of its own.
pub(crate) enum Table {}
/// Read as entries with their names.
pub(crate) enum Entries {}

/// What a key may be set to, word by word.
pub(crate) trait Choice: Copy + 'static {
    /// The words and what they stand for; the first one stands in for a wrong word.
    const CHOICES: &'static [(&'static str, Self)];
}

/// The words of `C`.
fn words<C: Choice>() -> Vec<&'static str> {
    C::CHOICES.iter().map(|(word, _)| *word).collect()
}

/// A key of which is not said yet what holds when it is absent.
pub(crate) struct Draft<V> {
    takes: Takes,
    read_as: PhantomData<fn() -> V>,
}

const fn draft<V>(takes: Takes) -> Draft<V> {
    Draft {
        takes,
        read_as: PhantomData,
    }
}

/// Takes any text.
pub(crate) const fn text() -> Draft<Text> {
    draft(Takes::Text)
}

/// Takes `true` or `false`.
pub(crate) const fn flag() -> Draft<bool> {
    draft(Takes::Flag)
}

/// Takes a whole number from `min` to `max`.
pub(crate) const fn count<N>(min: u64, max: u64) -> Draft<Count<N>> {
    draft(Takes::Count(min, max))
}

/// Takes a duration from `min` to `max`.
pub(crate) const fn duration(min: &'static str, max: &'static str) -> Draft<Duration> {
    draft(Takes::Duration(min, max))
}

/// Takes a size from `min` to `max`.
pub(crate) const fn size(min: &'static str, max: &'static str) -> Draft<Size> {
    draft(Takes::Size(min, max))
}

/// Takes a size from `min` to `max` of something that is held in memory.
pub(crate) const fn memory_size(min: &'static str, max: &'static str) -> Draft<MemorySize> {
    draft(Takes::Size(min, max))
}

/// Takes one of the words of `C`.
pub(crate) const fn one_of<C: Choice>() -> Draft<OneOf<C>> {
    draft(Takes::Choice(words::<C>))
}

/// Takes an address and a port.
pub(crate) const fn address() -> Draft<SocketAddr> {
    draft(Takes::Address)
}

/// Takes the path of a file or folder.
pub(crate) const fn path() -> Draft<PathBuf> {
    draft(Takes::Path)
}

/// Takes a list of texts.
pub(crate) const fn texts() -> Draft<Texts> {
    draft(Takes::Texts)
}

/// Takes a table with the keys `rows`.
pub(crate) const fn table(rows: Rows) -> Draft<Table> {
    draft(Takes::Table(rows))
}

/// Takes a table of tables.
pub(crate) const fn tables() -> Draft<Entries> {
    draft(Takes::Tables)
}

/// Takes a table of texts.
pub(crate) const fn pairs() -> Draft<Entries> {
    draft(Takes::Pairs)
}

impl<V> Draft<V> {
    /// A key that must be there.
    pub(crate) const fn required(self, help: &'static str) -> Key<Option<V>> {
        declared(self.takes, Absent::Refused, help)
    }

    /// A key with a default.
    pub(crate) const fn default(self, default: &'static str, help: &'static str) -> Key<V> {
        declared(self.takes, Absent::Default(default), help)
    }

    /// A key whose absence means something of its own.
    pub(crate) const fn optional(self, means: &'static str, help: &'static str) -> Key<Option<V>> {
        declared(self.takes, Absent::Means(means), help)
    }
}

const fn declared<V>(takes: Takes, absent: Absent, help: &'static str) -> Key<V> {
    Key {
        key: AnyKey {
            name: "",
            takes,
            absent,
            help,
            formerly: &[],
        },
        read_as: PhantomData,
    }
}

impl<V> Key<V> {
    /// The key with the name of its field, for [`keys!`]: `r#type` is called `type`.
    pub(crate) const fn named(self, field: &'static str) -> Key<V> {
        let name = match field.as_bytes() {
            [b'r', b'#', ..] => field.split_at(2).1,
            _ => field,
        };
        Key {
            key: AnyKey { name, ..self.key },
            read_as: PhantomData,
        }
    }

    /// The key after it was renamed, with the names that it had: none of them is ever left out.
    #[allow(dead_code, reason = "no key has been renamed yet")]
    pub(crate) const fn formerly(self, names: &'static [&'static str]) -> Key<V> {
        Key {
            key: AnyKey {
                formerly: names,
                ..self.key
            },
            read_as: PhantomData,
        }
    }

    /// The key without its type.
    pub(crate) const fn any(&self) -> &AnyKey {
        &self.key
    }
}

/// Declares the keys of a section: a static with a field per key, and `ROWS` of its type.
///
/// A key is named as its field. Its line says what it is read as, what it takes, and what holds
/// when it is absent:
///
/// ```text
/// keys! {
///     /// Keys of `[upstreams.NAME]` with `type = "file"`.
///     pub(crate) FILE: FileKeys {
///         path: Option<PathBuf> = path().required("file of JSON lines"),
///         rotate_size: Size = size("4KiB", "16TiB").default("64MiB", "when a new file is begun"),
///     }
/// }
/// ```
macro_rules! keys {
    (
        $(#[$doc:meta])*
        $vis:vis $table:ident: $Keys:ident {
            $($field:ident: $read_as:ty = $key:expr),* $(,)?
        }
    ) => {
        $(#[$doc])*
        $vis static $table: $Keys = $Keys { $($field: $key.named(stringify!($field))),* };

        $(#[$doc])*
        $vis struct $Keys {
            $(pub(crate) $field: $crate::config::key::Key<$read_as>),*
        }

        impl $Keys {
            /// All of them, in the order of the README.
            $vis const ROWS: $crate::config::key::Rows = &[$($table.$field.any()),*];
        }
    };
}
pub(crate) use keys;

impl AnyKey {
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
            Takes::Choice(choices) => choices().contains(&text),
            Takes::Flag => matches!(text, "true" | "false"),
            Takes::Address => text.parse::<SocketAddr>().is_ok(),
            Takes::Text | Takes::Path => true,
            Takes::Texts | Takes::Table(_) | Takes::Tables | Takes::Pairs => false,
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
                let quoted: Vec<_> = choices().iter().map(|c| format!("`\"{c}\"`")).collect();
                quoted.join(", ")
            }
            Takes::Address => "address:port".to_owned(),
            Takes::Path => "path".to_owned(),
            Takes::Texts => "list of texts".to_owned(),
            Takes::Table(_) => "table".to_owned(),
            Takes::Tables => "table of tables".to_owned(),
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
            Takes::Choice(choices) => enumerate(&choices()),
            Takes::Address => "an address such as \"127.0.0.1:1883\"".to_owned(),
            Takes::Path => "a path in quotes".to_owned(),
            Takes::Texts => "a list such as [\"a\", \"b\"]".to_owned(),
            Takes::Table(_) => "a table such as { key = \"value\" }".to_owned(),
            Takes::Tables => "a table such as { NAME = { … } }".to_owned(),
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
pub(super) fn enumerate(choices: &[&str]) -> String {
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
