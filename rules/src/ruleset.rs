//! A set of rules ready to run: files in, decisions out.

mod counters;
mod evaluation;
mod handover;
mod route;
mod state;
mod timers;

use std::sync::Arc;

pub use counters::{BrokenCounters, Counters, RuleCounters, RuleCounts, Totals, UnreadCounters};
pub use handover::Handover;
pub use state::State;

use crate::check::check;
use crate::compile::closure::Names;
use crate::compile::rule::{CompiledRule, CompiledRules};
use crate::decision::{Addressed, Decision, Destination, Destinations, Output};
use crate::diagnostic::Diagnostic;
use crate::event::json::Wanted;
use crate::event::{Event, UnixMs};
use crate::ir::Program;
use crate::syntax::ast;
use crate::syntax::fingerprint::Fingerprint;
use crate::syntax::rule_file::{FILE_BYTES_MAX, RuleFile};
use evaluation::Evaluation;
use route::Router;
use timers::Timer;

/// The most rules in a set.
pub const RULES_MAX: usize = 10_000;

/// Rules that passed every check.
#[derive(Debug)]
pub struct Checked {
    /// Ready to run.
    pub rules: RuleSet,
    /// What probably does not mean what it says.
    pub warnings: Vec<Diagnostic>,
}

/// Checks and compiles all files as one set.
///
/// # Errors
/// Everything that is wrong in any file, by file and place; warnings are among them.
pub fn compile(
    files: &[RuleFile],
    destinations: &Destinations,
) -> Result<Checked, Vec<Diagnostic>> {
    compile_while(files, destinations, &|| true).unwrap_or_else(|| Err(Vec::new()))
}

/// [`compile`] for as long as `goes_on` says so, which is asked between files and between rules;
/// `None` once it does not.
pub fn compile_while(
    files: &[RuleFile],
    destinations: &Destinations,
    goes_on: &dyn Fn() -> bool,
) -> Option<Result<Checked, Vec<Diagnostic>>> {
    let (asts, mut diagnostics) = parse(files, goes_on);
    let mut names = Names::default();
    let shared: Vec<Arc<RuleFile>> = files.iter().cloned().map(Arc::new).collect();
    let (program, found) = check(&shared, &asts, destinations, &mut names, goes_on);
    diagnostics.extend(found);
    if program.rules.len() > RULES_MAX {
        let path = files.last().map_or("rules", |file| &file.path);
        let message = format!("there are more than {RULES_MAX} rules");
        diagnostics.push(Diagnostic::error(path, "", 0..0, message));
    }
    if !goes_on() {
        return None;
    }
    sort(&mut diagnostics, files);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Some(Err(diagnostics));
    }
    let rules = RuleSet::build(&shared, destinations, program, names, goes_on);
    let checked = Checked {
        rules,
        warnings: diagnostics,
    };
    goes_on().then_some(Ok(checked))
}

/// What the files say, as far as it can be read, and what is wrong with their form.
fn parse(files: &[RuleFile], goes_on: &dyn Fn() -> bool) -> (Vec<ast::File>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut asts = Vec::new();
    for file in files.iter().take_while(|_| goes_on()) {
        if file.text.len() > FILE_BYTES_MAX {
            let message = format!("a rule file cannot be larger than {FILE_BYTES_MAX} bytes");
            diagnostics.push(Diagnostic::error(&file.path, &file.text, 0..0, message));
            asts.push(ast::File::default());
            continue;
        }
        let parsed = crate::syntax::parser::parse(&file.path, &file.text);
        let (ast, errors) = crate::syntax::lower::lower(&file.path, &file.text, &parsed);
        diagnostics.extend(parsed.errors);
        diagnostics.extend(errors);
        asts.push(ast);
    }
    (asts, diagnostics)
}

/// By file in the order given, then by place; one complaint per place and wording.
fn sort(diagnostics: &mut Vec<Diagnostic>, files: &[RuleFile]) {
    let order = |d: &Diagnostic| {
        let file = files.iter().position(|file| file.path == d.file);
        (file, d.span.start, d.span.end, d.severity)
    };
    diagnostics.sort_by_key(order);
    diagnostics.dedup_by(|a, b| a.file == b.file && a.span == b.span && a.message == b.message);
}

