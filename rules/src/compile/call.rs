//! Closures for calls of functions, by the type they give.

use regex::Regex;

use super::Compiler;
use super::closure::{Eval, EvalText, NoValue, Site, Str};
use super::operation::{order, round_to_int, same, wrong_type};
use crate::ir::Expr;
use crate::ir::builtin::Function;
use crate::value::Value;
use crate::value::types::Type;

/// The largest compiled regular expression in bytes.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 20;

/// Compiles the pattern of `matches`.
pub(crate) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(50)
        .build()
}

impl Compiler<'_> {
    pub(super) fn bool_call(
        &mut self,
        expr: &Expr,
        function: Function,
        arguments: &[Expr],
    ) -> Eval<bool> {
        match (function, arguments) {
            (Function::StartsWith, [text, part]) => {
                self.text_test(text, part, |text, part| text.starts_with(part))
            }
            (Function::EndsWith, [text, part]) => {
                self.text_test(text, part, |text, part| text.ends_with(part))
            }
            (Function::Contains, [text, part]) if text.ty == Type::Text => {
                self.text_test(text, part, |text, part| text.contains(part))
            }
            (Function::Contains, [list, item]) if list.ty == Type::List => {
                self.in_dynamic_list(expr, item, list)
            }
            (Function::Contains, [whole, part]) => self.contains(expr, whole, part),
            (Function::Matches, [text, pattern]) => self.matches(text, pattern),
            (Function::Bool, [value]) => {
                let (site, value) = (self.site(expr, &[value]), self.value(value));
                Box::new(move |cx| match value(cx)? {
                    Value::Bool(value) => Ok(value),
                    Value::Text(text) if *text == *"true" => Ok(true),
                    Value::Text(text) if *text == *"false" => Ok(false),
                    Value::Int(0) => Ok(false),
                    Value::Int(1) => Ok(true),
                    other => Err(bad_cast(&site, &other, Type::Bool)),
                })
            }
            _ => self.never(),
        }
    }

    fn text_test(&mut self, text: &Expr, part: &Expr, test: fn(&str, &str) -> bool) -> Eval<bool> {
        if let Some(Value::Text(constant)) = part.constant() {
            let (text, constant) = (self.str(text), constant.clone());
            return Box::new(move |cx| Ok(test(&text(cx)?, &constant)));
        }
        let (text, part) = (self.str(text), self.str(part));
        Box::new(move |cx| Ok(test(&text(cx)?, &part(cx)?)))
    }

    /// `contains` of what turns out to be a text or a list.
    fn contains(&mut self, expr: &Expr, whole: &Expr, part: &Expr) -> Eval<bool> {
        let site = self.site(expr, &[whole, part]);
        let (whole, part) = (self.value(whole), self.value(part));
        Box::new(move |cx| match (whole(cx)?, part(cx)?) {
            (Value::Text(whole), Value::Text(part)) => Ok(whole.contains(&*part)),
            (Value::List(items), part) => Ok(items.iter().any(|item| same(item, &part))),
            (Value::Text(_), other) => Err(wrong_type(&site, &other, Type::Text)),
            (other, _) => Err(wrong_type(&site, &other, Type::Text)),
        })
    }

    fn matches(&mut self, text: &Expr, pattern: &Expr) -> Eval<bool> {
        let Some(Value::Text(pattern)) = pattern.constant() else {
            return self.never();
        };
        let Ok(regex) = regex(pattern) else {
            return self.never();
        };
        let text = self.str(text);
        Box::new(move |cx| Ok(regex.is_match(&text(cx)?)))
    }

    pub(super) fn int_call(
        &mut self,
        expr: &Expr,
        function: Function,
        arguments: &[Expr],
    ) -> Eval<i64> {
        let site = self.site(expr, &arguments.iter().collect::<Vec<_>>());
        match (function, arguments) {
            (Function::Abs, [value]) => {
                let value = self.int(value);
                Box::new(move |cx| {
                    let value = value(cx)?;
                    let positive = value.checked_abs();
                    positive.ok_or_else(|| site.error("integer overflow", &[&value]))
                })
            }
            (Function::Min | Function::Max, all) => {
                let all: Vec<Eval<i64>> = all.iter().map(|one| self.int(one)).collect();
                let largest = function == Function::Max;
                Box::new(move |cx| {
                    let mut best = if largest { i64::MIN } else { i64::MAX };
                    for one in &all {
                        let value = one(cx)?;
                        best = if largest {
                            best.max(value)
                        } else {
                            best.min(value)
                        };
                    }
                    Ok(best)
                })
            }
            (Function::Round, [value]) => self.rounded(site, value, f64::round),
            (Function::Floor, [value]) => self.rounded(site, value, f64::floor),
            (Function::Ceil, [value]) => self.rounded(site, value, f64::ceil),
            (Function::Len, [value]) => self.len(site, value),
            (Function::Hash, [value]) => {
                let text = self.as_text(value);
                Box::new(move |cx| Ok(hash(&text(cx)?)))
            }
            (Function::Int, [value]) => {
                let value = self.value(value);
                Box::new(move |cx| {
                    let value = value(cx)?;
                    to_int(&value).ok_or_else(|| bad_cast(&site, &value, Type::Int))
                })
            }
            _ => self.never(),
        }
    }

    fn rounded(&mut self, site: Site, value: &Expr, round: fn(f64) -> f64) -> Eval<i64> {
        let value = self.float(value);
        Box::new(move |cx| {
            let value = value(cx)?;
            round_to_int(round(value)).ok_or_else(|| site.error("integer overflow", &[&value]))
        })
    }

    fn len(&mut self, site: Site, value: &Expr) -> Eval<i64> {
        let value = self.value(value);
        Box::new(move |cx| {
            let length = match value(cx)? {
                Value::Text(text) => text.chars().count(),
                Value::List(items) => items.len(),
                Value::Object(members) => members.len(),
                other => return Err(wrong_type(&site, &other, Type::Text)),
            };
            Ok(i64::try_from(length).unwrap_or(i64::MAX))
        })
    }

    pub(super) fn float_call(
        &mut self,
        expr: &Expr,
        function: Function,
        arguments: &[Expr],
    ) -> Eval<f64> {
        let site = self.site(expr, &arguments.iter().collect::<Vec<_>>());
        match (function, arguments) {
            (Function::Abs, [value]) => {
                let value = self.float(value);
                Box::new(move |cx| value(cx).map(f64::abs))
            }
            (Function::Sqrt, [value]) => {
                let value = self.float(value);
                Box::new(move |cx| match value(cx)? {
                    value if value < 0.0 => Err(site.error("root of a negative number", &[&value])),
                    value => Ok(value.sqrt()),
                })
            }
            (Function::Min | Function::Max, all) => {
                let all: Vec<Eval<f64>> = all.iter().map(|one| self.float(one)).collect();
                let (start, pick): (f64, fn(f64, f64) -> f64) = match function {
                    Function::Max => (f64::NEG_INFINITY, f64::max),
                    _ => (f64::INFINITY, f64::min),
                };
                Box::new(move |cx| {
                    all.iter()
                        .try_fold(start, |best, one| Ok(pick(best, one(cx)?)))
                })
            }
            (Function::Round, [value, digits]) => {
                let (value, digits) = (self.float(value), self.int(digits));
                Box::new(move |cx| Ok(round_to(value(cx)?, digits(cx)?)))
            }
            (Function::Seconds, [value]) => {
                let value = self.int(value);
                Box::new(move |cx| value(cx).map(|ms| ms as f64 / 1_000.0))
            }
            (Function::Float, [value]) => {
                let value = self.value(value);
                Box::new(move |cx| {
                    let value = value(cx)?;
                    to_float(&value).ok_or_else(|| bad_cast(&site, &value, Type::Float))
                })
            }
            _ => self.never(),
        }
    }

    pub(super) fn text_call(
        &mut self,
        expr: &Expr,
        function: Function,
        arguments: &[Expr],
    ) -> EvalText {
        let site = self.site(expr, &arguments.iter().collect::<Vec<_>>());
        match (function, arguments) {
            (Function::Lower, [text]) => self.mapped(text, str::to_lowercase),
            (Function::Upper, [text]) => self.mapped(text, str::to_uppercase),
            (Function::Trim, [text]) => self.mapped(text, |text| text.trim().to_owned()),
            (Function::Text, [value]) => self.as_text(value),
            (Function::Replace, [text, from, to]) => {
                let (text, from, to) = (self.str(text), self.str(from), self.str(to));
                Box::new(move |cx| {
                    let (text, from, to) = (text(cx)?, from(cx)?, to(cx)?);
                    Ok(Str::Owned(text.replace(&*from, &to)))
                })
            }
            (Function::Concat, all) => {
                let all: Vec<EvalText> = all.iter().map(|one| self.as_text(one)).collect();
                Box::new(move |cx| {
                    let mut text = String::new();
                    for one in &all {
                        text.push_str(&one(cx)?);
                    }
                    Ok(Str::Owned(text))
                })
            }
            (Function::Join, [list, separator]) => {
                let (list, separator) = (self.value(list), self.str(separator));
                Box::new(move |cx| match list(cx)? {
                    Value::List(items) => {
                        let texts: Vec<String> = items.iter().map(Value::to_text).collect();
                        Ok(Str::Owned(texts.join(&separator(cx)?)))
                    }
                    other => Err(wrong_type(&site, &other, Type::List)),
                })
            }
            _ => {
                let nothing = self.names.id("?");
                Box::new(move |_| Err(NoValue::Undefined(nothing)))
            }
        }
    }

    fn mapped(&mut self, text: &Expr, map: fn(&str) -> String) -> EvalText {
        let text = self.str(text);
        Box::new(move |cx| Ok(Str::Owned(map(&text(cx)?))))
    }

    pub(super) fn dynamic_call(
        &mut self,
        expr: &Expr,
        function: Function,
        arguments: &[Expr],
    ) -> Eval<Value> {
        let site = self.site(expr, &arguments.iter().collect::<Vec<_>>());
        match (function, arguments) {
            (Function::Split, [text, separator]) => {
                let (text, separator) = (self.str(text), self.str(separator));
                Box::new(move |cx| {
                    let (text, separator) = (text(cx)?, separator(cx)?);
                    let parts = text.split(&*separator).map(|part| Value::Text(part.into()));
                    Ok(Value::List(parts.collect()))
                })
            }
            (Function::Min | Function::Max, all) => {
                let all: Vec<Eval<Value>> = all.iter().map(|one| self.value(one)).collect();
                let largest = function == Function::Max;
                Box::new(move |cx| {
                    let mut best: Option<Value> = None;
                    for one in &all {
                        let value = one(cx)?;
                        best = Some(match best {
                            None => value,
                            Some(best) => better(best, value, largest, &site)?,
                        });
                    }
                    Ok(best.unwrap_or(Value::Null))
                })
            }
            (Function::Abs, [value]) => {
                let value = self.value(value);
                Box::new(move |cx| match value(cx)? {
                    Value::Float(value) => Ok(Value::Float(value.abs())),
                    Value::Int(value) => match value.checked_abs() {
                        Some(value) => Ok(Value::Int(value)),
                        None => Err(site.error("integer overflow", &[&value])),
                    },
                    other => Err(wrong_type(&site, &other, Type::Float)),
                })
            }
            _ => self.never(),
        }
    }
}

