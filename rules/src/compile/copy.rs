//! Closures that give JSON as it is written in the payload: what a `set` takes over from another field keeps its digits, its
//! escapes, the order of its members.

use std::sync::Arc;

use super::Compiler;
use super::closure::{Context, Eval, NameId, NoValue};
use crate::event::json::{is_json, raw_element, raw_member};
use crate::ir::{Expr, Kind};
use crate::value::Value;
use crate::value::types::Type;

impl Compiler<'_> {
    /// The JSON of an expression that takes over something as it is written; `None` for one that only calculates.
    pub(super) fn copy(&mut self, expr: &Expr) -> Option<Eval<String>> {
        takes_over(expr).then(|| self.json(expr))
    }

    fn json(&mut self, expr: &Expr) -> Eval<String> {
        if !takes_over(expr) {
            let value = self.value(expr);
            return Box::new(move |cx| value(cx).map(|value| value.to_json()));
        }
        match &expr.kind {
            Kind::Field(id) => {
                let name = self.field_name(*id);
                let path = self.fields.get(id.0 as usize).cloned();
                let path = path.unwrap_or_default();
                Box::new(move |cx| as_written(cx, &path, name))
            }
            Kind::Local(at) => {
                let (at, name) = (*at, self.written_name(expr));
                Box::new(move |cx| of_local(cx, at, name))
            }
            Kind::Widen(inner) | Kind::Expect(inner) => self.json(inner),
            Kind::Member(value, member) => {
                let name = self.written_name(expr);
                let (value, member) = (self.json(value), member.clone());
                Box::new(move |cx| written(raw_member(&value(cx)?, &member), name))
            }
            Kind::Index(value, index) => {
                let name = self.written_name(expr);
                let (value, index) = (self.json(value), self.value(index));
                Box::new(move |cx| written(element(&value(cx)?, &index(cx)?), name))
            }
            Kind::If(parts) => self.choice(parts, Self::json),
            Kind::Coalesce(all) => self.first_readable(all),
            Kind::List(items) => {
                let items: Vec<Eval<String>> = items.iter().map(|item| self.json(item)).collect();
                Box::new(move |cx| {
                    let all: Result<Vec<String>, NoValue> =
                        items.iter().map(|item| item(cx)).collect();
                    Ok(format!("[{}]", all?.join(",")))
                })
            }
            Kind::Object(members) => self.written_object(members),
            _ => self.never(),
        }
    }

    /// The first that rules can read, as its value is.
    fn first_readable(&mut self, all: &[Expr]) -> Eval<String> {
        let all = all.iter().map(|expr| (self.value(expr), self.json(expr)));
        let all: Vec<(Eval<Value>, Eval<String>)> = all.collect();
        let name = self.names.id("?");
        Box::new(move |cx| {
            for (value, json) in &all {
                match value(cx) {
                    Err(NoValue::Undefined(_)) => {}
                    Ok(_) => return json(cx),
                    Err(error) => return Err(error),
                }
            }
            Err(NoValue::Undefined(name))
        })
    }

    /// A member whose value is undefined is left out.
    fn written_object(&mut self, members: &[(Arc<str>, Expr)]) -> Eval<String> {
        let members = members.iter().map(|(name, value)| {
            let name = serde_json::Value::from(&**name).to_string();
            (name, self.json(value))
        });
        let members: Vec<(String, Eval<String>)> = members.collect();
        Box::new(move |cx| {
            let mut written = Vec::with_capacity(members.len());
            for (name, value) in &members {
                match value(cx) {
                    Ok(json) => written.push(format!("{name}:{json}")),
                    Err(NoValue::Undefined(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(format!("{{{}}}", written.join(",")))
        })
    }
}

/// Whether something in the payload may become the value as it is written. What is declared a time or a duration is
/// written as such.
fn takes_over(expr: &Expr) -> bool {
    if matches!(expr.ty, Type::Time | Type::Duration) {
        return false;
    }
    match &expr.kind {
        Kind::Field(_) | Kind::Local(_) => true,
        Kind::Widen(inner) | Kind::Expect(inner) => takes_over(inner),
        Kind::Member(value, _) | Kind::Index(value, _) => takes_over(value),
        Kind::If(parts) => takes_over(&parts[1]) || takes_over(&parts[2]),
        Kind::Coalesce(all) | Kind::List(all) => all.iter().any(takes_over),
        Kind::Object(members) => members.iter().any(|(_, value)| takes_over(value)),
        _ => false,
    }
}

fn element<'t>(whole: &'t str, index: &Value) -> Option<&'t str> {
    match index {
        Value::Text(key) => raw_member(whole, key),
        Value::Int(at) => usize::try_from(*at)
            .ok()
            .and_then(|at| raw_element(whole, at)),
        _ => None,
    }
}

/// A field as it is written in the payload, one that no value stands for too, such as `1e400`.
fn as_written(cx: &Context<'_>, path: &[String], name: NameId) -> Result<String, NoValue> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let whole = Some(cx.payload.trim_matches(blank));
    let found = path
        .iter()
        .fold(whole, |inside, name| raw_member(inside?, name));
    written(found.filter(|raw| is_json(raw)), name)
}

fn written(found: Option<&str>, name: NameId) -> Result<String, NoValue> {
    match found {
        None | Some("null") => Err(NoValue::Undefined(name)),
        Some(json) => Ok(json.to_owned()),
    }
}

/// What was set before, as it was written then.
fn of_local(cx: &Context<'_>, at: usize, name: NameId) -> Result<String, NoValue> {
    let written = cx.written.get(at).and_then(|written| written.as_deref());
    let value = || cx.locals.get(at).and_then(|value| value.as_ref());
    match written {
        Some(json) => Ok(json.to_owned()),
        None => value().map(Value::to_json).ok_or(NoValue::Undefined(name)),
    }
}
