//! Checked expressions to closures, each for the one type it gives.
//!
//! The types are settled, so a closure for `float` works on `f64` and looks at nothing else. Only
//! what is `any` goes through [`Value`].

mod call;
pub(crate) mod closure;
mod copy;
mod dynamic;
mod logic;
mod number;
mod operation;
pub(crate) mod rule;
mod text;

use std::sync::{Arc, LazyLock};

pub(crate) use call::regex;
pub(crate) use operation::{int_slot, is_between};

use crate::compile::closure::{Context, Eval, NameId, Names, NoValue, Operand, Site};
use crate::event::Event;
use crate::event::json::{FieldId, Slot};
use crate::ir::{Envelope, Expr, Kind};
use crate::syntax::rule_file::RuleFile;
use crate::value::Value;
use crate::value::types::Type;

/// What compiling an expression needs to know beside it.
pub(crate) struct Compiler<'a> {
    pub(crate) file: Arc<RuleFile>,
    /// Paths by [`FieldId`].
    pub(crate) fields: &'a [Vec<String>],
    pub(crate) names: &'a mut Names,
}

impl Compiler<'_> {
    fn written(&self, expr: &Expr) -> String {
        let text = self.file.text.get(expr.span.clone());
        text.unwrap_or_default().to_owned()
    }

    /// The place of `expr`, with the operands that a message should name.
    fn site(&self, expr: &Expr, operands: &[&Expr]) -> Site {
        let operand = |operand: &&Expr| match operand.constant() {
            Some(_) => Operand::Constant,
            None => Operand::at(&operand.span),
        };
        let operands = operands.iter().map(operand).collect();
        Site::new(Arc::clone(&self.file), &expr.span, operands)
    }

    fn field_name(&mut self, id: FieldId) -> NameId {
        let path = self.fields.get(id.0 as usize).map(|path| path.join("."));
        match path.as_deref() {
            Some("") | None => self.names.id("payload"),
            Some(path) => self.names.id(path),
        }
    }

    /// The name to count when `expr` is undefined by itself.
    fn written_name(&mut self, expr: &Expr) -> NameId {
        let written = crate::compile::closure::shorten(&self.written(expr));
        self.names.id(&written)
    }

    /// A closure that gives a value of any type.
    pub(crate) fn value(&mut self, expr: &Expr) -> Eval<Value> {
        match expr.ty {
            _ if matches!(expr.kind, Kind::Constant(_)) => self.dynamic(expr),
            Type::Bool => {
                let inner = self.bool(expr);
                Box::new(move |cx| inner(cx).map(Value::Bool))
            }
            Type::Int => {
                let inner = self.int(expr);
                Box::new(move |cx| inner(cx).map(Value::Int))
            }
            Type::Time => {
                let inner = self.int(expr);
                Box::new(move |cx| inner(cx).map(Value::Time))
            }
            Type::Duration => {
                let inner = self.int(expr);
                Box::new(move |cx| inner(cx).map(Value::Duration))
            }
            Type::Float => {
                let inner = self.float(expr);
                Box::new(move |cx| inner(cx).map(Value::Float))
            }
            Type::Text => {
                let inner = self.str(expr);
                Box::new(move |cx| inner(cx).map(|text| Value::Text(text.into_arc())))
            }
            Type::List | Type::Object | Type::Any => self.dynamic(expr),
        }
    }

    /// `if`, for any type but text.
    fn choice<T: 'static>(
        &mut self,
        parts: &[Expr; 3],
        of: fn(&mut Self, &Expr) -> Eval<T>,
    ) -> Eval<T> {
        let condition = self.bool(&parts[0]);
        let (yes, no) = (of(self, &parts[1]), of(self, &parts[2]));
        Box::new(move |cx| match condition(cx)? {
            true => yes(cx),
            false => no(cx),
        })
    }

    /// `??`, for any type but text.
    fn first_defined<T: 'static>(
        &mut self,
        all: &[Expr],
        of: fn(&mut Self, &Expr) -> Eval<T>,
    ) -> Eval<T> {
        let mut rest: Vec<Eval<T>> = all.iter().map(|expr| of(self, expr)).collect();
        let Some(last) = rest.pop() else {
            return self.never();
        };
        Box::new(move |cx| {
            for candidate in &rest {
                match candidate(cx) {
                    Err(NoValue::Undefined(_)) => {}
                    decided => return decided,
                }
            }
            last(cx)
        })
    }

    /// For combinations that the checker does not let through.
    fn never<T: 'static>(&mut self) -> Eval<T> {
        let name = self.names.id("?");
        Box::new(move |_| Err(NoValue::Undefined(name)))
    }
}

/// A field's slot; a missing one is undefined.
fn slot(cx: &Context<'_>, id: FieldId, name: NameId) -> Result<Slot, NoValue> {
    match cx.slots.get(id.0 as usize) {
        None | Some(Slot::Missing) => Err(NoValue::Undefined(name)),
        Some(slot) => Ok(*slot),
    }
}

/// What a field turned out to be instead of its type.
fn wrong_field(site: &Site, slot: Slot, wanted: Type) -> NoValue {
    let found = match slot {
        Slot::Bool(_) => Type::Bool,
        Slot::Int(_) => Type::Int,
        Slot::Float(_) => Type::Float,
        Slot::Text { .. } => Type::Text,
        Slot::Nested { is_list: true, .. } => Type::List,
        Slot::Nested { .. } => Type::Object,
        Slot::Missing => Type::Any,
    };
    site.error(format!("{found} where {wanted} is needed"), &[])
}

/// The text attributes of an event.
fn envelope_text<'c>(cx: &Context<'c>, attribute: &Envelope) -> Option<&'c str> {
    let event = cx.event;
    match attribute {
        Envelope::Topic => Some(&event.topic),
        Envelope::Source => Some(&event.source),
        Envelope::Publisher => Some(&event.publisher),
        Envelope::Id => Some(&event.id),
        Envelope::Type => Some(&event.kind),
        Envelope::Subject => event.subject.as_deref(),
        Envelope::ContentType => event.content_type.as_deref(),
        Envelope::Extension(name) => event.extension(name),
        Envelope::Time | Envelope::Received => None,
    }
}

/// Runs an expression of constants.
pub(crate) fn constant(compiled: &Eval<Value>) -> Result<Value, NoValue> {
    static NOWHERE: LazyLock<Event> = LazyLock::new(|| Event {
        id: "".into(),
        source: "".into(),
        kind: "".into(),
        subject: None,
        topic: "".into(),
        publisher: "".into(),
        time: None,
        received: 0,
        content_type: None,
        schema: None,
        extensions: Vec::new(),
        data: bytes::Bytes::new(),
        ..Event::default()
    });
    compiled(&Context {
        event: &NOWHERE,
        payload: "",
        slots: &[],
        captures: &[],
        locals: &[],
        written: &[],
    })
}
