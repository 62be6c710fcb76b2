//! Topics, topic filters and topic patterns.
//!
//! A topic name is what an event is published under. A filter is what MQTT 5.0 section 4.7 calls
//! one: levels divided by `/`, `+` for one level, `#` for the rest. A pattern is a filter of the
//! rule language, in which `{line}` and `{rest...}` also name what they match.

pub mod index;

use std::fmt;
use std::ops::Range;

/// The longest topic or filter in bytes (MQTT 5.0 section 4.7.3).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// The most levels a filter may have. Indexes walk filters level by level, so this bounds their depth.
pub const FILTER_LEVELS_MAX: usize = 200;

/// Whether `topic` may be published to: not empty, not too long, no wildcard, no NUL.
pub fn is_valid_topic_name(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= TOPIC_BYTES_MAX
        && memchr::memchr3(b'+', b'#', 0, topic.as_bytes()).is_none()
}

/// The first character of a text that MQTT does not carry: a broker may close the connection over it (MQTT 5.0 section
/// 1.5.4, MQTT 3.1.1 section 1.5.3).
pub fn uncarried(text: &str) -> Option<char> {
    text.chars().find(|character| {
        let code = u32::from(*character);
        let is_none = (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE;
        is_none || character.is_control()
    })
}

/// Why a text is no topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicError {
    /// There is nothing in it.
    Empty,
    /// It is longer than [`TOPIC_BYTES_MAX`].
    TooLong,
    /// It has more than [`FILTER_LEVELS_MAX`] levels.
    TooDeep,
    /// It holds a NUL character.
    Nul,
    /// `+` stands beside other characters in a level.
    PlusInLevel,
    /// `#` stands beside other characters, or is not last.
    HashNotLast,
    /// A `{name}` is not closed, empty, not a name, or shares its level with other characters.
    Capture(String),
    /// Two captures have the same name.
    Repeated(String),
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicError::Empty => write!(f, "a topic filter cannot be empty"),
            TopicError::TooLong => {
                write!(
                    f,
                    "a topic filter cannot be longer than {TOPIC_BYTES_MAX} bytes"
                )
            }
            TopicError::TooDeep => {
                write!(
                    f,
                    "a topic filter cannot have more than {FILTER_LEVELS_MAX} levels"
                )
            }
            TopicError::Nul => write!(f, "a topic filter cannot contain a NUL character"),
            TopicError::PlusInLevel => {
                write!(
                    f,
                    "`+` matches a whole level and must stand alone between slashes"
                )
            }
            TopicError::HashNotLast => {
                write!(
                    f,
                    "`#` matches all remaining levels and must be the last level"
                )
            }
            TopicError::Capture(level) => write!(
                f,
                "`{level}` is no capture: write `{{name}}` as a whole level, or `{{name...}}` as the last"
            ),
            TopicError::Repeated(name) => write!(f, "`{{{name}}}` is captured twice"),
        }
    }
}

impl std::error::Error for TopicError {}

/// A checked MQTT topic filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Box<str>);

