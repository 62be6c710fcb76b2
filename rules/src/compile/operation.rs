//! What operators do with values, and how values are converted: no closures, nothing of the event.

use std::cmp::Ordering;

use super::closure::{NoValue, Site};
use crate::event::json::Slot;
use crate::syntax::ast::{Arithmetic, Compare};
use crate::value::Value;
use crate::value::time_format::{parse_duration, parse_time};
use crate::value::types::Type;

/// Whole floats up to here are exact, so they may stand for whole numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The error that `value` is not what is `wanted`.
pub(super) fn wrong_type(site: &Site, value: &Value, wanted: Type) -> NoValue {
    let found = match value {
        Value::Null => "null".to_owned(),
        other => other.kind().to_string(),
    };
    site.error(format!("{found} where {wanted} is needed"), &[])
}

pub(super) fn uncomparable(site: &Site, left: &Value, right: &Value) -> NoValue {
    let message = format!("comparing {} with {}", left.kind(), right.kind());
    site.error(message, &[&left.to_shown(), &right.to_shown()])
}

/// The order of two values of one type, or of two numbers; `None` for anything else.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right))
        | (Value::Time(left), Value::Time(right))
        | (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Float(right)) => (*left as f64).partial_cmp(right),
        (Value::Float(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Whether two values are equal; an `int` and a `float` are if they are the same number.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match order(left, right) {
        Some(order) => order.is_eq(),
        None => left == right,
    }
}

/// Arithmetic of values whose types were not known before.
pub(super) fn calculate(
    operator: Arithmetic,
    left: &Value,
    right: &Value,
    site: &Site,
) -> Result<Value, NoValue> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) if operator != Arithmetic::Divide => {
            whole(operator, *a, *b, site).map(Value::Int)
        }
        (Value::Int(a), Value::Int(b)) => {
            real(operator, *a as f64, *b as f64, site).map(Value::Float)
        }
        (Value::Int(a), Value::Float(b)) => real(operator, *a as f64, *b, site).map(Value::Float),
        (Value::Float(a), Value::Int(b)) => real(operator, *a, *b as f64, site).map(Value::Float),
        (Value::Float(a), Value::Float(b)) => real(operator, *a, *b, site).map(Value::Float),
        _ => {
            let message = format!("cannot calculate with {} and {}", left.kind(), right.kind());
            Err(site.error(message, &[&left.to_shown(), &right.to_shown()]))
        }
    }
}

/// Whether the comparison holds for operands in this order.
pub(super) fn holds(operator: Compare, order: Ordering) -> bool {
    match operator {
        Compare::Equal => order.is_eq(),
        Compare::NotEqual => order.is_ne(),
        Compare::Less => order.is_lt(),
        Compare::LessEqual => order.is_le(),
        Compare::Greater => order.is_gt(),
        Compare::GreaterEqual => order.is_ge(),
    }
}

pub(super) fn floats_hold(operator: Compare, left: f64, right: f64) -> bool {
    left.partial_cmp(&right)
        .is_some_and(|order| holds(operator, order))
}

/// Arithmetic of whole numbers; `/` does not come here, it gives a float.
pub(super) fn whole(operator: Arithmetic, a: i64, b: i64, site: &Site) -> Result<i64, NoValue> {
    let result = match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => {
            return Err(site.error("division by zero", &[&a, &b]));
        }
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    result.ok_or_else(|| site.error("integer overflow", &[&a, &b]))
}

/// Arithmetic of numbers with a fraction. What JSON could not carry is an error.
pub(super) fn real(operator: Arithmetic, a: f64, b: f64, site: &Site) -> Result<f64, NoValue> {
    let result = match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide | Arithmetic::Remainder if b == 0.0 => {
            return Err(site.error("division by zero", &[&a, &b]));
        }
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    };
    match result.is_finite() {
        true => Ok(result),
        false => Err(site.error("number too large", &[&a, &b])),
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
        (Type::Time, Slot::Text { .. }) => parse_time(&text()),
        (Type::Duration, Slot::Text { .. }) => parse_duration(&text()),
        _ => None,
    }
}

/// The same out of a value whose type was not known before.
pub(super) fn int_value(value: &Value, ty: Type) -> Option<i64> {
    match (ty, value) {
        (Type::Int | Type::Time, Value::Int(value)) => Some(*value),
        (Type::Int | Type::Time, Value::Float(value)) => exact(*value),
        (Type::Time, Value::Time(value)) | (Type::Duration, Value::Duration(value)) => Some(*value),
        (Type::Time, Value::Text(text)) => parse_time(text),
        (Type::Duration, Value::Text(text)) => parse_duration(text),
        _ => None,
    }
}

/// 3.0 is a whole number too: many devices write all numbers with a fraction.
fn exact(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}

/// Whether `low <= value <= high`; `false` for values without an order.
pub(crate) fn is_between(value: &Value, low: &Value, high: &Value) -> bool {
    let above = order(low, value).is_some_and(|order| order.is_le());
    above && order(value, high).is_some_and(|order| order.is_le())
}
