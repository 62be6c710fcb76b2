//! A rule as the closures that run it.

use std::fmt;
use std::sync::Arc;

use crate::RuleFile;
use crate::compile::Compiler;
use crate::decision::{Destination, Priority};
use crate::eval::{Eval, EvalText, Names, Operand, Site};
use crate::ir::{Clause, ContractField, Expr, Kind, Rule, Send};
use crate::json::FieldId;
use crate::value::Value;

/// A rule, or the `unmatched` block.
pub(crate) struct CompiledRule {
    pub(crate) name: Arc<str>,
    pub(crate) steps: Vec<Step>,
    pub(crate) locals: usize,
    /// Fields of the payload it reads.
    pub(crate) reads: Vec<FieldId>,
}

pub(crate) enum Step {
    When(Eval<bool>),
    Set {
        name: Arc<str>,
        local: usize,
        value: Eval<Value>,
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

impl CompiledRule {
    pub(crate) fn new(
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
