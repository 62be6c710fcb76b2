//! Calls of functions.

use super::Checker;
use super::expr::widen;
use super::scope::Scope;
use crate::ir::builtin::{FUNCTIONS, Function, LATER};
use crate::ir::{Envelope, Expr, Kind};
use crate::syntax::ast::{self, ExprKind, Name};
use crate::value::Value;
use crate::value::types::Type;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        scope: &Scope,
        expr: &ast::Expr,
        name: &Name,
        arguments: &[ast::Expr],
    ) -> Option<Expr> {
        let Some((_, function, least, most, shape)) = Function::named(&name.text) else {
            self.unknown_function(name);
            return None;
        };
        if !(*least..=*most).contains(&arguments.len()) {
            let message = format!("`{}` with {} arguments", name.text, arguments.len());
            self.error(&expr.span, message).label = Some(format!("write {shape}"));
            return None;
        }
        if *function == Function::Extension {
            return self.extension(expr, &arguments[0]);
        }
        let checked: Vec<_> = arguments.iter().map(|one| self.expr(scope, one)).collect();
        let checked: Vec<Expr> = checked.into_iter().collect::<Option<_>>()?;
        let (ty, kind) = match function {
            Function::Exists => {
                let [inner] = <[Expr; 1]>::try_from(checked).ok()?;
                (Type::Bool, Kind::Exists(Box::new(inner)))
            }
            Function::Format => (Type::Text, self.format(expr, checked)?),
            Function::Min | Function::Max | Function::Abs => {
                self.alike(*function, &name.text, checked)?
            }
            _ => {
                let (wanted, ty) = signature(*function, &checked);
                let mut fitting = Vec::new();
                for (at, argument) in checked.into_iter().enumerate() {
                    let wanted = wanted.get(at).or(wanted.last()).copied();
                    let what = format!("`{}`", name.text);
                    fitting.push(self.fit(argument, wanted.unwrap_or(Type::Any), &what)?);
                }
                self.argument_rules(*function, &fitting)?;
                (ty, Kind::Call(*function, fitting))
            }
        };
        Some(Expr {
            ty,
            kind,
            span: expr.span.clone(),
        })
    }

    fn unknown_function(&mut self, name: &Name) {
        if LATER.contains(&name.text.as_str()) {
            let message = format!("`{}` is not supported yet by this version", name.text);
            self.error(&name.span, message).label =
                Some("it belongs to windows and remembered values".to_owned());
            return;
        }
        let known: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
        self.unknown(name, format!("unknown function `{}`", name.text), &known);
    }

    /// `extension("traceparent")`
    fn extension(&mut self, expr: &ast::Expr, name: &ast::Expr) -> Option<Expr> {
        let ExprKind::Text(name) = &name.kind else {
            self.error(&name.span, "expected the name of an extension in quotes");
            return None;
        };
        let attribute = Envelope::Extension(name.value.as_str().into());
        Some(Expr {
            ty: Type::Text,
            kind: Kind::Envelope(attribute),
            span: expr.span.clone(),
        })
    }

    /// `format("{} at {}", a, b)` is put together like `concat`.
    fn format(&mut self, expr: &ast::Expr, mut arguments: Vec<Expr>) -> Option<Kind> {
        let first = arguments.remove(0);
        let Some(Value::Text(pattern)) = first.constant() else {
            self.error(
                &first.span,
                "expected a text in quotes with `{}` for each value",
            );
            return None;
        };
        let parts: Vec<&str> = pattern.split("{}").collect();
        if parts.len() - 1 != arguments.len() {
            let (holes, values) = (parts.len() - 1, arguments.len());
            let message = format!("this text has {holes} `{{}}`, but {values} values follow");
            self.error(&expr.span, message);
            return None;
        }
        let mut values = arguments.into_iter();
        let mut all = Vec::new();
        for part in parts {
            all.push(Expr {
                ty: Type::Text,
                kind: Kind::Constant(Value::Text(part.into())),
                span: first.span.clone(),
            });
            all.extend(values.next());
        }
        Some(Kind::Call(Function::Concat, all))
    }

    /// `abs`, `min` and `max` give the type they are given.
    fn alike(&mut self, function: Function, name: &str, all: Vec<Expr>) -> Option<(Type, Kind)> {
        let mut ty = all.first()?.ty;
        for one in &all {
            let orderly = one.ty.is_number() || matches!(one.ty, Type::Duration | Type::Any);
            let fits = orderly || (one.ty == Type::Time && function != Function::Abs);
            match ty.common(one.ty).filter(|_| fits) {
                Some(common) => ty = common,
                None => {
                    let message =
                        format!("`{name}` needs numbers or durations, this is {}", one.ty);
                    self.error(&one.span, message);
                    return None;
                }
            }
        }
        let all = all.into_iter().map(|one| widen(one, ty)).collect();
        Some((ty, Kind::Call(function, all)))
    }

    /// What a type does not say about the arguments of a function.
    fn argument_rules(&mut self, function: Function, arguments: &[Expr]) -> Option<()> {
        match (function, arguments) {
            (Function::Matches, [_, pattern]) => {
                let Some(Value::Text(text)) = pattern.constant() else {
                    self.error(
                        &pattern.span,
                        "the pattern of `matches` is a text in quotes",
                    );
                    return None;
                };
                if let Err(error) = crate::compile::regex(text) {
                    let reason = regex_reason(&error);
                    let message = format!("this is no regular expression: {reason}");
                    self.error(&pattern.span, message);
                    return None;
                }
                Some(())
            }
            (Function::Len, [value]) => {
                let countable = [Type::Text, Type::List, Type::Object, Type::Any];
                if countable.contains(&value.ty) {
                    return Some(());
                }
                let message = format!("`len` needs text, list or object, this is {}", value.ty);
                self.error(&value.span, message);
                None
            }
            _ => Some(()),
        }
    }
}

/// The last line of what the library says, which is the reason without the picture.
fn regex_reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// Types of the arguments (the last one repeats) and of the result.
fn signature(function: Function, arguments: &[Expr]) -> (&'static [Type], Type) {
    use Type::{Any, Bool, Duration, Float, Int, List, Text};
    match function {
        Function::StartsWith | Function::EndsWith | Function::Matches => (&[Text], Bool),
        Function::Contains => match arguments.first().map(|first| first.ty) {
            Some(List) => (&[List, Any], Bool),
            Some(Any) => (&[Any], Bool),
            _ => (&[Text], Bool),
        },
        Function::Lower | Function::Upper | Function::Trim | Function::Replace => (&[Text], Text),
        Function::Split => (&[Text], List),
        Function::Join => (&[List, Text], Text),
        Function::Concat | Function::Text | Function::Format => (&[Any], Text),
        Function::Round if arguments.len() == 2 => (&[Float, Int], Float),
        Function::Round | Function::Floor | Function::Ceil => (&[Float], Int),
        Function::Sqrt => (&[Float], Float),
        Function::Seconds => (&[Duration], Float),
        Function::Len | Function::Hash | Function::Int => (&[Any], Int),
        Function::Float => (&[Any], Float),
        Function::Bool | Function::Exists => (&[Any], Bool),
        Function::Extension => (&[Text], Text),
        Function::Abs | Function::Min | Function::Max => (&[Any], Any),
    }
}
