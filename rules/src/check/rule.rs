//! Rules and the `unmatched` block, clause by clause.

use std::sync::Arc;

use super::Checker;
use super::scope::{Binding, Scope};
use crate::diagnostic::Severity;
use crate::ir::{self, Envelope, Rule, RuleSource};
use crate::syntax::ast::{Clause, Name, RuleBlock, Source};
use crate::topic::TopicPattern;
use crate::value::Value;
use crate::value::types::Type;

impl Checker<'_> {
    pub(super) fn rule(&mut self, block: &RuleBlock) {
        let first = self.rules.get(&block.name.text);
        if let Some(first) = first.map(|file| self.files[*file].path.clone()) {
            let message = format!("there are two rules called `{}`", block.name.text);
            self.error(&block.name.span, message).notes = vec![format!("the first is in {first}")];
        }
        self.rules.insert(block.name.text.clone(), self.file);
        let mut on = None;
        for (at, clause) in block.clauses.iter().enumerate() {
            if let Clause::On(span, sources) = clause {
                if on.is_some() || at > 0 {
                    self.error(span, "a rule has one `on`, and it is the first line")
                        .label = Some("several events go into one `on`, with commas".to_owned());
                }
                on.get_or_insert(sources);
            }
        }
        let Some(sources) = on else {
            let message = format!("rule `{}` has no `on`", block.name.text);
            self.error(&block.name.span, message).label =
                Some("the first line says which events it takes: `on press_temp`".to_owned());
            return;
        };
        let mut scope = Scope::default();
        let found = self.sources(&mut scope, sources);
        let rule = self.body(&mut scope, block, found);
        self.unchecked_fields(&rule, sources);
        self.nothing_happens(block);
        self.program.rules.push(rule);
    }

    pub(super) fn unmatched(&mut self, block: &RuleBlock) {
        if let Some(first) = &self.program.unmatched {
            let path = self.files[first.file].path.clone();
            self.error(&block.name.span, "there is one `unmatched` block")
                .notes = vec![format!("the first is in {path}")];
        }
        for clause in &block.clauses {
            if let Clause::On(span, _) = clause {
                self.error(span, "`unmatched` takes the events no rule is `on`")
                    .label = Some("take this line out".to_owned());
            }
        }
        let mut scope = Scope {
            untyped: true,
            ..Scope::default()
        };
        let rule = self.body(&mut scope, block, Vec::new());
        self.program.unmatched = Some(rule);
    }

    /// Fields of topics in quotes may be misspelt without anybody noticing.
    fn unchecked_fields(&mut self, rule: &Rule, sources: &[Source]) {
        let mut reads = false;
        let exprs = rule.clauses.iter().flat_map(ir::Clause::exprs);
        exprs.for_each(|expr| expr.fields(&mut |_| reads = true));
        let mut filters = sources.iter().filter_map(|source| match source {
            Source::Filter(filter) => Some(&filter.span),
            Source::Event(_) => None,
        });
        if let (true, Some(span)) = (reads, filters.next()) {
            let message = "no `event` declares this topic, so its fields are not checked";
            self.warning(span, message);
        }
    }

    fn nothing_happens(&mut self, block: &RuleBlock) {
        let sends = block.clauses.iter().any(|c| matches!(c, Clause::Send(_)));
        if !sends && !self.complaints.has_error() {
            let message = format!("rule `{}` sends nothing", block.name.text);
            self.warning(&block.name.span, message).label =
                Some("its events count as dropped by rule".to_owned());
        }
    }

    /// What `on` names: the scope learns its events and captures.
    fn sources(&mut self, scope: &mut Scope, sources: &[Source]) -> Vec<RuleSource> {
        let mut found: Vec<(TopicPattern, Option<usize>)> = Vec::new();
        for source in sources {
            match source {
                Source::Event(name) => {
                    let event = self.event_named(name);
                    let Some(at) = event else {
                        // Its fields are unknown; do not complain about each of them.
                        scope.untyped = true;
                        continue;
                    };
                    self.events[at].used = true;
                    scope.events.push(at);
                    found.extend(self.events[at].pattern.clone().map(|p| (p, Some(at))));
                }
                Source::Filter(topic) => {
                    scope.untyped = true;
                    found.extend(self.topic_pattern(topic).map(|p| (p, None)));
                }
            }
        }
        for (pattern, _) in &found {
            for capture in &pattern.captures {
                if !scope.captures.contains(&capture.name) {
                    scope.captures.push(capture.name.clone());
                }
            }
        }
        let names = &scope.captures;
        let source = |(pattern, event): (TopicPattern, Option<usize>)| RuleSource {
            captures: names
                .iter()
                .map(|name| pattern.captures.iter().find(|c| c.name == *name).cloned())
                .collect(),
            filter: pattern.filter,
            event,
        };
        found.into_iter().map(source).collect()
    }

    fn event_named(&mut self, name: &Name) -> Option<usize> {
        let found = self.events.named(&name.text);
        if found.is_none() {
            let told = self.complaints.has_room(Severity::Error);
            let known = self.events.iter().filter(|_| told).map(|e| e.name.clone());
            let known: Vec<String> = known.collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let reported = self.unknown(name, format!("unknown event `{}`", name.text), &known);
            if reported.label.is_none() {
                reported.label = Some("declare it, or write a topic in quotes".to_owned());
            }
        }
        found
    }

    fn body(&mut self, scope: &mut Scope, block: &RuleBlock, sources: Vec<RuleSource>) -> Rule {
        let mut fingerprint = block.fingerprint;
        for at in &scope.events {
            fingerprint.include(self.events[*at].fingerprint);
        }
        let clauses = block
            .clauses
            .iter()
            .filter_map(|clause| self.clause(scope, clause))
            .collect();
        Rule {
            name: block.name.text.as_str().into(),
            file: self.file,
            sources,
            clauses,
            locals: scope.locals,
            fingerprint,
        }
    }

    fn clause(&mut self, scope: &mut Scope, clause: &Clause) -> Option<ir::Clause> {
        match clause {
            Clause::On(..) => None,
            Clause::When(condition) => {
                let checked = self.expr(scope, condition)?;
                let checked = self.fit(checked, Type::Bool, "a condition")?;
                if let Some(value) = checked.constant() {
                    let says = match value {
                        Value::Bool(true) => "this condition is always true",
                        _ => "this condition is never true: nothing gets past it",
                    };
                    self.warning(&condition.span, says);
                }
                self.narrow(scope, &checked);
                Some(ir::Clause::When(checked))
            }
            Clause::Set(name, value) => self.set(scope, name, value),
            Clause::Drop(names) => {
                for name in names {
                    self.field_exists(scope, name);
                    let gone = Binding::Gone(name.span.clone());
                    scope.changed.insert(name.text.clone(), gone);
                }
                let names = names.iter().map(|name| name.text.as_str().into());
                Some(ir::Clause::Drop(names.collect()))
            }
            Clause::Rename(from, to) => self.rename(scope, from, to),
            Clause::Send(send) => self.send(scope, send),
        }
    }

    fn set(
        &mut self,
        scope: &mut Scope,
        name: &Name,
        value: &crate::syntax::ast::Expr,
    ) -> Option<ir::Clause> {
        if scope.captures.contains(&name.text) {
            let message = format!("`{}` is a part of the topic and cannot be set", name.text);
            self.error(&name.span, message);
            return None;
        }
        let declared = self.declared(scope, &name.text).map(|field| field.1);
        let attribute = Envelope::named(&name.text).is_some() || name.text == "payload";
        if attribute && declared.is_none() && !scope.changed.contains_key(&name.text) {
            let message = format!(
                "this sets a field of the payload, not the event's `{}`",
                name.text
            );
            self.warning(&name.span, message).label = match name.text.as_str() {
                "topic" => Some("to send under another topic: `send to … topic \"…\"`".to_owned()),
                _ => None,
            };
        }
        let checked = self.expr(scope, value);
        let checked = match declared {
            Some(ty) => self.fit(checked?, ty, &format!("`{}`", name.text)),
            None => checked,
        };
        let local = scope.locals;
        scope.locals += 1;
        let ty = checked.as_ref().map_or(Type::Any, |checked| checked.ty);
        scope
            .changed
            .insert(name.text.clone(), Binding::Local(local, ty));
        Some(ir::Clause::Set {
            name: name.text.as_str().into(),
            local,
            value: checked?,
        })
    }

    fn rename(&mut self, scope: &mut Scope, from: &Name, to: &Name) -> Option<ir::Clause> {
        if !self.field_exists(scope, from) {
            return None;
        }
        let mut moved = self.binding(scope, &from.text);
        let known = scope.untyped || self.declared(scope, &to.text).is_some();
        if known || scope.changed.contains_key(&to.text) {
            // Where there is nothing to rename, what has the name already keeps it.
            let kept = self.binding(scope, &to.text);
            if !matches!(kept, Binding::Gone(_)) {
                moved = Binding::Either(Box::new(moved), Box::new(kept));
            }
        }
        let gone = Binding::Gone(from.span.clone());
        scope.changed.insert(from.text.clone(), gone);
        scope.changed.insert(to.text.clone(), moved);
        self.bound(scope.changed.get(&to.text)?, &to.span)?;
        let arc = |name: &Name| Arc::<str>::from(name.text.as_str());
        Some(ir::Clause::Rename(arc(from), arc(to)))
    }

    /// What the field `name` is at this line.
    fn binding(&mut self, scope: &Scope, name: &str) -> Binding {
        if let Some(binding) = scope.changed.get(name) {
            return binding.clone();
        }
        match self.declared(scope, name) {
            Some((id, ty, default)) => Binding::Field(id, ty, default),
            None => Binding::Field(self.field_id(vec![name.to_owned()]), Type::Any, None),
        }
    }
}
