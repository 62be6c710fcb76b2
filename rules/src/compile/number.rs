//! Closures that give numbers: `int`, `float`, and times and durations, which are whole
//! milliseconds.

use super::closure::{Eval, Site};
use super::operation::{int_slot, int_value, real, round_to_int, whole, wrong_type};
use super::{Compiler, slot, wrong_field};
use crate::event::json::{FieldId, Slot};
use crate::ir::{Envelope, Expr, Kind};
use crate::syntax::ast::Arithmetic;
use crate::value::Value;
use crate::value::types::Type;

impl Compiler<'_> {
    /// A closure for an expression of type `int`, `time` or `duration`.
    pub(crate) fn int(&mut self, expr: &Expr) -> Eval<i64> {
        match &expr.kind {
            Kind::Constant(Value::Int(value) | Value::Time(value) | Value::Duration(value)) => {
                let value = *value;
                Box::new(move |_| Ok(value))
            }
            Kind::Field(id) => self.int_field(expr, *id),
            Kind::Expect(inner) if let Kind::Field(id) = inner.kind => self.int_field(expr, id),
            Kind::Envelope(Envelope::Time) => Box::new(|cx| Ok(cx.event.happened())),
            Kind::Envelope(Envelope::Received) => Box::new(|cx| Ok(cx.event.received)),
            Kind::Negate(inner) => {
                let site = self.site(expr, &[inner]);
                let inner = self.int(inner);
                Box::new(move |cx| {
                    let value = inner(cx)?;
                    value
                        .checked_neg()
                        .ok_or_else(|| site.error("integer overflow", &[&value]))
                })
            }
            Kind::Arithmetic(operator, two) => self.int_arithmetic(expr, *operator, two),
            Kind::If(parts) => self.choice(parts, Self::int),
            Kind::Coalesce(all) => self.first_defined(all, Self::int),
            Kind::Call(function, arguments) => self.int_call(expr, *function, arguments),
            _ => {
                let (inner, site, ty) = (self.dynamic(expr), self.site(expr, &[]), expr.ty);
                Box::new(move |cx| {
                    let value = inner(cx)?;
                    int_value(&value, ty).ok_or_else(|| wrong_type(&site, &value, ty))
                })
            }
        }
    }

    fn int_field(&mut self, expr: &Expr, id: FieldId) -> Eval<i64> {
        let (name, site, ty) = (self.field_name(id), self.site(expr, &[]), expr.ty);
        Box::new(move |cx| {
            let slot = slot(cx, id, name)?;
            int_slot(slot, ty, || cx.text(slot).to_string())
                .ok_or_else(|| wrong_field(&site, slot, ty))
        })
    }

    fn float_field(&mut self, expr: &Expr, id: FieldId) -> Eval<f64> {
        let (name, site) = (self.field_name(id), self.site(expr, &[]));
        Box::new(move |cx| match slot(cx, id, name)? {
            Slot::Float(value) => Ok(value),
            Slot::Int(value) => Ok(value as f64),
            other => Err(wrong_field(&site, other, Type::Float)),
        })
    }

    fn int_arithmetic(&mut self, expr: &Expr, operator: Arithmetic, two: &[Expr; 2]) -> Eval<i64> {
        let [left, right] = two;
        let site = self.site(expr, &[left, right]);
        if left.ty == Type::Float || right.ty == Type::Float {
            return self.scaled_duration(site, operator, left, right);
        }
        let (left, right) = (self.int(left), self.int(right));
        Box::new(move |cx| {
            let (a, b) = (left(cx)?, right(cx)?);
            whole(operator, a, b, &site)
        })
    }

    /// `duration * float`, `float * duration`, `duration / float`.
    fn scaled_duration(
        &mut self,
        site: Site,
        operator: Arithmetic,
        left: &Expr,
        right: &Expr,
    ) -> Eval<i64> {
        let (duration, factor) = match left.ty {
            Type::Duration => (self.int(left), self.float(right)),
            _ => (self.int(right), self.float(left)),
        };
        Box::new(move |cx| {
            let (a, b) = (duration(cx)?, factor(cx)?);
            let result = real(operator, a as f64, b, &site)?;
            round_to_int(result).ok_or_else(|| site.error("integer overflow", &[&a, &b]))
        })
    }

    /// A closure for an expression of type `float`.
    pub(crate) fn float(&mut self, expr: &Expr) -> Eval<f64> {
        match &expr.kind {
            Kind::Constant(Value::Float(value)) => {
                let value = *value;
                Box::new(move |_| Ok(value))
            }
            Kind::Field(id) => self.float_field(expr, *id),
            Kind::Expect(inner) if let Kind::Field(id) = inner.kind => self.float_field(expr, id),
            Kind::Widen(inner) => {
                let inner = self.int(inner);
                Box::new(move |cx| inner(cx).map(|value| value as f64))
            }
            Kind::Negate(inner) => {
                let inner = self.float(inner);
                Box::new(move |cx| inner(cx).map(|value| -value))
            }
            Kind::Arithmetic(operator, two) => self.float_arithmetic(expr, *operator, two),
            Kind::If(parts) => self.choice(parts, Self::float),
            Kind::Coalesce(all) => self.first_defined(all, Self::float),
            Kind::Call(function, arguments) => self.float_call(expr, *function, arguments),
            _ => {
                let (inner, site) = (self.dynamic(expr), self.site(expr, &[]));
                Box::new(move |cx| match inner(cx)? {
                    Value::Float(value) => Ok(value),
                    Value::Int(value) => Ok(value as f64),
                    other => Err(wrong_type(&site, &other, Type::Float)),
                })
            }
        }
    }

    fn float_arithmetic(
        &mut self,
        expr: &Expr,
        operator: Arithmetic,
        two: &[Expr; 2],
    ) -> Eval<f64> {
        let [left, right] = two;
        let site = self.site(expr, &[left, right]);
        // `duration / duration` is a ratio.
        if left.ty == Type::Duration {
            let (left, right) = (self.int(left), self.int(right));
            return Box::new(move |cx| {
                let (a, b) = (left(cx)?, right(cx)?);
                real(operator, a as f64, b as f64, &site)
            });
        }
        let (left, right) = (self.float(left), self.float(right));
        Box::new(move |cx| {
            let (a, b) = (left(cx)?, right(cx)?);
            real(operator, a, b, &site)
        })
    }
}
