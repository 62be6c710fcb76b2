//! What names mean at a line of a rule.

use std::collections::BTreeMap;

use super::interval::Intervals;
use crate::event::json::FieldId;
use crate::syntax::ast::Span;
use crate::value::Value;
use crate::value::types::Type;

/// What the expressions of a rule can see.
#[derive(Default)]
pub(super) struct Scope {
    /// The declared events the rule is on.
    pub(super) events: Vec<usize>,
    /// Whether fields may occur that nobody declared.
    pub(super) untyped: bool,
    /// Names bound by the topics.
    pub(super) captures: Vec<String>,
    /// Fields that `set`, `drop` or `rename` gave a new meaning.
    pub(super) changed: BTreeMap<String, Binding>,
    pub(super) locals: usize,
    /// What the conditions so far leave of numeric fields.
    pub(super) intervals: Intervals,
}

/// What a changed field is now.
#[derive(Clone)]
pub(super) enum Binding {
    /// A field of the payload under its new name.
    Field(FieldId, Type, Option<Value>),
    /// A value the rule has set.
    Local(usize, Type),
    /// The first, or the second where the first is undefined.
    Either(Box<Binding>, Box<Binding>),
    /// Dropped or renamed away, there.
    Gone(Span),
}
