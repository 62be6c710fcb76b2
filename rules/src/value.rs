//! Values whose type is known only when the event is there, and values that rules keep.

pub(crate) mod time_format;
pub(crate) mod types;

use std::fmt::Write;
use std::sync::Arc;

use time_format::{format_duration, format_time};
use types::Type;

/// A value of any type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// JSON's `null`, which only occurs inside lists and objects.
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// Milliseconds since the Unix epoch.
    Time(i64),
    /// Milliseconds.
    Duration(i64),
    List(Arc<[Value]>),
    Object(Arc<[(Arc<str>, Value)]>),
}

impl Value {
    /// Its type; `any` for `null`.
    pub(crate) fn kind(&self) -> Type {
        match self {
            Value::Null => Type::Any,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Float(_) => Type::Float,
            Value::Text(_) => Type::Text,
            Value::Time(_) => Type::Time,
            Value::Duration(_) => Type::Duration,
            Value::List(_) => Type::List,
            Value::Object(_) => Type::Object,
        }
    }

    /// The value as JSON. Times are RFC 3339 text, durations text such as "1m30s".
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Float(value) => out.push_str(&serde_json::Value::from(*value).to_string()),
            Value::Bool(_) | Value::Int(_) => self.write_text(out),
            Value::Text(text) => write_quoted(text, out),
            Value::Time(_) | Value::Duration(_) => write_quoted(&self.to_text(), out),
            Value::List(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value.write_json(out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_quoted(name, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// The value as a person reads it: texts without quotes, everything else as in JSON.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out);
        out
    }

    /// As messages show it: a text stands in quotes, so that `"98.6"` is seen to be no number.
    pub(crate) fn to_shown(&self) -> String {
        match self {
            Value::Text(_) => {
                let mut out = String::new();
                self.write_json(&mut out);
                out
            }
            other => other.to_text(),
        }
    }

    /// Appends [`Value::to_text`].
    pub(crate) fn write_text(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Value::Text(text) => out.write_str(text),
            Value::Bool(value) => write!(out, "{value}"),
            Value::Int(value) => write!(out, "{value}"),
            Value::Time(ms) => out.write_str(&format_time(*ms)),
            Value::Duration(ms) => out.write_str(&format_duration(*ms)),
            _ => {
                self.write_json(out);
                Ok(())
            }
        };
    }
}

fn write_quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
