//! Names and types: from what the files say to a [`Program`] in which everything is settled.
//!
//! All files are checked as one, and checking goes on after an error, so that one run shows all
//! that is wrong. An expression that was complained about is `None` from there on.

mod access;
mod call;
mod complaints;
mod contradiction;
mod declared;
mod event;
mod expr;
mod interval;
mod operator;
mod rule;
mod scope;
mod send;

use std::collections::HashMap;
use std::sync::Arc;

use crate::compile::closure::Names;
use crate::decision::{Destination, Destinations};
use crate::diagnostic::{Diagnostic, Severity};
use crate::event::json::FieldId;
use crate::ir::{self, Program};
use crate::syntax::ast;
use crate::syntax::rule_file::RuleFile;
use complaints::Complaints;
use declared::DeclaredEvents;

/// Checks all files together, for as long as `goes_on` says so: what is given after that is not all.
pub(crate) fn check(
    files: &[Arc<RuleFile>],
    asts: &[ast::File],
    destinations: &Destinations,
    names: &mut Names,
    goes_on: &dyn Fn() -> bool,
) -> (Program, Vec<Diagnostic>) {
    let mut checker = Checker {
        files,
        file: 0,
        destinations,
        names,
        events: DeclaredEvents::default(),
        rules: HashMap::new(),
        fields: HashMap::new(),
        program: Program::default(),
        complaints: Complaints::default(),
        line: Line::default(),
    };
    for (at, file) in asts.iter().enumerate() {
        checker.file = at;
        let events = file.events.iter().take_while(|_| goes_on());
        events.for_each(|event| checker.event(event));
    }
    for (at, file) in asts.iter().enumerate() {
        checker.file = at;
        let rules = file.rules.iter().take_while(|_| goes_on());
        rules.for_each(|rule| checker.rule(rule));
        file.unmatched
            .iter()
            .for_each(|rule| checker.unmatched(rule));
    }
    checker.unused_events();
    (checker.program, checker.complaints.into_all())
}

struct Checker<'a> {
    files: &'a [Arc<RuleFile>],
    /// The file at hand.
    file: usize,
    destinations: &'a Destinations,
    names: &'a mut Names,
    events: DeclaredEvents,
    /// Rules by their names.
    rules: HashMap<String, usize>,
    /// Paths that have a [`FieldId`].
    fields: HashMap<Vec<String>, FieldId>,
    program: Program,
    complaints: Complaints,
    line: Line,
}

/// The line found last, from which the next ones of its file are counted on.
#[derive(Default)]
struct Line {
    file: usize,
    offset: usize,
    number: usize,
}

impl Checker<'_> {
    fn text(&self) -> &str {
        &self.files[self.file].text
    }

    fn report(
        &mut self,
        severity: Severity,
        span: &ast::Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let file = &self.files[self.file];
        // Of one that is not kept nobody sees the place, which takes its time to find.
        let text = match self.complaints.has_room(severity) {
            true => &*file.text,
            false => "",
        };
        let found = Diagnostic::new(severity, &file.path, text, span.clone(), message);
        self.complaints.keep(found)
    }

    fn error(&mut self, span: &ast::Span, message: impl Into<String>) -> &mut Diagnostic {
        self.report(Severity::Error, span, message)
    }

    fn warning(&mut self, span: &ast::Span, message: impl Into<String>) -> &mut Diagnostic {
        self.report(Severity::Warning, span, message)
    }

    /// `message` about `word`, offering the nearest of `candidates`.
    fn unknown(
        &mut self,
        word: &ast::Name,
        message: String,
        candidates: &[&str],
    ) -> &mut Diagnostic {
        // To look among many names for the nearest takes its time.
        let told = self.complaints.has_room(Severity::Error);
        let candidates = candidates.iter().copied().filter(|_| told);
        let meant = crate::diagnostic::did_you_mean(&word.text, candidates);
        let reported = self.error(&word.span, message);
        if let Some(meant) = meant {
            *reported = reported.clone().with_replacement(meant);
        }
        reported
    }

    /// The slot for the field found by going down `path`.
    fn field_id(&mut self, path: Vec<String>) -> FieldId {
        let next = FieldId(u32::try_from(self.fields.len()).unwrap_or(u32::MAX));
        let id = *self.fields.entry(path.clone()).or_insert(next);
        if id == next {
            self.program.fields.push(path);
        }
        id
    }

    fn destination(&mut self, name: &ast::Name) -> Option<Destination> {
        let found = self.destinations.find(&name.text);
        if found.is_none() {
            let known = self.destinations;
            let known: Vec<&str> = known.names().collect();
            let message = format!("unknown destination `{}`", name.text);
            self.unknown(name, message, &known).notes =
                vec![format!("destinations are: {}", known.join(", "))];
        }
        found
    }

    /// Compiles and runs an expression of constants.
    fn fold(&mut self, expr: ir::Expr) -> Option<ir::Expr> {
        if !expr.is_foldable() {
            return Some(expr);
        }
        let file = &self.files[self.file];
        let mut compiler = crate::compile::Compiler {
            file: Arc::clone(file),
            fields: &self.program.fields,
            names: self.names,
        };
        let compiled = compiler.value(&expr);
        match crate::compile::constant(&compiled) {
            Ok(value) => Some(ir::Expr {
                kind: ir::Kind::Constant(value),
                ..expr
            }),
            Err(crate::compile::closure::NoValue::Undefined(_)) => Some(expr),
            Err(crate::compile::closure::NoValue::Error(error)) => {
                self.error(&expr.span, error.message.clone());
                None
            }
        }
    }
}
