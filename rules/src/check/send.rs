//! `send to …` and its options.

use super::Checker;
use super::scope::Scope;
use crate::decision::{Destination, Priority};
use crate::ir::builtin::Function;
use crate::ir::{self, Expr, Kind};
use crate::syntax::ast::{Name, Part, Send, Template};
use crate::topic::{is_valid_topic_name, uncarried};
use crate::value::Value;
use crate::value::types::Type;

const PRIORITIES: [(&str, Priority); 4] = [
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
    ("critical", Priority::Critical),
];

impl Checker<'_> {
    pub(super) fn send(&mut self, scope: &Scope, send: &Send) -> Option<ir::Clause> {
        let destination = send.to.as_ref().and_then(|to| self.destination(to));
        let priority = match &send.priority {
            None => Some(Priority::Normal),
            Some(name) => self.priority(name),
        };
        let topic = send
            .topic
            .as_ref()
            .map(|topic| self.topic_template(scope, topic));
        let key = send.key.as_ref().map(|key| self.expr(scope, key));
        let reason = send
            .reason
            .as_ref()
            .map(|reason| self.template(scope, reason));
        if let (Some(reason), Some(to)) = (&send.reason, destination)
            && to != Destination::DEAD_LETTER
        {
            self.warning(&reason.span, "a reason is kept for dead letters only");
        }
        let complete = |part: Option<Option<Expr>>| match part {
            None => Some(None),
            Some(found) => found.map(Some),
        };
        Some(ir::Clause::Send(Box::new(ir::Send {
            destination: destination?,
            priority: priority?,
            topic: complete(topic)?,
            key: complete(key)?,
            reason: complete(reason)?,
            span: send.to.as_ref()?.span.clone(),
        })))
    }

    fn priority(&mut self, name: &Name) -> Option<Priority> {
        let found = PRIORITIES.iter().find(|(known, _)| *known == name.text);
        if found.is_none() {
            let known = PRIORITIES.map(|(known, _)| known);
            let message = format!("unknown priority `{}`", name.text);
            self.unknown(name, message, &known).notes =
                vec![format!("priorities are: {}", known.join(", "))];
        }
        found.map(|(_, priority)| *priority)
    }

    fn topic_template(&mut self, scope: &Scope, topic: &Template) -> Option<Expr> {
        let checked = self.template(scope, topic)?;
        let written = topic.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Hole(_) => None,
        });
        if let Some(character) = written.filter_map(uncarried).next() {
            let code = u32::from(character);
            let message = format!(
                "a topic to send to cannot contain U+{code:04X}, which MQTT does not carry"
            );
            self.error(&topic.span, message);
            return None;
        }
        if let Some(Value::Text(text)) = checked.constant()
            && !is_valid_topic_name(text)
        {
            let message = match text.is_empty() {
                true => "a topic cannot be empty",
                false => "a topic to send to cannot contain `+`, `#` or NUL",
            };
            self.error(&topic.span, message);
            return None;
        }
        Some(checked)
    }

    /// A text with holes, as one expression of type text.
    fn template(&mut self, scope: &Scope, template: &Template) -> Option<Expr> {
        let mut complete = true;
        let mut parts = Vec::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => parts.push(Expr {
                    ty: Type::Text,
                    kind: Kind::Constant(Value::Text(text.as_str().into())),
                    span: template.span.clone(),
                }),
                Part::Hole(expr) => match self.expr(scope, expr) {
                    Some(expr) => parts.push(expr),
                    None => complete = false,
                },
            }
        }
        if !complete {
            return None;
        }
        if parts.is_empty() {
            parts.push(Expr {
                ty: Type::Text,
                kind: Kind::Constant(Value::Text("".into())),
                span: template.span.clone(),
            });
        }
        self.fold(Expr {
            ty: Type::Text,
            kind: Kind::Call(Function::Concat, parts),
            span: template.span.clone(),
        })
    }
}
