//! Closures that give true or false: logic after Kleene, comparisons, `in`, `exists`.

use super::closure::{Eval, NoValue};
use super::operation::{floats_hold, holds, wrong_type};
use super::{Compiler, slot, wrong_field};
use crate::event::json::{FieldId, Slot};
use crate::ir::{Expr, Kind};
use crate::syntax::ast::Compare;
use crate::value::Value;
use crate::value::types::Type;

impl Compiler<'_> {
    /// A closure for an expression of type `bool`.
    pub(crate) fn bool(&mut self, expr: &Expr) -> Eval<bool> {
        match &expr.kind {
            Kind::Constant(Value::Bool(value)) => {
                let value = *value;
                Box::new(move |_| Ok(value))
            }
            Kind::Field(id) => self.bool_field(expr, *id),
            Kind::Expect(inner) if let Kind::Field(id) = inner.kind => self.bool_field(expr, id),
            Kind::And(all) => self.all_of(all, false),
            Kind::Or(all) => self.all_of(all, true),
            Kind::Not(inner) => {
                let inner = self.bool(inner);
                Box::new(move |cx| inner(cx).map(|value| !value))
            }
            Kind::Compare(operator, two) => self.comparison(expr, *operator, two),
            Kind::InRange(parts) => self.in_range(expr, parts),
            Kind::InList(two) => self.in_list(expr, two),
            Kind::Exists(inner) => self.exists(inner),
            Kind::If(parts) => self.choice(parts, Self::bool),
            Kind::Coalesce(all) => self.first_defined(all, Self::bool),
            Kind::Call(function, arguments) => self.bool_call(expr, *function, arguments),
            _ => {
                let (inner, site) = (self.dynamic(expr), self.site(expr, &[]));
                Box::new(move |cx| match inner(cx)? {
                    Value::Bool(value) => Ok(value),
                    other => Err(wrong_type(&site, &other, Type::Bool)),
                })
            }
        }
    }

    fn bool_field(&mut self, expr: &Expr, id: FieldId) -> Eval<bool> {
        let (name, site) = (self.field_name(id), self.site(expr, &[]));
        Box::new(move |cx| match slot(cx, id, name)? {
            Slot::Bool(value) => Ok(value),
            other => Err(wrong_field(&site, other, Type::Bool)),
        })
    }

    /// `and` (`decisive` false) or `or` (`decisive` true): the decisive value decides even where
    /// others are undefined; without it, one undefined makes the whole undefined.
    fn all_of(&mut self, all: &[Expr], decisive: bool) -> Eval<bool> {
        let all: Vec<Eval<bool>> = all.iter().map(|expr| self.bool(expr)).collect();
        Box::new(move |cx| {
            let mut undefined = None;
            for part in &all {
                match part(cx) {
                    Ok(value) if value == decisive => return Ok(decisive),
                    Ok(_) => {}
                    Err(NoValue::Undefined(name)) => undefined = undefined.or(Some(name)),
                    Err(error) => return Err(error),
                }
            }
            undefined.map_or(Ok(!decisive), |name| Err(NoValue::Undefined(name)))
        })
    }

    fn exists(&mut self, inner: &Expr) -> Eval<bool> {
        if let Kind::Field(id) = inner.kind {
            return Box::new(move |cx| {
                let slot = cx.slots.get(id.0 as usize);
                Ok(!matches!(slot, None | Some(Slot::Missing)))
            });
        }
        let inner = self.value(inner);
        Box::new(move |cx| match inner(cx) {
            Ok(_) => Ok(true),
            Err(NoValue::Undefined(_)) => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn comparison(&mut self, expr: &Expr, operator: Compare, two: &[Expr; 2]) -> Eval<bool> {
        let [left, right] = two;
        match (left.ty, right.ty) {
            (Type::Float, Type::Float) => self.compare_floats(operator, left, right),
            (Type::Int, Type::Int)
            | (Type::Time, Type::Time)
            | (Type::Duration, Type::Duration) => {
                let (left, right) = (self.int(left), self.int(right));
                Box::new(move |cx| Ok(holds(operator, left(cx)?.cmp(&right(cx)?))))
            }
            (Type::Text, Type::Text) => self.compare_texts(operator, left, right),
            (Type::Bool, Type::Bool) => {
                let (left, right) = (self.bool(left), self.bool(right));
                Box::new(move |cx| Ok(holds(operator, left(cx)?.cmp(&right(cx)?))))
            }
            _ => self.compare_dynamic(expr, operator, two),
        }
    }

    fn compare_floats(&mut self, operator: Compare, left: &Expr, right: &Expr) -> Eval<bool> {
        // Most comparisons are with a threshold; that one is worth its own closure.
        if let Some(Value::Float(limit)) = right.constant() {
            let (left, limit) = (self.float(left), *limit);
            return match operator {
                Compare::Greater => Box::new(move |cx| Ok(left(cx)? > limit)),
                Compare::Less => Box::new(move |cx| Ok(left(cx)? < limit)),
                _ => Box::new(move |cx| Ok(floats_hold(operator, left(cx)?, limit))),
            };
        }
        let (left, right) = (self.float(left), self.float(right));
        Box::new(move |cx| Ok(floats_hold(operator, left(cx)?, right(cx)?)))
    }

    fn compare_texts(&mut self, operator: Compare, left: &Expr, right: &Expr) -> Eval<bool> {
        if let Some(Value::Text(constant)) = right.constant() {
            let (left, constant) = (self.str(left), constant.clone());
            return match operator {
                Compare::Equal => Box::new(move |cx| Ok(*left(cx)? == *constant)),
                _ => Box::new(move |cx| Ok(holds(operator, (*left(cx)?).cmp(&*constant)))),
            };
        }
        let (left, right) = (self.str(left), self.str(right));
        Box::new(move |cx| {
            let (left, right) = (left(cx)?, right(cx)?);
            Ok(holds(operator, (*left).cmp(&*right)))
        })
    }

    fn in_range(&mut self, expr: &Expr, parts: &[Expr; 3]) -> Eval<bool> {
        match parts[0].ty {
            Type::Float => {
                let [value, low, high] = [0, 1, 2].map(|at| self.float(&parts[at]));
                Box::new(move |cx| {
                    let value = value(cx)?;
                    Ok(low(cx)? <= value && value <= high(cx)?)
                })
            }
            Type::Int | Type::Time | Type::Duration => {
                let [value, low, high] = [0, 1, 2].map(|at| self.int(&parts[at]));
                Box::new(move |cx| {
                    let value = value(cx)?;
                    Ok(low(cx)? <= value && value <= high(cx)?)
                })
            }
            Type::Text => {
                let [value, low, high] = [0, 1, 2].map(|at| self.str(&parts[at]));
                Box::new(move |cx| {
                    let value = value(cx)?;
                    Ok(*low(cx)? <= *value && *value <= *high(cx)?)
                })
            }
            _ => self.in_dynamic_range(expr, parts),
        }
    }

    fn in_list(&mut self, expr: &Expr, two: &[Expr; 2]) -> Eval<bool> {
        let [value, list] = two;
        if let (Type::Text, Some(Value::List(items))) = (value.ty, list.constant()) {
            let value = self.str(value);
            let items: Vec<std::sync::Arc<str>> = items
                .iter()
                .filter_map(|item| match item {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect();
            return Box::new(move |cx| {
                let value = value(cx)?;
                Ok(items.iter().any(|item| **item == *value))
            });
        }
        self.in_dynamic_list(expr, value, list)
    }
}