impl TopicFilter {
    /// Checks `text` against the rules of MQTT 5.0 section 4.7.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<TopicFilter, TopicError> {
        check_shape(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let last = levels.peek().is_none();
            match level {
                "+" => {}
                "#" if last => {}
                _ if level.contains('#') => return Err(TopicError::HashNotLast),
                _ if level.contains('+') => return Err(TopicError::PlusInLevel),
                _ => {}
            }
        }
        Ok(TopicFilter(text.into()))
    }

    /// The filter as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels between the slashes.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether `topic` is accepted. A filter that starts with a wildcard does not accept topics
    /// that start with `$`; `a/#` accepts `a` itself.
    pub fn matches(&self, topic: &str) -> bool {
        let first_is_wildcard = self.0.starts_with(['+', '#']);
        if first_is_wildcard && topic.starts_with('$') {
            return false;
        }
        let mut wanted = self.levels();
        let mut given = topic.split('/');
        loop {
            match (wanted.next(), given.next()) {
                (Some("#"), _) => return true,
                (Some("+"), Some(_)) => {}
                (Some(filter), Some(level)) if filter == level => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

/// Whether every topic that the filter `inner` matches is matched by `outer` too. A shared subscription covers itself alone.
pub fn covers(outer: &str, inner: &str) -> bool {
    if is_hidden(outer, inner) || outer.starts_with("$share/") {
        return outer == inner;
    }
    let mut wanted = inner.split('/');
    for level in outer.split('/') {
        match (level, wanted.next()) {
            ("#", _) => return true,
            ("+", Some(asked)) if asked != "#" => {}
            (level, Some(asked)) if level == asked => {}
            _ => return false,
        }
    }
    wanted.next().is_none()
}

/// Whether some topic is matched by both filters.
pub fn overlap(one: &str, other: &str) -> bool {
    if is_hidden(one, other) || is_hidden(other, one) {
        return false;
    }
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (None, _) | (_, None) => return false,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

/// A filter for topics that both filters match, which overlap.
pub fn shared_filter(one: &str, other: &str) -> String {
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    let mut shared: Vec<&str> = Vec::new();
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), rest) => {
                shared.extend(rest.into_iter().chain(others));
                break;
            }
            (rest, Some("#")) => {
                shared.extend(rest.into_iter().chain(ones));
                break;
            }
            (Some("+"), Some(level)) | (Some(level), _) => shared.push(level),
            (None, _) => break,
        }
    }
    shared.join("/")
}

/// Whether `filter` begins with a wildcard, which matches no topic that begins with `$`, as `other` does.
fn is_hidden(filter: &str, other: &str) -> bool {
    filter.starts_with(['+', '#']) && other.starts_with('$')
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_shape(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    if text.contains('\0') {
        return Err(TopicError::Nul);
    }
    match text.split('/').nth(FILTER_LEVELS_MAX) {
        Some(_) => Err(TopicError::TooDeep),
        None => Ok(()),
    }
}

/// A name bound to a part of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The variable it binds.
    pub name: String,
    /// The level it stands at, from 0.
    pub level: usize,
    /// Whether it binds all levels from there on.
    pub rest: bool,
}

impl Capture {
    /// The bytes of `topic` it binds; empty at the end where `{rest...}` matches nothing.
    pub fn find(&self, topic: &str) -> Range<usize> {
        let mut start = 0;
        for _ in 0..self.level {
            match memchr::memchr(b'/', &topic.as_bytes()[start..]) {
                Some(slash) => start += slash + 1,
                None => return topic.len()..topic.len(),
            }
        }
        let end = match self.rest {
            true => None,
            false => memchr::memchr(b'/', &topic.as_bytes()[start..]),
        };
        start..end.map_or(topic.len(), |slash| start + slash)
    }
}

/// A topic filter with names: `plant/{line}/{press}/temp`, `plant/{rest...}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    /// The filter with `+` and `#` in place of the names.
    pub filter: TopicFilter,
    /// The names in the order of the levels.
    pub captures: Vec<Capture>,
}

impl TopicPattern {
    /// Parses `text`, in which raw `+` and `#` are allowed too.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<TopicPattern, TopicError> {
        check_shape(text)?;
        let mut captures: Vec<Capture> = Vec::new();
        let mut filter = String::with_capacity(text.len());
        let mut levels = text.split('/').enumerate().peekable();
        while let Some((at, level)) = levels.next() {
            if at > 0 {
                filter.push('/');
            }
            if !level.contains(['{', '}']) {
                filter.push_str(level);
                continue;
            }
            let capture = parse_capture(level, at, levels.peek().is_none())?;
            if captures.iter().any(|known| known.name == capture.name) {
                return Err(TopicError::Repeated(capture.name));
            }
            filter.push_str(if capture.rest { "#" } else { "+" });
            captures.push(capture);
        }
        let filter = TopicFilter::parse(&filter)?;
        Ok(TopicPattern { filter, captures })
    }
}

fn parse_capture(text: &str, level: usize, last: bool) -> Result<Capture, TopicError> {
    let wrong = || TopicError::Capture(text.to_owned());
    let inner = text
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .ok_or_else(wrong)?;
    let (name, rest) = match inner.strip_suffix("...") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name || (rest && !last) {
        return Err(wrong());
    }
    Ok(Capture {
        name: name.to_owned(),
        level,
        rest,
    })
}
