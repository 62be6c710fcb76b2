//! `event` blocks.

use super::{Checker, Line};
use crate::diagnostic::Severity;
use crate::ir::{self, ContractField, EventType};
use crate::syntax::ast::{self, EventBlock, ExprKind, FieldLine, Name, Span};
use crate::syntax::fingerprint::Fingerprint;
use crate::topic::{TopicPattern, shared_filter};
use crate::value::Value;
use crate::value::types::Type;

/// An event as rules see it.
pub(super) struct DeclaredEvent {
    pub(super) name: String,
    pub(super) file: usize,
    pub(super) span: Span,
    pub(super) pattern: Option<TopicPattern>,
    pub(super) fields: Vec<DeclaredField>,
    pub(super) used: bool,
    pub(super) fingerprint: Fingerprint,
}

pub(super) struct DeclaredField {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) default: Option<Value>,
}

impl Checker<'_> {
    pub(super) fn event(&mut self, block: &EventBlock) {
        if let Some(first) = self.events.named(&block.name.text) {
            let first = &self.events[first];
            let place = self.place_of(first.file, first.span.start);
            let message = format!("event `{}` is declared twice", block.name.text);
            self.error(&block.name.span, message).notes = vec![format!("first at {place}")];
            return;
        }
        let pattern = self.event_topic(block);
        let mut fields: Vec<DeclaredField> = Vec::new();
        let mut contract = Vec::new();
        for line in &block.fields {
            if fields.iter().any(|field| field.name == line.name.text) {
                let message = format!("field `{}` is declared twice", line.name.text);
                self.error(&line.name.span, message);
                continue;
            }
            self.field_clashes_with_capture(line, pattern.as_ref());
            if let Some((field, promise)) = self.field_line(line) {
                fields.push(field);
                contract.push(promise);
            }
        }
        let place = self.place_of(self.file, block.name.span.start);
        self.program.events.push(EventType {
            name: block.name.text.as_str().into(),
            place,
            contract,
        });
        self.events.add(DeclaredEvent {
            name: block.name.text.clone(),
            file: self.file,
            span: block.name.span.clone(),
            pattern,
            fields,
            used: false,
            fingerprint: block.fingerprint,
        });
    }

    /// `file:line` of a place.
    fn place_of(&mut self, file: usize, offset: usize) -> String {
        let from = &self.line;
        let from = match from.file == file && from.offset <= offset {
            true => (from.offset, from.number),
            false => (0, 0),
        };
        let text = self.files[file].text.as_bytes();
        let between = text.get(from.0..offset).unwrap_or_default();
        let number = from.1 + memchr::memchr_iter(b'\n', between).count();
        self.line = Line {
            file,
            offset,
            number,
        };
        format!("{}:{}", self.files[file].path, number + 1)
    }

    fn event_topic(&mut self, block: &EventBlock) -> Option<TopicPattern> {
        let Some(topic) = &block.topic else {
            let message = format!("event `{}` has no topic", block.name.text);
            self.error(&block.name.span, message).label =
                Some("write `topic \"plant/{line}/temp\"` inside".to_owned());
            return None;
        };
        let pattern = self.topic_pattern(topic)?;
        self.shares_no_topic(&block.name, topic, &pattern);
        Some(pattern)
    }

    /// Of two declarations of one event, none could say what it is.
    fn shares_no_topic(&mut self, name: &Name, topic: &ast::Quoted, pattern: &TopicPattern) {
        if !self.complaints.has_room(Severity::Error) {
            return;
        }
        let Some(first) = self.events.sharing(pattern) else {
            return;
        };
        let first = &self.events[first];
        let message = format!(
            "events `{}` and `{}` are declared for the same topics",
            first.name, name.text
        );
        let shared = first.pattern.as_ref();
        let shared =
            shared.map(|other| shared_filter(other.filter.as_str(), pattern.filter.as_str()));
        let shared = shared.unwrap_or_default();
        let note = format!(
            "`{}` is declared at {}; both take `{shared}`",
            first.name.clone(),
            self.place_of(first.file, first.span.start),
        );
        let error = self.error(&topic.span, message);
        error.label = Some("an event has one declaration: make one topic narrower".to_owned());
        error.notes = vec![note];
    }

    pub(super) fn topic_pattern(&mut self, topic: &ast::Quoted) -> Option<TopicPattern> {
        match TopicPattern::parse(&topic.value) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.error(&topic.span, error.to_string());
                None
            }
        }
    }

    fn field_clashes_with_capture(&mut self, line: &FieldLine, pattern: Option<&TopicPattern>) {
        let captured = pattern.is_some_and(|pattern| {
            let mut captures = pattern.captures.iter();
            captures.any(|capture| capture.name == line.name.text)
        });
        if captured {
            let message = format!("`{}` is a part of the topic already", line.name.text);
            self.error(&line.name.span, message).label =
                Some("rename the capture in the topic".to_owned());
        }
    }

    fn field_line(&mut self, line: &FieldLine) -> Option<(DeclaredField, ContractField)> {
        // A field of an unknown type is still a field: one complaint is enough.
        let ty = self.field_type(&line.kind).unwrap_or(Type::Any);
        if line.required && line.optional {
            let message = format!("field `{}` is both required and optional", line.name.text);
            self.error(&line.name.span, message);
        }
        if line.required && line.default.is_some() {
            let message = format!(
                "field `{}` is required, so it needs no default",
                line.name.text
            );
            self.error(&line.name.span, message);
        }
        let range = line
            .range
            .as_ref()
            .and_then(|range| self.field_range(range, ty));
        let default = line
            .default
            .as_ref()
            .and_then(|default| self.constant(default, ty));
        if let (Some(value), Some((low, high))) = (&default, &range)
            && !crate::compile::is_between(value, low, high)
        {
            let span = line.default.as_ref().map_or(0..0, |expr| expr.span.clone());
            self.error(&span, "the default is outside the range of the field");
        }
        let id = self.field_id(vec![line.name.text.clone()]);
        let field = DeclaredField {
            name: line.name.text.clone(),
            ty,
            default,
        };
        let promise = ContractField {
            id,
            name: line.name.text.clone(),
            ty,
            required: line.required,
            range,
        };
        Some((field, promise))
    }

    fn field_type(&mut self, name: &Name) -> Option<Type> {
        let found = Type::named(&name.text);
        if found.is_none() {
            let types = Type::NAMED.map(|(name, _)| name);
            let synonym = match name.text.to_lowercase().as_str() {
                "string" | "str" => Some("text"),
                "integer" | "int64" | "i64" | "long" => Some("int"),
                "number" | "double" | "real" | "f64" => Some("float"),
                "boolean" => Some("bool"),
                "timestamp" | "datetime" | "date" => Some("time"),
                "array" => Some("list"),
                "map" | "json" | "struct" => Some("object"),
                _ => None,
            };
            let reported = self.unknown(name, format!("unknown type `{}`", name.text), &types);
            if let Some(meant) = synonym {
                reported.label = None;
                *reported = reported.clone().with_replacement(meant);
            }
            reported.notes = vec![format!("types are: {}", types.join(", "))];
        }
        found
    }

    fn field_range(&mut self, range: &ast::Expr, ty: Type) -> Option<(Value, Value)> {
        let ExprKind::Range(ends) = &range.kind else {
            if range.kind != ExprKind::Error {
                self.error(&range.span, "expected a range such as `0..100`");
            }
            return None;
        };
        if !ty.is_ordered() && ty != Type::Any {
            self.error(&range.span, format!("a {ty} has no range"));
            return None;
        }
        let low = self.constant(&ends[0], ty)?;
        let high = self.constant(&ends[1], ty)?;
        if !crate::compile::is_between(&low, &low, &high) {
            self.error(&range.span, "this range is empty: the lower end goes first");
            return None;
        }
        Some((low, high))
    }

    /// A value that is known now, of type `ty`.
    fn constant(&mut self, expr: &ast::Expr, ty: Type) -> Option<Value> {
        let scope = super::scope::Scope::default();
        let checked = self.expr(&scope, expr)?;
        let found: ir::Expr = self.fit(checked, ty, "the field")?;
        if found.constant().is_none() {
            self.error(&expr.span, "expected a fixed value");
        }
        found.constant().cloned()
    }

    pub(super) fn unused_events(&mut self) {
        for at in 0..self.events.count() {
            let event = &self.events[at];
            if !event.used {
                let (file, span) = (event.file, event.span.clone());
                let message = format!("no rule is `on {}`", event.name);
                self.file = file;
                self.warning(&span, message);
            }
        }
    }
}
