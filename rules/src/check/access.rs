//! Names in expressions: fields, captures, attributes of the event, and members of objects.

use super::Checker;
use super::scope::{Binding, Scope};
use crate::event::json::FieldId;
use crate::ir::builtin::Function;
use crate::ir::{Envelope, Expr, Kind};
use crate::syntax::ast::{self, ExprKind, Name, Span};
use crate::value::Value;
use crate::value::types::Type;

/// A declared field: its slot, its type, its default.
type Declared = (FieldId, Type, Option<Value>);

impl Checker<'_> {
    /// The field `name` as the events of the rule declare it. Events that disagree about its type
    /// leave it to be seen when the event is there.
    pub(super) fn declared(&mut self, scope: &Scope, name: &str) -> Option<Declared> {
        let mut found: Option<(Type, Option<Value>)> = None;
        for at in &scope.events {
            let fields = &self.events[*at].fields;
            let Some(field) = fields.iter().find(|field| field.name == name) else {
                continue;
            };
            found = Some(match found {
                None => (field.ty, field.default.clone()),
                Some((ty, default)) => (
                    ty.common(field.ty).unwrap_or(Type::Any),
                    default.filter(|known| Some(known) == field.default.as_ref()),
                ),
            });
        }
        let (ty, default) = found?;
        let ty = if scope.untyped { Type::Any } else { ty };
        Some((self.field_id(vec![name.to_owned()]), ty, default))
    }

    /// Whether a clause may name the field; complains if not.
    pub(super) fn field_exists(&mut self, scope: &Scope, name: &Name) -> bool {
        match scope.changed.get(&name.text) {
            Some(Binding::Gone(_)) => {
                let message = format!("`{}` is not there any more at this line", name.text);
                self.error(&name.span, message);
                return false;
            }
            Some(_) => return true,
            None => {}
        }
        if scope.untyped || self.declared(scope, &name.text).is_some() {
            return true;
        }
        let known = self.field_names(scope);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let message = format!("unknown field `{}`{}", name.text, self.in_events(scope));
        self.unknown(name, message, &known);
        false
    }

    fn field_names(&self, scope: &Scope) -> Vec<String> {
        let events = scope.events.iter().map(|at| &self.events[*at]);
        let mut names: Vec<String> = events
            .flat_map(|event| event.fields.iter().map(|field| field.name.clone()))
            .collect();
        names.extend(scope.changed.keys().cloned());
        names
    }

    /// " in event press_temp"
    fn in_events(&self, scope: &Scope) -> String {
        let names: Vec<&str> = scope
            .events
            .iter()
            .map(|at| self.events[*at].name.as_str())
            .collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => format!(" in event {one}"),
            many => format!(" in events {}", many.join(", ")),
        }
    }

    pub(super) fn variable(&mut self, scope: &Scope, name: &str, span: &Span) -> Option<Expr> {
        let made = |kind, ty| {
            Some(Expr {
                ty,
                kind,
                span: span.clone(),
            })
        };
        if let Some(binding) = scope.changed.get(name) {
            if let Binding::Gone(gone) = binding {
                self.error(span, format!("`{name}` is not there any more at this line"))
                    .labels = vec![crate::diagnostic::Label {
                    span: gone.clone(),
                    text: "taken away here".to_owned(),
                }];
            }
            return self.bound(binding, span);
        }
        if let Some(at) = scope.captures.iter().position(|capture| capture == name) {
            return made(Kind::Capture(at), Type::Text);
        }
        if let Some((id, ty, default)) = self.declared(scope, name) {
            return Some(with_default(id, ty, default, span));
        }
        if name == "payload" {
            let id = self.field_id(Vec::new());
            return made(Kind::Field(id), Type::Any);
        }
        if let Some((attribute, ty)) = Envelope::named(name) {
            return made(Kind::Envelope(attribute), ty);
        }
        if scope.untyped && !matches!(name, "null" | "nil" | "none") {
            let id = self.field_id(vec![name.to_owned()]);
            return made(Kind::Field(id), Type::Any);
        }
        self.unknown_name(scope, name, span);
        None
    }

    /// The value of a changed field; `None` if it is gone or its two meanings differ in type.
    pub(super) fn bound(&mut self, binding: &Binding, span: &Span) -> Option<Expr> {
        match binding {
            Binding::Local(at, ty) => Some(Expr {
                ty: *ty,
                kind: Kind::Local(*at),
                span: span.clone(),
            }),
            Binding::Field(id, ty, default) => Some(with_default(*id, *ty, default.clone(), span)),
            Binding::Either(moved, kept) => {
                let all = vec![self.bound(moved, span)?, self.bound(kept, span)?];
                self.first_of(all, span)
            }
            Binding::Gone(_) => None,
        }
    }

    fn unknown_name(&mut self, scope: &Scope, name: &str, span: &Span) {
        let name = Name {
            text: name.to_owned(),
            span: span.clone(),
        };
        if matches!(name.text.as_str(), "null" | "nil" | "none" | "undefined") {
            self.error(span, format!("there is no `{}`", name.text))
                .label = Some("write `exists(x)` or `not exists(x)`".to_owned());
            return;
        }
        if let Some(entry) = Function::named(&name.text) {
            let message = format!("`{}` is a function", name.text);
            self.error(span, message).label = Some(format!("call it: `{}`", entry.4));
            return;
        }
        let mut known = self.field_names(scope);
        known.extend(scope.captures.iter().cloned());
        known.extend(Envelope::NAMED.map(|(name, _, _)| name.to_owned()));
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let message = format!("unknown field `{}`{}", name.text, self.in_events(scope));
        self.unknown(&name, message, &known);
    }

    /// `a.b`
    pub(super) fn member(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        value: &ast::Expr,
        name: &Name,
    ) -> Option<Expr> {
        let value = self.expr(scope, value)?;
        if let Some(field) = self.deeper_field(scope, expr, &value, &name.text) {
            return Some(field);
        }
        if !matches!(value.ty, Type::Object | Type::Any) {
            let message = format!("a {} has no members", value.ty);
            self.error(&name.span, message);
            return None;
        }
        Some(Expr {
            ty: Type::Any,
            kind: Kind::Member(Box::new(value), name.text.as_str().into()),
            span: expr.span.clone(),
        })
    }

    /// `a["b"]` and `a[0]`
    pub(super) fn index(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        value: &ast::Expr,
        index: &ast::Expr,
    ) -> Option<Expr> {
        let value = self.expr(scope, value);
        let index_checked = self.expr(scope, index);
        let (value, index_checked) = (value?, index_checked?);
        if let ExprKind::Text(key) = &index.kind
            && let Some(field) = self.deeper_field(scope, expr, &value, &key.value)
        {
            return Some(field);
        }
        let fits = match value.ty {
            Type::Any => matches!(index_checked.ty, Type::Int | Type::Text | Type::Any),
            Type::List => matches!(index_checked.ty, Type::Int | Type::Any),
            Type::Object => matches!(index_checked.ty, Type::Text | Type::Any),
            _ => false,
        };
        if !fits {
            let message = format!("a {} has no place for {}", value.ty, index_checked.ty);
            self.error(&index.span, message).label =
                Some("lists take whole numbers from 0, objects take text".to_owned());
            return None;
        }
        Some(Expr {
            ty: Type::Any,
            kind: Kind::Index(Box::new(value), Box::new(index_checked)),
            span: expr.span.clone(),
        })
    }

    /// A member of a field is a field itself, so that the decoder goes right to it.
    fn deeper_field(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        value: &Expr,
        name: &str,
    ) -> Option<Expr> {
        let Kind::Field(id) = value.kind else {
            return None;
        };
        if !matches!(value.ty, Type::Object | Type::Any) {
            return None;
        }
        let mut path = self.program.fields.get(id.0 as usize)?.clone();
        // `payload.f` is the field `f` as the rule sees it at this line.
        if path.is_empty()
            && (scope.changed.contains_key(name) || self.declared(scope, name).is_some())
        {
            let unshadowed = Scope {
                events: scope.events.clone(),
                changed: scope.changed.clone(),
                untyped: scope.untyped,
                ..Scope::default()
            };
            return self.variable(&unshadowed, name, &expr.span);
        }
        path.push(name.to_owned());
        Some(Expr {
            ty: Type::Any,
            kind: Kind::Field(self.field_id(path)),
            span: expr.span.clone(),
        })
    }
}

fn with_default(id: FieldId, ty: Type, default: Option<Value>, span: &Span) -> Expr {
    let made = |kind| Expr {
        ty,
        kind,
        span: span.clone(),
    };
    let field = made(Kind::Field(id));
    match default {
        Some(value) => made(Kind::Coalesce(vec![field, made(Kind::Constant(value))])),
        None => field,
    }
}
