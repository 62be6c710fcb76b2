//! Names and types: from what the files say to a [`Program`] in which everything is settled.
//!
//! All files are checked as one, and checking goes on after an error, so that one run shows all
//! that is wrong. An expression that was complained about is `None` from there on.

mod access;
mod call;
mod contradiction;
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
use event::DeclaredEvent;

/// How many complaints about meaning are kept.
const DIAGNOSTICS_MAX: usize = 500;

/// Checks all files together.
pub(crate) fn check(
    files: &[Arc<RuleFile>],
    asts: &[ast::File],
    destinations: &Destinations,
    names: &mut Names,
) -> (Program, Vec<Diagnostic>) {
    let mut checker = Checker {
        files,
        file: 0,
        destinations,
        names,
        events: Vec::new(),
        rules: HashMap::new(),
        fields: HashMap::new(),
        program: Program::default(),
        diagnostics: Vec::new(),
    };
    for (at, file) in asts.iter().enumerate() {
        checker.file = at;
        file.events.iter().for_each(|event| checker.event(event));
    }
    for (at, file) in asts.iter().enumerate() {
        checker.file = at;
        file.rules.iter().for_each(|rule| checker.rule(rule));
        file.unmatched
            .iter()
            .for_each(|rule| checker.unmatched(rule));
    }
    checker.unused_events();
    (checker.program, checker.diagnostics)
}

struct Checker<'a> {
    files: &'a [Arc<RuleFile>],
    /// The file at hand.
    file: usize,
    destinations: &'a Destinations,
    names: &'a mut Names,
    events: Vec<DeclaredEvent>,
    /// Rules by their names.
    rules: HashMap<String, usize>,
    /// Paths that have a [`FieldId`].
    fields: HashMap<Vec<String>, FieldId>,
    program: Program,
    diagnostics: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn path(&self) -> &str {
        &self.files[self.file].path
    }

    fn text(&self) -> &str {
        &self.files[self.file].text
    }

    fn report(
        &mut self,
        severity: Severity,
        span: &ast::Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let diagnostic = Diagnostic::new(severity, self.path(), self.text(), span.clone(), message);
        // Who makes more mistakes than this mends the first ones first.
        self.diagnostics.truncate(DIAGNOSTICS_MAX);
        let place = self.diagnostics.len();
        self.diagnostics.push(diagnostic);
        &mut self.diagnostics[place]
    }

    fn error(&mut self, span: &ast::Span, message: impl Into<String>) -> &mut Diagnostic {
        self.report(Severity::Error, span, message)
    }

    fn warning(&mut self, span: &ast::Span, message: impl Into<String>) -> &mut Diagnostic {
        self.report(Severity::Warning, span, message)
    }

    /// `message` about `word`, offering the nearest of `candidates`.
    fn unknown(&mut self, word: &ast::Name, message: String, candidates: &[&str]) {
        let meant = crate::diagnostic::did_you_mean(&word.text, candidates.iter().copied());
        let diagnostic = Diagnostic::error(self.path(), self.text(), word.span.clone(), message);
        self.diagnostics.push(match meant {
            Some(meant) => diagnostic.with_replacement(meant),
            None => diagnostic,
        });
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
            self.unknown(name, message, &known);
            if let Some(last) = self.diagnostics.last_mut() {
                last.notes = vec![format!("destinations are: {}", known.join(", "))];
            }
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