fn better(best: Value, value: Value, largest: bool, site: &Site) -> Result<Value, NoValue> {
    let Some(order) = order(&value, &best) else {
        return Err(wrong_type(site, &value, best.kind()));
    };
    let wins = if largest {
        order.is_gt()
    } else {
        order.is_lt()
    };
    Ok(if wins && !same(&value, &best) {
        value
    } else {
        best
    })
}

fn bad_cast(site: &Site, value: &Value, wanted: Type) -> NoValue {
    let written = value.to_shown();
    site.error(format!("not a value for {wanted}"), &[&written])
}

fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::Float(value) => round_to_int(value.trunc()),
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Time(ms) | Value::Duration(ms) => Some(*ms),
        _ => None,
    }
}

fn to_float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::Text(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

/// `value` rounded to so many decimal digits, at most 15.
fn round_to(value: f64, digits: i64) -> f64 {
    let scale = 10f64.powi(i32::try_from(digits.clamp(-15, 15)).unwrap_or(0));
    let rounded = (value * scale).round() / scale;
    match rounded.is_finite() {
        true => rounded,
        false => value,
    }
}

/// A number from 0 to 2^32-1 that is the same for equal texts on every machine and in every
/// version (FNV-1a with 32 bits).
fn hash(text: &str) -> i64 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    i64::from(text.bytes().fold(0x811C_9DC5, step))
}