/// Rules, compiled. Immutable: shared between threads as `Arc<RuleSet>`.
#[derive(Debug)]
pub struct RuleSet {
    fingerprint: u64,
    /// Without rules: how many destinations get everything.
    pass_all: Option<u16>,
    compiled: CompiledRules,
    router: Router,
    unmatched_wanted: Wanted,
    /// Names of the destinations in their order.
    destinations: Vec<Arc<str>>,
}

impl RuleSet {
    /// The rule set of a gateway without rules: every event goes to every destination but
    /// `dead_letter`.
    pub fn pass_all(destinations: &Destinations) -> RuleSet {
        RuleSet::build(
            &[],
            destinations,
            Program::default(),
            Names::default(),
            &|| true,
        )
    }

    fn build(
        files: &[Arc<RuleFile>],
        destinations: &Destinations,
        program: Program,
        names: Names,
        goes_on: &dyn Fn() -> bool,
    ) -> RuleSet {
        let nothing = program.rules.is_empty() && program.unmatched.is_none();
        let count = u16::try_from(destinations.count()).unwrap_or(u16::MAX);
        let router = Router::new(&program.rules);
        let compiled = CompiledRules::new(files, program, names, goes_on);
        let reads = compiled.unmatched.as_ref().map(|rule| rule.reads.clone());
        RuleSet {
            fingerprint: fingerprint(files, destinations),
            pass_all: nothing.then_some(count),
            router,
            unmatched_wanted: compiled.wanted(reads.into_iter().flatten()),
            compiled,
            destinations: destinations.names().map(Arc::from).collect(),
        }
    }

    /// How many rules there are, without `unmatched`.
    pub fn rule_count(&self) -> usize {
        self.compiled.rules.len()
    }

