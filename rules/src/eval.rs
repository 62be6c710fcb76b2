//! What a compiled expression sees, and how it ends.
//!
//! An expression gives a value, or stops: because something is undefined, which is everyday, or
//! because of an error, which sends the event to the dead letters.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::line_column;
use crate::event::Event;
use crate::json::{Slot, text_of};
use crate::value::Value;

/// Everything an expression may read.
#[derive(Clone, Copy)]
pub(crate) struct Cx<'c> {
    pub(crate) event: &'c Event,
    /// The payload where it is JSON, else empty.
    pub(crate) payload: &'c str,
    pub(crate) slots: &'c [Slot],
    /// Bytes of the topic by capture; `None` where the matching source has none.
    pub(crate) captures: &'c [Option<Range<usize>>],
    pub(crate) locals: &'c [Option<Value>],
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stop {
    /// Something is not there.
    Undefined(NameId),
    /// Something went wrong.
    Error(Box<EvalError>),
}

/// What went wrong in one evaluation, ready for the reason of a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EvalError {
    /// What, such as "division by zero".
    pub(crate) message: String,
    /// `place: what in expression (operands)`.
    pub(crate) reason: String,
}

/// The name of something that can be undefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NameId(pub(crate) u32);

/// Names of what can be undefined, each once.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: Vec<Arc<str>>,
}

impl Names {
    pub(crate) fn id(&mut self, name: &str) -> NameId {
        let known = self.names.iter().position(|known| **known == *name);
        let at = known.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        NameId(u32::try_from(at).unwrap_or(u32::MAX))
    }

    pub(crate) fn text(&self, id: NameId) -> Arc<str> {
        let name = self.names.get(id.0 as usize);
        name.cloned().unwrap_or_else(|| "?".into())
    }
}

/// A compiled expression.
pub(crate) type Eval<T> =
    Box<dyn for<'c> Fn(&Cx<'c>) -> Result<T, Stop> + std::marker::Send + Sync>;
/// A compiled expression that gives text, without copying it where it can.
pub(crate) type EvalText =
    Box<dyn for<'c> Fn(&Cx<'c>) -> Result<Str<'c>, Stop> + std::marker::Send + Sync>;

/// Text from the event, from the rule, or made on the way.
#[derive(Debug, Clone)]
pub(crate) enum Str<'c> {
    Borrowed(&'c str),
    Shared(Arc<str>),
    Owned(String),
}

impl Str<'_> {
    pub(crate) fn into_arc(self) -> Arc<str> {
        match self {
            Str::Borrowed(text) => text.into(),
            Str::Shared(text) => text,
            Str::Owned(text) => text.into(),
        }
    }
}

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Str::Borrowed(text) => text,
            Str::Shared(text) => text,
            Str::Owned(text) => text,
        }
    }
}

impl fmt::Display for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<'c> Cx<'c> {
    /// The text a slot points at.
    pub(crate) fn text(&self, slot: Slot) -> Str<'c> {
        match text_of(self.payload, slot) {
            std::borrow::Cow::Borrowed(text) => Str::Borrowed(text),
            std::borrow::Cow::Owned(text) => Str::Owned(text),
        }
    }
}

/// The place of an expression that can fail, for messages.
#[derive(Debug)]
pub(crate) struct Site {
    /// `file:line:column`
    place: String,
    /// The expression as written.
    text: String,
    /// The operands as written; empty for those that are constants.
    operands: Vec<String>,
}

/// How much of an expression or value a message quotes, in characters.
const QUOTED_MAX: usize = 80;

impl Site {
    pub(crate) fn new(file: &str, text: &str, span: Range<usize>, operands: Vec<String>) -> Site {
        let (line, column) = line_column(text, span.start);
        Site {
            place: format!("{file}:{line}:{column}"),
            text: shorten(text.get(span).unwrap_or_default()),
            operands,
        }
    }

    /// Stops with `message`, naming the values of the operands.
    pub(crate) fn stop(&self, message: impl Into<String>, values: &[&dyn fmt::Display]) -> Stop {
        let message = message.into();
        let named: Vec<String> = self
            .operands
            .iter()
            .zip(values)
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, value)| format!("{name}={}", shorten(&value.to_string())))
            .collect();
        let mut reason = format!("{}: {message} in `{}`", self.place, self.text);
        if !named.is_empty() {
            reason.push_str(&format!(" ({})", named.join(", ")));
        }
        Stop::Error(Box::new(EvalError { message, reason }))
    }
}

/// `text` on one line and not too long.
pub(crate) fn shorten(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(QUOTED_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
