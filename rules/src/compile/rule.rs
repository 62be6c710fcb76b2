//! Rules as the closures that run them.

use std::fmt;
use std::sync::Arc;

use super::Compiler;
use super::closure::{Eval, EvalText, Names, Operand, Site};
use crate::decision::{Destination, Priority};
use crate::event::json::{FieldId, Wanted};
use crate::ir::{Clause, ContractField, EventType, Expr, Kind, Program, Rule, Send};
use crate::syntax::fingerprint::Fingerprint;
use crate::syntax::rule_file::RuleFile;
use crate::value::Value;

/// All rules of a set, and what they share.
#[derive(Debug)]
pub(crate) struct CompiledRules {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) unmatched: Option<CompiledRule>,
    pub(crate) events: Vec<EventType>,
    /// Paths by [`FieldId`].
    pub(crate) fields: Vec<Vec<String>>,
    pub(crate) names: Names,
}

/// A rule, or the `unmatched` block.
pub(crate) struct CompiledRule {
    pub(crate) name: Arc<str>,
    pub(crate) steps: Vec<Step>,
    pub(crate) locals: usize,
    /// Fields of the payload it reads.
    pub(crate) reads: Vec<FieldId>,
    /// See [`Rule::fingerprint`].
    pub(crate) fingerprint: Fingerprint,
}

pub(crate) enum Step {
    When(Eval<bool>),
    Set {
        name: Arc<str>,
        local: usize,
        value: Eval<Value>,
        /// What it takes over as it is written.
        copy: Option<Eval<String>>,
    },
    Drop(Vec<Arc<str>>),
    Rename(Arc<str>, Arc<str>),
    Send(Box<SendStep>),
}

pub(crate) struct SendStep {
    pub(crate) destination: Destination,
    pub(crate) priority: Priority,
    pub(crate) topic: Option<TextStep>,
    pub(crate) key: Option<EvalText>,
    pub(crate) reason: Option<TextStep>,
    pub(crate) site: Site,
}

/// A text that is known before any event, or made for each.
pub(crate) enum TextStep {
    Fixed(Arc<str>),
    Made(EvalText),
}

impl fmt::Debug for CompiledRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledRule")
            .field("name", &self.name)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl CompiledRules {
    /// Compiles all of a `program` but the topics, which are not its business; less than all once
    /// `goes_on` says no.
    pub(crate) fn new(
        files: &[Arc<RuleFile>],
        program: Program,
        mut names: Names,
        goes_on: &dyn Fn() -> bool,
    ) -> Self {
        let mut compile =
            |rule: &Rule| CompiledRule::new(rule, &files[rule.file], &program.fields, &mut names);
        CompiledRules {
            rules: program
                .rules
                .iter()
                .take_while(|_| goes_on())
                .map(&mut compile)
                .collect(),
            unmatched: program.unmatched.as_ref().map(&mut compile),
            events: program.events,
            fields: program.fields,
            names,
        }
    }

    /// All rules in the order of the files, the `unmatched` block last.
    pub(crate) fn with_unmatched(&self) -> impl Iterator<Item = &CompiledRule> {
        self.rules.iter().chain(&self.unmatched)
    }

    /// What a decoder looks for to find the fields `reads`.
    pub(crate) fn wanted(&self, reads: impl IntoIterator<Item = FieldId>) -> Wanted {
        let mut wanted = Wanted::default();
        for id in reads {
            if let Some(path) = self.fields.get(id.0 as usize) {
                wanted.add(id, path);
            }
        }
        wanted
    }
}

impl CompiledRule {
    fn new(
        rule: &Rule,
        file: &Arc<RuleFile>,
        fields: &[Vec<String>],
        names: &mut Names,
    ) -> CompiledRule {
        let mut compiler = Compiler {
            file: Arc::clone(file),
            fields,
            names,
        };
        let mut reads = Vec::new();
        for clause in &rule.clauses {
            for expr in clause.exprs() {
                expr.fields(&mut |id| reads.push(id));
            }
        }
        reads.sort_unstable();
        reads.dedup();
        CompiledRule {
            name: rule.name.clone(),
            steps: rule
                .clauses
                .iter()
                .map(|c| step(&mut compiler, c))
                .collect(),
            locals: rule.locals,
            reads,
            fingerprint: rule.fingerprint,
        }
    }
}

fn step(compiler: &mut Compiler<'_>, clause: &Clause) -> Step {
    match clause {
        Clause::When(condition) => Step::When(compiler.bool(condition)),
        Clause::Set { name, local, value } => Step::Set {
            name: name.clone(),
            local: *local,
            value: compiler.value(value),
            copy: compiler.copy(value),
        },
        Clause::Drop(names) => Step::Drop(names.clone()),
        Clause::Rename(from, to) => Step::Rename(from.clone(), to.clone()),
        Clause::Send(send) => Step::Send(Box::new(send_step(compiler, send))),
    }
}

fn send_step(compiler: &mut Compiler<'_>, send: &Send) -> SendStep {
    let mut text = |expr: &Option<Expr>| {
        expr.as_ref().map(|expr| match &expr.kind {
            Kind::Constant(Value::Text(text)) => TextStep::Fixed(text.clone()),
            _ => TextStep::Made(compiler.str(expr)),
        })
    };
    let (topic, reason) = (text(&send.topic), text(&send.reason));
    SendStep {
        destination: send.destination,
        priority: send.priority,
        topic,
        key: send.key.as_ref().map(|key| compiler.as_text(key)),
        reason,
        site: Site::new(
            Arc::clone(&compiler.file),
            &send.span,
            vec![Operand::Called("topic")],
        ),
    }
}

impl ContractField {
    /// Whether arriving events are held against it even where no rule reads the field.
    pub(crate) fn promises(&self) -> bool {
        self.required || self.range.is_some()
    }
}