    /// The names of the rules in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.compiled.rules.iter().map(|rule| &*rule.name)
    }

    /// Whether there is no rule and no `unmatched` block, so that everything passes.
    pub fn is_empty(&self) -> bool {
        self.pass_all.is_some()
    }

    /// A number that is the same exactly for the same texts and destinations, on every machine.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Decides about one event. `decision` is overwritten; its buffers are used again.
    ///
    /// Pure: the same rules, state, time and event give the same decision. No clause of this
    /// version goes by `now`; it is noted as when a rule last fired.
    pub fn step(&self, state: &mut State, now: UnixMs, event: &Event, decision: &mut Decision) {
        decision.outputs.clear();
        decision.matched = false;
        if let Some(count) = self.pass_all {
            decision.matched = true;
            decision.outputs.extend((1..count).map(plain_output));
            return;
        }
        state.adopt(self.fingerprint, &self.compiled);
        let find = || self.router.find(&self.compiled, &event.topic);
        let route = state.routes.get(&event.topic, find);
        if !route.rules.is_empty() {
            decision.matched = true;
            return Evaluation::new(&self.compiled, state, now, event, &route.wanted)
                .route(&route, decision);
        }
        state.totals.unmatched += 1;
        match &self.compiled.unmatched {
            Some(rule) => {
                let at = self.compiled.rules.len();
                let wanted = &self.unmatched_wanted;
                let mut evaluation = Evaluation::new(&self.compiled, state, now, event, wanted);
                evaluation.rule(at, rule, &[], decision);
            }
            None => state.totals.dropped_unmatched += 1,
        }
    }

    /// The state of these rules after `old` ones, whose state it was. A rule keeps what it has
    /// if it has its name, its text and the declarations it is on as before, wherever it stands
    /// and however it is laid out; every other rule starts anew. [`Totals`] go on.
    ///
    /// A state that did not belong to `old` starts anew.
    #[must_use]
    pub fn carry(&self, old: &RuleSet, state: State) -> State {
        self.handover(old).apply(state).0
    }

    /// All of [`RuleSet::carry`] that can be done before the state is there.
    pub fn handover(&self, old: &RuleSet) -> Handover {
        Handover::new(
            (old.fingerprint, &old.compiled),
            (self.fingerprint, &self.compiled),
        )
    }

    /// Runs `rule` over `event` once more at `due`, see [`RuleSet::wake`]. `false` if there is no
    /// such rule.
    ///
    /// The clauses of this version arm nothing: holds and windows will.
    pub fn arm(&self, state: &mut State, rule: &str, due: UnixMs, event: Arc<Event>) -> bool {
        state.adopt(self.fingerprint, &self.compiled);
        let mut rules = self.compiled.with_unmatched();
        let Some(rule) = rules.position(|known| *known.name == *rule) else {
            return false;
        };
        state.timers.arm(due, Timer { rule, event });
        true
    }

    /// When the rules want to be woken next, if ever.
    pub fn next_wake(&self, state: &State) -> Option<UnixMs> {
        let mine = state.owner == Some(self.fingerprint);
        state.timers.first().filter(|_| mine)
    }

    /// Decides about the first timer that is due at `now`: gives the event it was armed for.
    /// `decision` is overwritten; its buffers are used again. To be called until nothing is due.
    ///
    /// As pure as [`RuleSet::step`]: timers fall due in the order of their times, and those of
    /// one time in the order in which they were armed.
    pub fn wake(
        &self,
        state: &mut State,
        now: UnixMs,
        decision: &mut Decision,
    ) -> Option<Arc<Event>> {
        decision.outputs.clear();
        decision.matched = false;
        state.adopt(self.fingerprint, &self.compiled);
        let Timer { rule: at, event } = state.timers.take_due(now)?;
        decision.matched = at < self.compiled.rules.len();
        let rule = self.compiled.with_unmatched().nth(at)?;
        let wanted = self.compiled.wanted(rule.reads.iter().copied());
        let find = || self.router.find(&self.compiled, &event.topic);
        let route = state.routes.get(&event.topic, find);
        let mut entries = route.rules.iter();
        let entry = entries.find(|entry| entry.rule == at);
        let captures = entry.map_or(&[][..], |entry| &entry.captures);
        Evaluation::new(&self.compiled, state, now, &event, &wanted)
            .rule(at, rule, captures, decision);
        Some(event)
    }

    /// All counters as they are now.
    pub fn counters(&self, state: &State) -> Counters {
        let sent_to = |(to, count): &(Destination, u64)| {
            let name = self.destinations.get(usize::from(to.0))?;
            Some((Arc::clone(name), *count))
        };
        let of_rule = |(rule, counts): (&CompiledRule, &RuleCounts)| RuleCounters {
            rule: Arc::clone(&rule.name),
            counts: counts.clone(),
            undefined: state.undefined(self, counts).collect(),
            sent: counts.sent_to.iter().filter_map(sent_to).collect(),
        };
        let mut counters = Counters {
            totals: state.totals,
            ..Counters::default()
        };
        if state.owner == Some(self.fingerprint) {
            let rules = self.compiled.with_unmatched().zip(&state.rules);
            counters.rules = rules.map(of_rule).collect();
            counters.unread.clone_from(&state.unread);
            let broken = state.broken.iter();
            counters.broken = broken.filter_map(|of| self.broken(of)).collect();
        }
        counters
    }

    fn broken(&self, ((event, field), count): (&(usize, usize), &u64)) -> Option<BrokenCounters> {
        let event = self.compiled.events.get(*event)?;
        Some(BrokenCounters {
            event: Arc::clone(&event.name),
            field: event.contract.get(*field)?.name.as_str().into(),
            count: *count,
        })
    }
}

impl State {
    /// Counters of every rule by its name, `unmatched` last if there is such a block.
    pub fn rules<'s>(
        &'s self,
        rules: &'s RuleSet,
    ) -> impl Iterator<Item = (&'s str, &'s RuleCounts)> {
        let mine = self.owner == Some(rules.fingerprint);
        let counts = if mine { self.rules.as_slice() } else { &[] };
        let names = rules.compiled.with_unmatched().map(|rule| &*rule.name);
        names.zip(counts)
    }

    /// What was undefined how often at the rule `counts` belong to, by name.
    pub fn undefined<'s>(
        &'s self,
        rules: &'s RuleSet,
        counts: &'s RuleCounts,
    ) -> impl Iterator<Item = (Arc<str>, u64)> {
        counts
            .undefined_names
            .iter()
            .map(|(name, count)| (rules.compiled.names.text(*name), *count))
    }
}

fn plain_output(destination: u16) -> Addressed {
    Addressed {
        destination: Destination(destination),
        output: Output::default(),
    }
}

/// Of the names and texts in their order.
fn fingerprint(files: &[Arc<RuleFile>], destinations: &Destinations) -> u64 {
    let mut fingerprint = Fingerprint::new();
    destinations.names().for_each(|name| fingerprint.add(name));
    for file in files {
        fingerprint.add(&file.path);
        fingerprint.add(&file.text);
    }
    fingerprint.number()
}
