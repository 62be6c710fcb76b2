//! Closures for what is known only when the event is there: `any`, lists and objects.

use std::sync::Arc;

use super::closure::{Eval, NoValue, Site};
use super::operation::{calculate, holds, order, same, uncomparable, whole, wrong_type};
use super::{Compiler, envelope_text, slot};
use crate::event::json::{FieldId, Slot, decode};
use crate::ir::{Expr, Kind};
use crate::syntax::ast::{Arithmetic, Compare};
use crate::value::Value;
use crate::value::types::Type;

impl Compiler<'_> {
    /// A closure for an expression whose value has no fixed type.
    pub(super) fn dynamic(&mut self, expr: &Expr) -> Eval<Value> {
        match &expr.kind {
            Kind::Constant(value) => {
                let value = value.clone();
                Box::new(move |_| Ok(value.clone()))
            }
            Kind::Field(id) => self.dynamic_field(expr, *id),
            Kind::Local(at) => {
                let (at, name) = (*at, self.written_name(expr));
                Box::new(move |cx| match cx.locals.get(at) {
                    Some(Some(value)) => Ok(value.clone()),
                    _ => Err(NoValue::Undefined(name)),
                })
            }
            Kind::Envelope(attribute) => {
                let (attribute, name) = (attribute.clone(), self.written_name(expr));
                Box::new(move |cx| match envelope_text(cx, &attribute) {
                    Some(text) => Ok(Value::Text(text.into())),
                    None => Err(NoValue::Undefined(name)),
                })
            }
            Kind::Widen(inner) => self.value(inner),
            Kind::Expect(inner) => self.expected(expr, inner),
            Kind::Member(value, member) => self.member(expr, value, member),
            Kind::Index(value, index) => self.index(expr, value, index),
            Kind::If(parts) => self.choice(parts, Self::value),
            Kind::Coalesce(all) => self.first_defined(all, Self::value),
            Kind::Negate(inner) => {
                let (site, inner) = (self.site(expr, &[inner]), self.value(inner));
                Box::new(move |cx| match inner(cx)? {
                    Value::Int(value) => {
                        whole(Arithmetic::Subtract, 0, value, &site).map(Value::Int)
                    }
                    Value::Float(value) => Ok(Value::Float(-value)),
                    other => Err(wrong_type(&site, &other, Type::Float)),
                })
            }
            Kind::Arithmetic(operator, two) => self.dynamic_arithmetic(expr, *operator, two),
            Kind::Call(function, arguments) => self.dynamic_call(expr, *function, arguments),
            Kind::List(items) => {
                let items: Vec<Eval<Value>> = items.iter().map(|item| self.value(item)).collect();
                Box::new(move |cx| {
                    let values: Result<Vec<Value>, NoValue> =
                        items.iter().map(|item| item(cx)).collect();
                    Ok(Value::List(values?.into()))
                })
            }
            Kind::Object(members) => self.object(members),
            _ => self.never(),
        }
    }

    fn dynamic_field(&mut self, expr: &Expr, id: FieldId) -> Eval<Value> {
        let (name, wanted) = (self.field_name(id), expr.ty);
        let site = self.site(expr, &[]);
        Box::new(move |cx| {
            let value = decode(cx.payload, slot(cx, id, name)?);
            match wanted == Type::Any || wanted == value.kind() {
                true => Ok(value),
                false => Err(wrong_type(&site, &value, wanted)),
            }
        })
    }

    fn expected(&mut self, expr: &Expr, inner: &Expr) -> Eval<Value> {
        let (site, wanted) = (self.site(expr, &[]), expr.ty);
        // The typed closures convert what they find themselves.
        if !matches!(wanted, Type::List | Type::Object) {
            return self.value(inner);
        }
        let inner = self.value(inner);
        Box::new(move |cx| {
            let value = inner(cx)?;
            match value.kind() == wanted {
                true => Ok(value),
                false => Err(wrong_type(&site, &value, wanted)),
            }
        })
    }

    /// A member that is not there is undefined; a member of something that has none is an error.
    fn member(&mut self, expr: &Expr, value: &Expr, member: &Arc<str>) -> Eval<Value> {
        let (name, site) = (self.written_name(expr), self.site(expr, &[value]));
        let (value, member) = (self.value(value), member.clone());
        Box::new(move |cx| match value(cx)? {
            Value::Object(members) => find(&members, &member).ok_or(NoValue::Undefined(name)),
            Value::Null => Err(NoValue::Undefined(name)),
            other => Err(site.error(
                format!("{} has no members", other.kind()),
                &[&other.to_shown()],
            )),
        })
    }

    fn index(&mut self, expr: &Expr, value: &Expr, index: &Expr) -> Eval<Value> {
        let (name, site) = (self.written_name(expr), self.site(expr, &[value, index]));
        let (value, index) = (self.value(value), self.value(index));
        Box::new(move |cx| {
            let found = match (value(cx)?, index(cx)?) {
                (Value::Null, _) => None,
                (Value::Object(members), Value::Text(key)) => find(&members, &key),
                (Value::List(items), Value::Int(at)) => usize::try_from(at)
                    .ok()
                    .and_then(|at| items.get(at).cloned())
                    .filter(|item| *item != Value::Null),
                (value, index) => {
                    let message = format!("{} has no place for {}", value.kind(), index.kind());
                    return Err(site.error(message, &[&value.to_shown(), &index.to_shown()]));
                }
            };
            found.ok_or(NoValue::Undefined(name))
        })
    }

    /// A member whose value is undefined is left out.
    fn object(&mut self, members: &[(Arc<str>, Expr)]) -> Eval<Value> {
        let members: Vec<(Arc<str>, Eval<Value>)> = members
            .iter()
            .map(|(name, value)| (name.clone(), self.value(value)))
            .collect();
        Box::new(move |cx| {
            let mut made = Vec::with_capacity(members.len());
            for (name, value) in &members {
                match value(cx) {
                    Ok(value) => made.push((name.clone(), value)),
                    Err(NoValue::Undefined(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(Value::Object(made.into()))
        })
    }

    fn dynamic_arithmetic(
        &mut self,
        expr: &Expr,
        operator: Arithmetic,
        two: &[Expr; 2],
    ) -> Eval<Value> {
        let site = self.site(expr, &[&two[0], &two[1]]);
        let (left, right) = (self.value(&two[0]), self.value(&two[1]));
        Box::new(move |cx| calculate(operator, &left(cx)?, &right(cx)?, &site))
    }

    pub(super) fn compare_dynamic(
        &mut self,
        expr: &Expr,
        operator: Compare,
        two: &[Expr; 2],
    ) -> Eval<bool> {
        let site = self.site(expr, &[&two[0], &two[1]]);
        if let (Kind::Field(id), Some(limit)) = (&two[0].kind, two[1].constant())
            && limit.kind().is_number()
        {
            return self.compare_field(site, operator, *id, limit.clone());
        }
        let (left, right) = (self.value(&two[0]), self.value(&two[1]));
        Box::new(move |cx| {
            let (left, right) = (left(cx)?, right(cx)?);
            let equality = matches!(operator, Compare::Equal | Compare::NotEqual);
            match order(&left, &right) {
                Some(order) => Ok(holds(operator, order)),
                None if equality && left.kind() == right.kind() => {
                    Ok((left == right) == (operator == Compare::Equal))
                }
                None => Err(uncomparable(&site, &left, &right)),
            }
        })
    }

    /// A field with a threshold, the most common of all conditions.
    fn compare_field(
        &mut self,
        site: Site,
        operator: Compare,
        id: FieldId,
        limit: Value,
    ) -> Eval<bool> {
        let name = self.field_name(id);
        Box::new(move |cx| {
            let slot = slot(cx, id, name)?;
            let order = match slot {
                Slot::Int(value) => order(&Value::Int(value), &limit),
                Slot::Float(value) => order(&Value::Float(value), &limit),
                _ => None,
            };
            match order {
                Some(order) => Ok(holds(operator, order)),
                None => Err(uncomparable(&site, &decode(cx.payload, slot), &limit)),
            }
        })
    }

    pub(super) fn in_dynamic_range(&mut self, expr: &Expr, parts: &[Expr; 3]) -> Eval<bool> {
        let site = self.site(expr, &[&parts[0], &parts[1], &parts[2]]);
        let [value, low, high] = [0, 1, 2].map(|at| self.value(&parts[at]));
        Box::new(move |cx| {
            let (value, low, high) = (value(cx)?, low(cx)?, high(cx)?);
            match (order(&low, &value), order(&value, &high)) {
                (Some(above), Some(below)) => Ok(above.is_le() && below.is_le()),
                _ => Err(uncomparable(&site, &value, &low)),
            }
        })
    }

    pub(super) fn in_dynamic_list(&mut self, expr: &Expr, value: &Expr, list: &Expr) -> Eval<bool> {
        let site = self.site(expr, &[value, list]);
        let (value, list) = (self.value(value), self.value(list));
        Box::new(move |cx| {
            let value = value(cx)?;
            match list(cx)? {
                Value::List(items) => Ok(items.iter().any(|item| same(item, &value))),
                other => Err(wrong_type(&site, &other, Type::List)),
            }
        })
    }
}

fn find(members: &[(Arc<str>, Value)], name: &str) -> Option<Value> {
    let member = members.iter().find(|(known, _)| **known == *name);
    member
        .map(|(_, value)| value.clone())
        .filter(|value| *value != Value::Null)
}
