//! Expressions: every one gets its type.

use super::Checker;
use super::scope::Scope;
use crate::ir::{Expr, Kind};
use crate::syntax::ast::{self, ExprKind};
use crate::value::Value;
use crate::value::types::Type;

impl Checker<'_> {
    pub(super) fn expr(&mut self, scope: &Scope, expr: &ast::Expr) -> Option<Expr> {
        let made = self.unfolded(scope, expr)?;
        self.fold(made)
    }

    fn unfolded(&mut self, scope: &Scope, expr: &ast::Expr) -> Option<Expr> {
        let made = |ty, kind| {
            Some(Expr {
                ty,
                kind,
                span: expr.span.clone(),
            })
        };
        match &expr.kind {
            ExprKind::Error => None,
            ExprKind::Bool(value) => made(Type::Bool, Kind::Constant(Value::Bool(*value))),
            ExprKind::Int(value) => made(Type::Int, Kind::Constant(Value::Int(*value))),
            ExprKind::Float(value) => made(Type::Float, Kind::Constant(Value::Float(*value))),
            ExprKind::Duration(ms) => made(Type::Duration, Kind::Constant(Value::Duration(*ms))),
            ExprKind::Text(text) => {
                let value = Value::Text(text.value.as_str().into());
                made(Type::Text, Kind::Constant(value))
            }
            ExprKind::Variable(name) => self.variable(scope, name, &expr.span),
            ExprKind::Member(value, name) => self.member(scope, expr, value, name),
            ExprKind::Index(value, index) => self.index(scope, expr, value, index),
            ExprKind::Call(name, arguments) => self.call(scope, expr, name, arguments),
            ExprKind::And(all) => made(Type::Bool, Kind::And(self.conditions(scope, all)?)),
            ExprKind::Or(all) => made(Type::Bool, Kind::Or(self.conditions(scope, all)?)),
            ExprKind::Not(inner) => {
                let inner = self.expr(scope, inner)?;
                let inner = self.fit(inner, Type::Bool, "`not`")?;
                made(Type::Bool, Kind::Not(Box::new(inner)))
            }
            ExprKind::If(parts) => self.choice(scope, expr, parts),
            ExprKind::Coalesce(all) => self.coalesce(scope, expr, all),
            ExprKind::Negate(inner) => self.negate(scope, expr, inner),
            ExprKind::Compare(operator, two) => self.compare(scope, expr, *operator, two),
            ExprKind::Arithmetic(operator, two) => self.arithmetic(scope, expr, *operator, two),
            ExprKind::In(two) => self.contained(scope, expr, two),
            ExprKind::Range(_) => {
                self.error(&expr.span, "a range stands only after `in`");
                None
            }
            ExprKind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.expr(scope, item)).collect();
                made(
                    Type::List,
                    Kind::List(items.into_iter().collect::<Option<_>>()?),
                )
            }
            ExprKind::Object(members) => self.object(scope, expr, members),
        }
    }

    fn conditions(&mut self, scope: &Scope, all: &[ast::Expr]) -> Option<Vec<Expr>> {
        let checked: Vec<Option<Expr>> = all
            .iter()
            .map(|expr| {
                let checked = self.expr(scope, expr)?;
                self.fit(checked, Type::Bool, "a condition")
            })
            .collect();
        checked.into_iter().collect()
    }

    fn object(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        members: &[(ast::Name, ast::Expr)],
    ) -> Option<Expr> {
        let mut checked = Vec::new();
        let mut complete = true;
        for (at, (name, value)) in members.iter().enumerate() {
            if members[..at]
                .iter()
                .any(|(known, _)| known.text == name.text)
            {
                self.error(
                    &name.span,
                    format!("`{}` stands twice in this object", name.text),
                );
            }
            match self.expr(scope, value) {
                Some(value) => checked.push((name.text.as_str().into(), value)),
                None => complete = false,
            }
        }
        complete.then_some(Expr {
            ty: Type::Object,
            kind: Kind::Object(checked),
            span: expr.span.clone(),
        })
    }

    fn choice(&mut self, scope: &Scope, expr: &ast::Expr, parts: &[ast::Expr; 3]) -> Option<Expr> {
        let condition = self.expr(scope, &parts[0]);
        let condition = condition.and_then(|it| self.fit(it, Type::Bool, "a condition"));
        let yes = self.expr(scope, &parts[1]);
        let no = self.expr(scope, &parts[2]);
        let (condition, yes, no) = (condition?, yes?, no?);
        let Some(ty) = yes.ty.common(no.ty) else {
            let message = format!("`then` gives {} and `else` gives {}", yes.ty, no.ty);
            self.error(&parts[2].span, message).label = Some("both need one type".to_owned());
            return None;
        };
        let parts = [condition, widen(yes, ty), widen(no, ty)];
        Some(Expr {
            ty,
            kind: Kind::If(Box::new(parts)),
            span: expr.span.clone(),
        })
    }

    fn coalesce(&mut self, scope: &Scope, expr: &ast::Expr, all: &[ast::Expr]) -> Option<Expr> {
        let checked: Vec<_> = all.iter().map(|one| self.expr(scope, one)).collect();
        let checked: Vec<Expr> = checked.into_iter().collect::<Option<_>>()?;
        // What follows a value that is always there is never looked at.
        if let Some(at) = checked.iter().position(|one| one.constant().is_some())
            && let Some(after) = checked.get(at + 1)
        {
            let span = after.span.clone();
            let message = "this default is never used: the value before it is always there";
            self.warning(&span, message);
        }
        self.first_of(checked, &expr.span)
    }

    /// `a ?? b`, of parts that are checked.
    pub(super) fn first_of(&mut self, checked: Vec<Expr>, span: &ast::Span) -> Option<Expr> {
        let mut ty = checked.first()?.ty;
        for one in &checked {
            ty = match ty.common(one.ty) {
                // A number that nobody declared may have a fraction.
                Some(Type::Any) if [ty, one.ty].contains(&Type::Int) => Type::Any,
                Some(Type::Any) if ty == Type::Any => one.ty,
                Some(Type::Any) => ty,
                Some(common) => common,
                None => {
                    let message = format!("`??` between {ty} and {}", one.ty);
                    self.error(&one.span, message).label = Some("all need one type".to_owned());
                    return None;
                }
            };
        }
        let all = checked.into_iter().map(|one| widen(one, ty)).collect();
        Some(Expr {
            ty,
            kind: Kind::Coalesce(all),
            span: span.clone(),
        })
    }

    /// `expr` as a `wanted`, which it must be. `what` says where it stands.
    pub(super) fn fit(&mut self, expr: Expr, wanted: Type, what: &str) -> Option<Expr> {
        if wanted == Type::Any || expr.ty == wanted {
            return Some(expr);
        }
        let convertible = expr.ty == Type::Any || (expr.ty, wanted) == (Type::Int, Type::Float);
        if convertible {
            return self.fold(widen(expr, wanted));
        }
        let span = expr.span.clone();
        let help = self.conversion_help(&expr, wanted);
        let message = format!("{what} needs {wanted}, this is {}", expr.ty);
        let error = self.error(&span, message);
        error.label = help.as_ref().map(|(label, _)| label.clone());
        error.suggestion =
            help.map(|(_, replacement)| crate::diagnostic::Suggestion { span, replacement });
        None
    }

    /// How to write `expr` so that it becomes a `wanted`, and that.
    pub(super) fn conversion_help(&self, expr: &Expr, wanted: Type) -> Option<(String, String)> {
        let written = self.text().get(expr.span.clone())?;
        let with = |label: String, replacement: String| Some((label, replacement));
        match (expr.constant(), expr.ty, wanted) {
            (Some(Value::Text(text)), _, Type::Int | Type::Float)
                if text.trim().parse::<f64>().is_ok() =>
            {
                with(format!("write {text} without quotes"), text.to_string())
            }
            (Some(Value::Text(text)), _, Type::Duration)
                if crate::value::time_format::parse_duration(text).is_some() =>
            {
                with(format!("write {text} without quotes"), text.to_string())
            }
            (Some(Value::Text(text)), _, Type::Bool) if **text == *"true" || **text == *"false" => {
                with(format!("write {text} without quotes"), text.to_string())
            }
            (Some(Value::Int(_) | Value::Float(_) | Value::Bool(_)), _, Type::Text) => with(
                format!("write \"{written}\" in quotes"),
                format!("\"{written}\""),
            ),
            (Some(Value::Int(count)), _, Type::Duration) => {
                with(format!("write {count}s for seconds"), format!("{count}s"))
            }
            (Some(Value::Duration(_)), _, Type::Int | Type::Float)
                if written
                    .trim_end_matches(char::is_alphabetic)
                    .parse::<i64>()
                    .is_ok() =>
            {
                let number = written.trim_end_matches(char::is_alphabetic);
                with(format!("write {number} without a unit"), number.to_owned())
            }
            (None, Type::Float, Type::Int) => with(
                format!("write round({written})"),
                format!("round({written})"),
            ),
            (None, Type::Int | Type::Float | Type::Bool, Type::Text) => {
                with(format!("write text({written})"), format!("text({written})"))
            }
            (None, Type::Duration, Type::Float) => with(
                format!("write seconds({written})"),
                format!("seconds({written})"),
            ),
            _ => None,
        }
    }
}

/// `expr` as a `wanted`, where the checker knows that it can be one.
pub(super) fn widen(expr: Expr, wanted: Type) -> Expr {
    let span = expr.span.clone();
    let kind = match (expr.ty, wanted) {
        (Type::Int, Type::Float) => match expr.constant() {
            Some(Value::Int(value)) => Kind::Constant(Value::Float(*value as f64)),
            _ => Kind::Widen(Box::new(expr)),
        },
        (Type::Any, _) if wanted != Type::Any => Kind::Expect(Box::new(expr)),
        _ => return expr,
    };
    Expr {
        ty: wanted,
        kind,
        span,
    }
}
