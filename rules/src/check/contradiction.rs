//! Conditions that no value can pass: `when x > 5` below `when x < 3`, or beyond the declared
//! range of the field.

use super::Checker;
use super::interval::Interval;
use super::scope::Scope;
use crate::event::json::FieldId;
use crate::ir::{Expr, Kind};
use crate::syntax::ast::Compare;
use crate::value::Value;

impl Checker<'_> {
    /// Notes what `condition` leaves of the fields in it, and warns once it leaves nothing.
    pub(super) fn narrow(&mut self, scope: &mut Scope, condition: &Expr) {
        if let Kind::And(all) = &condition.kind {
            return all.iter().for_each(|one| self.narrow(scope, one));
        }
        let Some((field, wanted)) = wanted(condition) else {
            return;
        };
        let declared = self.declared_interval(scope, field);
        let left = scope.intervals.entry(field).or_insert(declared);
        if left.is_empty() {
            return;
        }
        for (operator, value) in wanted {
            left.narrow(operator, value);
        }
        if left.is_empty() {
            let path = self.program.fields[field.0 as usize].join(".");
            let message = format!("no `{path}` can pass this and what is above or declared");
            self.warning(&condition.span, message);
        }
    }

    fn declared_interval(&self, scope: &Scope, field: FieldId) -> Interval {
        let mut all = Interval::ALL;
        if let ([event], false) = (scope.events.as_slice(), scope.untyped) {
            let contract = &self.program.events[*event].contract;
            let promise = contract.iter().find(|promise| promise.id == field);
            if let Some((low, high)) = promise.and_then(|promise| promise.range.as_ref())
                && let (Some(low), Some(high)) = (number(low), number(high))
            {
                all.above(low, false);
                all.below(high, false);
            }
        }
        all
    }
}

/// The field a comparison with constants is about, and what it wants of it.
fn wanted(condition: &Expr) -> Option<(FieldId, Vec<(Compare, f64)>)> {
    match &condition.kind {
        Kind::Compare(operator, two) => {
            let [left, right] = &**two;
            match (field(left), field(right)) {
                (Some(id), None) => Some((id, vec![(*operator, number(right.constant()?)?)])),
                (None, Some(id)) => {
                    let value = number(left.constant()?)?;
                    Some((id, vec![(mirrored(*operator), value)]))
                }
                _ => None,
            }
        }
        Kind::InRange(parts) => {
            let [value, low, high] = &**parts;
            let low = (Compare::GreaterEqual, number(low.constant()?)?);
            let high = (Compare::LessEqual, number(high.constant()?)?);
            Some((field(value)?, vec![low, high]))
        }
        _ => None,
    }
}

fn field(expr: &Expr) -> Option<FieldId> {
    match &expr.kind {
        Kind::Field(id) => Some(*id),
        Kind::Widen(inner) | Kind::Expect(inner) => field(inner),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) | Value::Time(value) | Value::Duration(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

/// `5 < x` is `x > 5`.
fn mirrored(operator: Compare) -> Compare {
    match operator {
        Compare::Less => Compare::Greater,
        Compare::LessEqual => Compare::GreaterEqual,
        Compare::Greater => Compare::Less,
        Compare::GreaterEqual => Compare::LessEqual,
        same => same,
    }
}
