//! Closures that give text.

use super::closure::{EvalText, NoValue, Str};
use super::operation::wrong_type;
use super::{Compiler, envelope_text, slot, wrong_field};
use crate::event::json::Slot;
use crate::ir::{Expr, Kind};
use crate::value::Value;
use crate::value::types::Type;

impl Compiler<'_> {
    /// A closure for an expression of type `text`.
    pub(crate) fn str(&mut self, expr: &Expr) -> EvalText {
        match &expr.kind {
            Kind::Constant(Value::Text(text)) => {
                let text = text.clone();
                Box::new(move |_| Ok(Str::Shared(text.clone())))
            }
            Kind::Field(id) => self.text_field(expr, *id),
            // A field of an undeclared event, where text is needed.
            Kind::Expect(inner) if let Kind::Field(id) = inner.kind => self.text_field(expr, id),
            Kind::Capture(at) => {
                let (at, name) = (*at, self.written_name(expr));
                Box::new(move |cx| {
                    let range = cx.captures.get(at).and_then(Option::as_ref);
                    let part = range.and_then(|range| cx.event.topic.get(range.clone()));
                    part.map(Str::Borrowed).ok_or(NoValue::Undefined(name))
                })
            }
            Kind::Envelope(attribute) => {
                let (attribute, name) = (attribute.clone(), self.written_name(expr));
                Box::new(move |cx| {
                    let text = envelope_text(cx, &attribute);
                    text.map(Str::Borrowed).ok_or(NoValue::Undefined(name))
                })
            }
            Kind::Local(at) => {
                let (at, name) = (*at, self.written_name(expr));
                Box::new(move |cx| match cx.locals.get(at) {
                    Some(Some(Value::Text(text))) => Ok(Str::Borrowed(text)),
                    _ => Err(NoValue::Undefined(name)),
                })
            }
            Kind::If(parts) => {
                let condition = self.bool(&parts[0]);
                let (yes, no) = (self.str(&parts[1]), self.str(&parts[2]));
                Box::new(move |cx| match condition(cx)? {
                    true => yes(cx),
                    false => no(cx),
                })
            }
            Kind::Coalesce(all) => self.first_defined_text(all),
            Kind::Call(function, arguments) => self.text_call(expr, *function, arguments),
            _ => {
                let (inner, site) = (self.dynamic(expr), self.site(expr, &[]));
                Box::new(move |cx| match inner(cx)? {
                    Value::Text(text) => Ok(Str::Shared(text)),
                    other => Err(wrong_type(&site, &other, Type::Text)),
                })
            }
        }
    }

    fn text_field(&mut self, expr: &Expr, id: crate::event::json::FieldId) -> EvalText {
        let (name, site) = (self.field_name(id), self.site(expr, &[]));
        Box::new(move |cx| match slot(cx, id, name)? {
            text @ Slot::Text { .. } => Ok(cx.text(text)),
            other => Err(wrong_field(&site, other, Type::Text)),
        })
    }

    fn first_defined_text(&mut self, all: &[Expr]) -> EvalText {
        let all: Vec<EvalText> = all.iter().map(|expr| self.str(expr)).collect();
        let nothing = self.names.id("?");
        Box::new(move |cx| {
            let mut last = Err(NoValue::Undefined(nothing));
            for candidate in &all {
                last = candidate(cx);
                if !matches!(last, Err(NoValue::Undefined(_))) {
                    break;
                }
            }
            last
        })
    }

    /// The text of a value of any type, for templates, keys and `text(x)`.
    pub(crate) fn as_text(&mut self, expr: &Expr) -> EvalText {
        if expr.ty == Type::Text {
            return self.str(expr);
        }
        let inner = self.value(expr);
        Box::new(move |cx| match inner(cx)? {
            Value::Text(text) => Ok(Str::Shared(text)),
            other => Ok(Str::Owned(other.to_text())),
        })
    }
}
