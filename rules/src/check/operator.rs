//! Comparisons, `in`, and arithmetic.

use super::Checker;
use super::expr::widen;
use super::scope::Scope;
use crate::ir::{Expr, Kind};
use crate::syntax::ast::{self, Arithmetic, Compare, ExprKind};
use crate::value::types::Type;

impl Checker<'_> {
    fn both(&mut self, scope: &Scope, two: &[ast::Expr; 2]) -> Option<[Expr; 2]> {
        let left = self.expr(scope, &two[0]);
        let right = self.expr(scope, &two[1]);
        Some([left?, right?])
    }

    pub(super) fn compare(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        operator: Compare,
        two: &[ast::Expr; 2],
    ) -> Option<Expr> {
        let [left, right] = self.both(scope, two)?;
        let [left, right] = self.comparable(expr, left, right)?;
        let equality = matches!(operator, Compare::Equal | Compare::NotEqual);
        if !equality && !left.ty.is_ordered() && left.ty != Type::Any {
            let message = format!("{} values have no order", left.ty);
            self.error(&expr.span, message).label = Some("only `==` and `!=` here".to_owned());
            return None;
        }
        Some(Expr {
            ty: Type::Bool,
            kind: Kind::Compare(operator, Box::new([left, right])),
            span: expr.span.clone(),
        })
    }

    /// Both sides in one type, or a complaint that shows the way out.
    fn comparable(&mut self, expr: &ast::Expr, left: Expr, right: Expr) -> Option<[Expr; 2]> {
        match (left.ty, right.ty) {
            (a, b) if a == b => Some([left, right]),
            // A number may turn out whole or not; that is seen when the event is there.
            (Type::Any, b) if b.is_number() => Some([left, right]),
            (a, Type::Any) if a.is_number() => Some([left, right]),
            (Type::Any, b) => Some([widen(left, b), right]),
            (a, Type::Any) => {
                let right = widen(right, a);
                Some([left, right])
            }
            (a, b) if a.is_number() && b.is_number() => {
                Some([widen(left, Type::Float), widen(right, Type::Float)])
            }
            (a, b) => {
                let message = format!("comparing {a} with {b}");
                self.mismatch(expr, message, &left, &right);
                None
            }
        }
    }

    fn mismatch(&mut self, expr: &ast::Expr, message: String, left: &Expr, right: &Expr) {
        let constant_first = |one: &Expr| one.constant().is_some();
        let mut sides = [(right, left.ty), (left, right.ty)];
        sides.sort_by_key(|(side, _)| !constant_first(side));
        for (side, wanted) in sides {
            if let Some((label, replacement)) = self.conversion_help(side, wanted) {
                let span = side.span.clone();
                let error = self.error(&span, message);
                error.label = Some(label);
                error.suggestion = Some(crate::diagnostic::Suggestion { span, replacement });
                return;
            }
        }
        self.error(&expr.span, message);
    }

    pub(super) fn contained(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        two: &[ast::Expr; 2],
    ) -> Option<Expr> {
        let value = self.expr(scope, &two[0]);
        match &two[1].kind {
            ExprKind::Range(ends) => self.in_range(scope, expr, value, ends),
            ExprKind::List(items) => self.in_items(scope, expr, value, &two[1], items),
            _ => {
                let list = self.expr(scope, &two[1])?;
                let list = self.fit(list, Type::List, "`in`")?;
                Some(Expr {
                    ty: Type::Bool,
                    kind: Kind::InList(Box::new([value?, list])),
                    span: expr.span.clone(),
                })
            }
        }
    }

    fn in_range(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        value: Option<Expr>,
        ends: &[ast::Expr; 2],
    ) -> Option<Expr> {
        let ends_checked = self.both(scope, ends);
        let (value, [low, high]) = (value?, ends_checked?);
        let [value, low] = self.comparable(expr, value, low)?;
        let [value, high] = self.comparable(expr, value, high)?;
        // The last comparison may have made a float of the value.
        let [value, low] = self.comparable(expr, value, low)?;
        if !value.ty.is_ordered() && value.ty != Type::Any {
            let message = format!("{} values have no order", value.ty);
            self.error(&expr.span, message);
            return None;
        }
        if let (Some(low), Some(high)) = (low.constant(), high.constant())
            && !crate::compile::is_between(low, low, high)
        {
            self.error(
                &ends[0].span.clone(),
                "this range is empty: the lower end goes first",
            );
            return None;
        }
        Some(Expr {
            ty: Type::Bool,
            kind: Kind::InRange(Box::new([value, low, high])),
            span: expr.span.clone(),
        })
    }

    fn in_items(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        value: Option<Expr>,
        list: &ast::Expr,
        items: &[ast::Expr],
    ) -> Option<Expr> {
        let checked: Vec<_> = items.iter().map(|item| self.expr(scope, item)).collect();
        let value = value?;
        let mut complete = true;
        let mut fitting = Vec::new();
        for (item, written) in checked.into_iter().zip(items) {
            let pair = item.and_then(|item| self.comparable(written, value.clone(), item));
            match pair {
                Some([_, item]) => fitting.push(item),
                None => complete = false,
            }
        }
        if !complete {
            return None;
        }
        // Items of one known type settle a value that nobody declared.
        let first = fitting.first().map_or(Type::Any, |item| item.ty);
        let value = match value.ty {
            Type::Any if first == Type::Text && fitting.iter().all(|item| item.ty == first) => {
                widen(value, first)
            }
            _ => value,
        };
        let list = self.fold(Expr {
            ty: Type::List,
            kind: Kind::List(fitting),
            span: list.span.clone(),
        })?;
        Some(Expr {
            ty: Type::Bool,
            kind: Kind::InList(Box::new([value, list])),
            span: expr.span.clone(),
        })
    }

    pub(super) fn negate(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        inner: &ast::Expr,
    ) -> Option<Expr> {
        let inner = self.expr(scope, inner)?;
        let negatable = inner.ty.is_number() || matches!(inner.ty, Type::Duration | Type::Any);
        if !negatable {
            let message = format!("a {} has no negative", inner.ty);
            self.error(&expr.span, message);
            return None;
        }
        Some(Expr {
            ty: inner.ty,
            kind: Kind::Negate(Box::new(inner)),
            span: expr.span.clone(),
        })
    }

    pub(super) fn arithmetic(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        operator: Arithmetic,
        two: &[ast::Expr; 2],
    ) -> Option<Expr> {
        let [left, right] = self.both(scope, two)?;
        let Some((a, b, ty)) = result(operator, left.ty, right.ty) else {
            self.no_arithmetic(expr, operator, &left, &right);
            return None;
        };
        let two = [widen(left, a), widen(right, b)];
        Some(Expr {
            ty,
            kind: Kind::Arithmetic(operator, Box::new(two)),
            span: expr.span.clone(),
        })
    }

    fn no_arithmetic(&mut self, expr: &ast::Expr, operator: Arithmetic, left: &Expr, right: &Expr) {
        let verb = match operator {
            Arithmetic::Add => "adding",
            Arithmetic::Subtract => "subtracting",
            Arithmetic::Multiply => "multiplying",
            Arithmetic::Divide | Arithmetic::Remainder => "dividing",
        };
        let message = format!("{verb} {} and {}", left.ty, right.ty);
        if operator == Arithmetic::Add && (left.ty == Type::Text || right.ty == Type::Text) {
            let texts = self.text();
            let (a, b) = (&texts[left.span.clone()], &texts[right.span.clone()]);
            let call = format!("concat({a}, {b})");
            let error = self.error(&expr.span, message);
            error.label = Some(format!("write {call}"));
            error.suggestion = Some(crate::diagnostic::Suggestion {
                span: expr.span.clone(),
                replacement: call,
            });
            return;
        }
        self.mismatch(expr, message, left, right);
    }
}

/// The types both operands are brought to, and the type of the result.
fn result(operator: Arithmetic, left: Type, right: Type) -> Option<(Type, Type, Type)> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    use Type::{Any, Duration, Float, Int, Time};
    Some(match (operator, left, right) {
        (Divide, Int | Float, Int | Float) => (Float, Float, Float),
        (_, Int, Int) => (Int, Int, Int),
        (_, Int | Float, Int | Float) => (Float, Float, Float),
        (Subtract, Time, Time) => (Time, Time, Duration),
        (Add | Subtract, Time, Duration) => (Time, Duration, Time),
        (Add, Duration, Time) => (Duration, Time, Time),
        (Add | Subtract | Remainder, Duration, Duration) => (Duration, Duration, Duration),
        (Divide, Duration, Duration) => (Duration, Duration, Float),
        (Multiply | Divide, Duration, Int | Float) => (Duration, Float, Duration),
        (Multiply, Int | Float, Duration) => (Float, Duration, Duration),
        (_, Any, Float) | (_, Float, Any) => (Float, Float, Float),
        (_, Any, Any | Int) | (_, Int, Any) => (Any, Any, Any),
        (Subtract, Any, Time) | (Subtract, Time, Any) => (Time, Time, Duration),
        _ => return None,
    })
}
