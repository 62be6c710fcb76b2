//! What a compiled expression sees, and how it ends.
//!
//! An expression gives a value, or none: because something is undefined, which is everyday, or
//! because of an error, which sends the event to the dead letters.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::line_column;
use crate::event::Event;
use crate::event::json::{Slot, text_of};
use crate::syntax::rule_file::RuleFile;
use crate::value::Value;

/// Everything an expression may read.
#[derive(Clone, Copy)]
pub(crate) struct Context<'c> {
    pub(crate) event: &'c Event,
    /// The payload where it is JSON, else empty.
    pub(crate) payload: &'c str,
    pub(crate) slots: &'c [Slot],
    /// Bytes of the topic by capture; `None` where the matching source has none.
    pub(crate) captures: &'c [Option<Range<usize>>],
    pub(crate) locals: &'c [Option<Value>],
    /// Those of them that were taken over, as they are written.
    pub(crate) written: &'c [Option<String>],
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NoValue {
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
    ids: HashMap<Arc<str>, NameId>,
}

impl Names {
    pub(crate) fn id(&mut self, name: &str) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = NameId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    /// All of them, in the order of their ids.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub(crate) fn find(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    pub(crate) fn text(&self, id: NameId) -> Arc<str> {
        let name = self.names.get(id.0 as usize);
        name.cloned().unwrap_or_else(|| "?".into())
    }
}

/// A compiled expression.
pub(crate) type Eval<T> =
    Box<dyn for<'c> Fn(&Context<'c>) -> Result<T, NoValue> + std::marker::Send + Sync>;
/// A compiled expression that gives text, without copying it where it can.
pub(crate) type EvalText =
    Box<dyn for<'c> Fn(&Context<'c>) -> Result<Str<'c>, NoValue> + std::marker::Send + Sync>;

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

impl<'c> Context<'c> {
    /// The text a slot points at.
    pub(crate) fn text(&self, slot: Slot) -> Str<'c> {
        match text_of(self.payload, slot) {
            std::borrow::Cow::Borrowed(text) => Str::Borrowed(text),
            std::borrow::Cow::Owned(text) => Str::Owned(text),
        }
    }
}

/// The place of an expression that can fail, for messages. Words are put together only when it
/// does: a rule set holds many of these.
#[derive(Debug)]
pub(crate) struct Site {
    file: Arc<RuleFile>,
    span: (u32, u32),
    /// Where the operands that a message should name are written, or what to call them.
    operands: Box<[Operand]>,
}

/// An operand of an expression that can fail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operand {
    /// A constant, whose value the expression shows already.
    Constant,
    Written(u32, u32),
    Called(&'static str),
}

/// How much of an expression or value a message quotes, in characters.
const QUOTED_MAX: usize = 80;

impl Operand {
    pub(crate) fn at(span: &Range<usize>) -> Operand {
        let (start, end) = small(span);
        Operand::Written(start, end)
    }
}

impl Site {
    pub(crate) fn new(file: Arc<RuleFile>, span: &Range<usize>, operands: Vec<Operand>) -> Site {
        Site {
            file,
            span: small(span),
            operands: operands.into(),
        }
    }

    fn written(&self, (start, end): (u32, u32)) -> String {
        let text = self.file.text.get(start as usize..end as usize);
        shorten(text.unwrap_or_default())
    }

    /// An error with `message`, naming the values of the operands.
    pub(crate) fn error(
        &self,
        message: impl Into<String>,
        values: &[&dyn fmt::Display],
    ) -> NoValue {
        let message = message.into();
        let mut named = Vec::new();
        for (operand, value) in self.operands.iter().zip(values) {
            let name = match operand {
                Operand::Constant => continue,
                Operand::Written(start, end) => self.written((*start, *end)),
                Operand::Called(name) => (*name).to_owned(),
            };
            named.push(format!("{name}={}", shorten(&value.to_string())));
        }
        let (line, column) = line_column(&self.file.text, self.span.0 as usize);
        let (path, text) = (&self.file.path, self.written(self.span));
        let mut reason = format!("{path}:{line}:{column}: {message} in `{text}`");
        if !named.is_empty() {
            reason.push_str(&format!(" ({})", named.join(", ")));
        }
        NoValue::Error(Box::new(EvalError { message, reason }))
    }
}

/// Files are far below 4 GiB.
fn small(span: &Range<usize>) -> (u32, u32) {
    let small = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    (small(span.start), small(span.end))
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
