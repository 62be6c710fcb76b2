//! Rules after checking: names resolved, every expression typed, every conversion written out.

pub(crate) mod builtin;

use std::sync::Arc;

use crate::decision::{Destination, Priority};
use crate::event::json::FieldId;
use crate::ir::builtin::Function;
use crate::syntax::ast::{Arithmetic, Compare, Span};
use crate::syntax::fingerprint::Fingerprint;
use crate::topic::{Capture, TopicFilter};
use crate::value::Value;
use crate::value::types::Type;

/// A checked expression.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) ty: Type,
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Constant(Value),
    /// A field of the payload.
    Field(FieldId),
    /// A part of the topic, by its place among the captures of the rule.
    Capture(usize),
    Envelope(Envelope),
    /// A field the rule has set, by its place among those.
    Local(usize),
    /// `int` to `float`.
    Widen(Box<Expr>),
    /// `any` to the type of this expression, an error if the value turns out to be another.
    Expect(Box<Expr>),
    Member(Box<Expr>, Arc<str>),
    Index(Box<Expr>, Box<Expr>),
    If(Box<[Expr; 3]>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Arithmetic(Arithmetic, Box<[Expr; 2]>),
    /// Both operands have one type, or at least one has `any`.
    Compare(Compare, Box<[Expr; 2]>),
    /// Value, lowest and highest, all of one type.
    InRange(Box<[Expr; 3]>),
    /// Value and list.
    InList(Box<[Expr; 2]>),
    Coalesce(Vec<Expr>),
    Exists(Box<Expr>),
    Call(Function, Vec<Expr>),
    List(Vec<Expr>),
    Object(Vec<(Arc<str>, Expr)>),
}

/// An attribute of the event around the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Envelope {
    Topic,
    Source,
    Publisher,
    Id,
    Type,
    Subject,
    ContentType,
    Time,
    Received,
    Extension(Arc<str>),
}

impl Envelope {
    /// Attributes by the names rules know them under, and their types.
    pub(crate) const NAMED: [(&'static str, Envelope, Type); 9] = [
        ("topic", Envelope::Topic, Type::Text),
        ("source", Envelope::Source, Type::Text),
        ("publisher", Envelope::Publisher, Type::Text),
        ("id", Envelope::Id, Type::Text),
        ("type", Envelope::Type, Type::Text),
        ("subject", Envelope::Subject, Type::Text),
        ("content_type", Envelope::ContentType, Type::Text),
        ("time", Envelope::Time, Type::Time),
        ("received", Envelope::Received, Type::Time),
    ];

    pub(crate) fn named(name: &str) -> Option<(Envelope, Type)> {
        Envelope::NAMED
            .into_iter()
            .find(|(known, _, _)| *known == name)
            .map(|(_, attribute, ty)| (attribute, ty))
    }
}

impl Kind {
    /// The expressions right inside this one.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Kind::Constant(_)
            | Kind::Field(_)
            | Kind::Capture(_)
            | Kind::Envelope(_)
            | Kind::Local(_) => Vec::new(),
            Kind::Widen(inner)
            | Kind::Expect(inner)
            | Kind::Member(inner, _)
            | Kind::Not(inner)
            | Kind::Negate(inner)
            | Kind::Exists(inner) => vec![inner],
            Kind::Index(value, index) => vec![value, index],
            Kind::If(parts) | Kind::InRange(parts) => parts.iter().collect(),
            Kind::Arithmetic(_, two) | Kind::Compare(_, two) | Kind::InList(two) => {
                two.iter().collect()
            }
            Kind::And(all)
            | Kind::Or(all)
            | Kind::Coalesce(all)
            | Kind::Call(_, all)
            | Kind::List(all) => all.iter().collect(),
            Kind::Object(members) => members.iter().map(|(_, value)| value).collect(),
        }
    }

    fn reads_nothing_itself(&self) -> bool {
        !matches!(
            self,
            Kind::Field(_) | Kind::Capture(_) | Kind::Envelope(_) | Kind::Local(_)
        )
    }
}

impl Expr {
    /// The value, where it is known before any event comes.
    pub(crate) fn constant(&self) -> Option<&Value> {
        match &self.kind {
            Kind::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it could be computed now: everything in it is constant.
    pub(crate) fn is_foldable(&self) -> bool {
        let children = self.kind.children();
        self.constant().is_none()
            && self.kind.reads_nothing_itself()
            && children.iter().all(|child| child.constant().is_some())
    }

    /// Calls `found` for every field that is read.
    pub(crate) fn fields(&self, found: &mut impl FnMut(FieldId)) {
        if let Kind::Field(id) = self.kind {
            found(id);
        }
        for child in self.kind.children() {
            child.fields(found);
        }
    }
}

/// Everything in a folder of rule files.
#[derive(Debug, Default)]
pub(crate) struct Program {
    /// Paths by [`FieldId`].
    pub(crate) fields: Vec<Vec<String>>,
    pub(crate) events: Vec<EventType>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) unmatched: Option<Rule>,
}

/// A declared type of event, as far as arriving events are held against it.
#[derive(Debug)]
pub(crate) struct EventType {
    pub(crate) name: Arc<str>,
    /// `file:line` of the declaration.
    pub(crate) place: String,
    pub(crate) contract: Vec<ContractField>,
}

/// A field that the declaration promises something about.
#[derive(Debug)]
pub(crate) struct ContractField {
    pub(crate) id: FieldId,
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) required: bool,
    /// Lowest and highest, of the type of the field.
    pub(crate) range: Option<(Value, Value)>,
}

/// A rule, or the `unmatched` block.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    /// Index of the file it stands in.
    pub(crate) file: usize,
    pub(crate) sources: Vec<RuleSource>,
    pub(crate) clauses: Vec<Clause>,
    pub(crate) locals: usize,
    /// Of what it says and of the declarations it is on: the same wherever it stands and however
    /// it is laid out.
    pub(crate) fingerprint: Fingerprint,
}

#[derive(Debug, Clone)]
pub(crate) struct RuleSource {
    pub(crate) filter: TopicFilter,
    /// Where the rule's captures are in topics of this source; `None` if they are not there.
    pub(crate) captures: Vec<Option<Capture>>,
    /// The declared event, by its place.
    pub(crate) event: Option<usize>,
}

#[derive(Debug)]
pub(crate) enum Clause {
    When(Expr),
    Set {
        name: Arc<str>,
        local: usize,
        value: Expr,
    },
    Drop(Vec<Arc<str>>),
    Rename(Arc<str>, Arc<str>),
    Send(Box<Send>),
}

#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) destination: Destination,
    pub(crate) priority: Priority,
    pub(crate) topic: Option<Expr>,
    pub(crate) key: Option<Expr>,
    pub(crate) reason: Option<Expr>,
    pub(crate) span: Span,
}

impl Clause {
    /// The expressions in it.
    pub(crate) fn exprs(&self) -> Vec<&Expr> {
        match self {
            Clause::When(expr) | Clause::Set { value: expr, .. } => vec![expr],
            Clause::Drop(_) | Clause::Rename(..) => Vec::new(),
            Clause::Send(send) => [&send.topic, &send.key, &send.reason]
                .into_iter()
                .flatten()
                .collect(),
        }
    }
}
