//! What a rule file says, without how it is written: the tree's meaning with its places.

use std::ops::Range;

use super::fingerprint::Fingerprint;

/// Bytes of the file.
pub(crate) type Span = Range<usize>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A text in quotes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quoted {
    /// What it stands for.
    pub(crate) value: String,
    /// The bytes of the file between the quotes.
    pub(crate) inner: Span,
    /// The bytes of the file with the quotes.
    pub(crate) span: Span,
}

#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) events: Vec<EventBlock>,
    pub(crate) rules: Vec<RuleBlock>,
    pub(crate) unmatched: Vec<RuleBlock>,
}

#[derive(Debug)]
pub(crate) struct EventBlock {
    pub(crate) name: Name,
    pub(crate) topic: Option<Quoted>,
    pub(crate) fields: Vec<FieldLine>,
    /// Of its tokens, without white space and comments.
    pub(crate) fingerprint: Fingerprint,
}

#[derive(Debug)]
pub(crate) struct FieldLine {
    pub(crate) name: Name,
    pub(crate) kind: Name,
    pub(crate) required: bool,
    pub(crate) optional: bool,
    pub(crate) default: Option<Expr>,
    pub(crate) range: Option<Expr>,
}

#[derive(Debug)]
pub(crate) struct RuleBlock {
    /// For `unmatched`: that word.
    pub(crate) name: Name,
    pub(crate) clauses: Vec<Clause>,
    /// Of its tokens, without white space and comments.
    pub(crate) fingerprint: Fingerprint,
}

#[derive(Debug)]
pub(crate) enum Clause {
    On(Span, Vec<Source>),
    When(Expr),
    Set(Name, Expr),
    Drop(Vec<Name>),
    Rename(Name, Name),
    Send(Box<Send>),
}

#[derive(Debug)]
pub(crate) enum Source {
    Event(Name),
    Filter(Quoted),
}

#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) to: Option<Name>,
    pub(crate) topic: Option<Template>,
    pub(crate) key: Option<Expr>,
    pub(crate) priority: Option<Name>,
    pub(crate) reason: Option<Template>,
}

/// A text with `{…}` holes.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum Part {
    Text(String),
    Hole(Expr),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
    /// Levels of expressions in it, itself included.
    pub(crate) depth: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    Bool(bool),
    Int(i64),
    Float(f64),
    Duration(i64),
    Text(Quoted),
    Variable(String),
    Member(Box<Expr>, Name),
    Index(Box<Expr>, Box<Expr>),
    Call(Name, Vec<Expr>),
    List(Vec<Expr>),
    Object(Vec<(Name, Expr)>),
    If(Box<[Expr; 3]>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Compare(Compare, Box<[Expr; 2]>),
    /// Only in `x in a..b` and in `in a..b` of a field.
    Range(Box<[Expr; 2]>),
    In(Box<[Expr; 2]>),
    Coalesce(Vec<Expr>),
    Arithmetic(Arithmetic, Box<[Expr; 2]>),
    /// Something that was already complained about.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}
