//! Closures that give numbers: `int`, `float`, and times and durations, which are whole
//! milliseconds.

use super::{Compiler, slot, wrong_field};
use crate::ast::Arithmetic;
use crate::eval::{Eval, Site, Stop};
use crate::ir::{Envelope, Expr, Kind};
use crate::json::{FieldId, Slot};
use crate::types::Type;
use crate::value::Value;
use crate::when;

/// Whole floats up to here are exact, so they may stand for whole numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

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
                        .ok_or_else(|| site.stop("integer overflow", &[&value]))
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
                    int_value(&value, ty).ok_or_else(|| super::dynamic::wrong(&site, &value, ty))
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
            round_to_int(result).ok_or_else(|| site.stop("integer overflow", &[&a, &b]))
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
                    other => Err(super::dynamic::wrong(&site, &other, Type::Float)),
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

/// Arithmetic of whole numbers; `/` does not come here, it gives a float.
pub(super) fn whole(operator: Arithmetic, a: i64, b: i64, site: &Site) -> Result<i64, Stop> {
    let result = match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => {
            return Err(site.stop("division by zero", &[&a, &b]));
        }
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    result.ok_or_else(|| site.stop("integer overflow", &[&a, &b]))
}

/// Arithmetic of numbers with a fraction. What JSON could not carry is an error.
pub(super) fn real(operator: Arithmetic, a: f64, b: f64, site: &Site) -> Result<f64, Stop> {
    let result = match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide | Arithmetic::Remainder if b == 0.0 => {
            return Err(site.stop("division by zero", &[&a, &b]));
        }
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    };
    match result.is_finite() {
        true => Ok(result),
        false => Err(site.stop("number too large", &[&a, &b])),
    }
}

/// `value` rounded half away from zero, if it fits.
pub(super) fn round_to_int(value: f64) -> Option<i64> {
    let rounded = value.round();
    (rounded >= i64::MIN as f64 && rounded < i64::MAX as f64).then_some(rounded as i64)
}

/// A whole number, time or duration out of a payload; `text` gives the text the slot points at.
pub(crate) fn int_slot(slot: Slot, ty: Type, text: impl Fn() -> String) -> Option<i64> {
    match (ty, slot) {
        (Type::Int | Type::Time, Slot::Int(value)) => Some(value),
        (Type::Int | Type::Time, Slot::Float(value)) => exact(value),
        (Type::Time, Slot::Text { .. }) => when::parse_time(&text()),
        (Type::Duration, Slot::Text { .. }) => when::parse_duration(&text()),
        _ => None,
    }
}

/// The same out of a value whose type was not known before.
pub(super) fn int_value(value: &Value, ty: Type) -> Option<i64> {
    match (ty, value) {
        (Type::Int | Type::Time, Value::Int(value)) => Some(*value),
        (Type::Int | Type::Time, Value::Float(value)) => exact(*value),
        (Type::Time, Value::Time(value)) | (Type::Duration, Value::Duration(value)) => Some(*value),
        (Type::Time, Value::Text(text)) => when::parse_time(text),
        (Type::Duration, Value::Text(text)) => when::parse_duration(text),
        _ => None,
    }
}

/// 3.0 is a whole number too: many devices write all numbers with a fraction.
fn exact(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}
