//! A set of rules ready to run: files in, decisions out.

use std::sync::Arc;

use crate::check::check;
use crate::decision::{Addressed, Decision, Destination, Output};
use crate::diagnostic::Diagnostic;
use crate::eval::{NameId, Names};
use crate::event::{Event, UnixMs};
use crate::index::TopicIndex;
use crate::ir::{EventType, RuleSource};
use crate::json::{FieldId, Wanted};
use crate::program::CompiledRule;
use crate::route::{Route, RouteRule};
use crate::run::Run;
use crate::state::State;

/// The largest rule file in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The most rules in a set.
pub const RULES_MAX: usize = 10_000;

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// The file as it is shown to people.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// The names that `send to` may use, in the order of [`Destination`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destinations {
    names: Vec<String>,
}

impl Destinations {
    /// Destinations by their names. `dead_letter` is always the first, whether named or not.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Destinations {
        let mut all = vec!["dead_letter".to_owned()];
        for name in names {
            let name = name.into();
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Destinations { names: all }
    }

    /// The names in their order, `dead_letter` first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// How many there are, with `dead_letter`.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The destination called `name`.
    pub fn find(&self, name: &str) -> Option<Destination> {
        let place = self.names.iter().position(|known| known == name)?;
        u16::try_from(place).ok().map(Destination)
    }

    /// The name of `destination`.
    pub fn name(&self, destination: Destination) -> Option<&str> {
        self.names
            .get(usize::from(destination.0))
            .map(String::as_str)
    }
}

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
    let mut diagnostics = Vec::new();
    let mut said = Vec::new();
    for file in files {
        if file.text.len() > FILE_BYTES_MAX {
            let message = format!("a rule file cannot be larger than {FILE_BYTES_MAX} bytes");
            diagnostics.push(Diagnostic::error(&file.path, &file.text, 0..0, message));
            said.push(crate::ast::File::default());
            continue;
        }
        let parsed = crate::parser::parse(&file.path, &file.text);
        let (meant, errors) = crate::lower::lower(&file.path, &file.text, &parsed);
        diagnostics.extend(parsed.errors);
        diagnostics.extend(errors);
        said.push(meant);
    }
    let mut names = Names::default();
    let shared: Vec<Arc<RuleFile>> = files.iter().cloned().map(Arc::new).collect();
    let (program, found) = check(&shared, &said, destinations, &mut names);
    diagnostics.extend(found);
    if program.rules.len() > RULES_MAX {
        let path = files.last().map_or("rules", |file| &file.path);
        let message = format!("there are more than {RULES_MAX} rules");
        diagnostics.push(Diagnostic::error(path, "", 0..0, message));
    }
    sort(&mut diagnostics, files);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    let rules = RuleSet::build(&shared, destinations, program, names);
    Ok(Checked {
        rules,
        warnings: diagnostics,
    })
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
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) unmatched: Option<CompiledRule>,
    unmatched_wanted: Wanted,
    pub(crate) events: Vec<EventType>,
    sources: Vec<Vec<RuleSource>>,
    fields: Vec<Vec<String>>,
    names: Names,
    /// (rule, source of that rule)
    index: TopicIndex<(u32, u32)>,
}

impl RuleSet {
    /// The rule set of a gateway without rules: every event goes to every destination but
    /// `dead_letter`.
    pub fn pass_all(destinations: &Destinations) -> RuleSet {
        let no_names = Names::default();
        RuleSet::build(&[], destinations, crate::ir::Program::default(), no_names)
    }

    fn build(
        files: &[Arc<RuleFile>],
        destinations: &Destinations,
        program: crate::ir::Program,
        mut names: Names,
    ) -> RuleSet {
        let nothing = program.rules.is_empty() && program.unmatched.is_none();
        let count = u16::try_from(destinations.count()).unwrap_or(u16::MAX);
        let mut compile = |rule: &crate::ir::Rule| {
            CompiledRule::new(rule, &files[rule.file], &program.fields, &mut names)
        };
        let rules: Vec<CompiledRule> = program.rules.iter().map(&mut compile).collect();
        let unmatched = program.unmatched.as_ref().map(&mut compile);
        let mut index = TopicIndex::new();
        let mut sources = Vec::new();
        for (rule, at) in program.rules.into_iter().zip(0u32..) {
            for (source, place) in rule.sources.iter().zip(0u32..) {
                index.insert(&source.filter, (at, place));
            }
            sources.push(rule.sources);
        }
        let mut set = RuleSet {
            fingerprint: fingerprint(files, destinations),
            pass_all: nothing.then_some(count),
            rules,
            unmatched,
            unmatched_wanted: Wanted::default(),
            events: program.events,
            sources,
            fields: program.fields,
            names,
            index,
        };
        let reads = set.unmatched.as_ref().map(|rule| rule.reads.clone());
        set.unmatched_wanted = set.wanted(reads.into_iter().flatten());
        set
    }

    /// How many rules there are, without `unmatched`.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// The names of the rules in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.name)
    }

    pub(crate) fn names_with_unmatched(&self) -> impl Iterator<Item = &str> {
        let unmatched = self.unmatched.iter().map(|rule| &*rule.name);
        self.names().chain(unmatched)
    }

    /// Whether there is no rule and no `unmatched` block, so that everything passes.
    pub fn is_empty(&self) -> bool {
        self.pass_all.is_some()
    }

    /// A number that is the same exactly for the same texts and destinations, on every machine.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(crate) fn undefined_name(&self, id: NameId) -> Arc<str> {
        self.names.text(id)
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.fields.len()
    }

    /// Decides about one event. `decision` is overwritten; its buffers are used again.
    ///
    /// Pure: the same rules, state, time and event give the same decision. `_now` is what timers
    /// will go by.
    pub fn step(&self, state: &mut State, _now: UnixMs, event: &Event, decision: &mut Decision) {
        decision.outputs.clear();
        decision.matched = false;
        if let Some(count) = self.pass_all {
            decision.matched = true;
            decision.outputs.extend((1..count).map(plain_output));
            return;
        }
        state.adopt(self);
        let route = state.routes.get(&event.topic, || self.route(&event.topic));
        if !route.rules.is_empty() {
            decision.matched = true;
            return Run::new(self, state, event, &route.wanted).rules(&route, decision);
        }
        state.totals.unmatched += 1;
        match &self.unmatched {
            Some(rule) => {
                let at = self.rules.len();
                let mut run = Run::new(self, state, event, &self.unmatched_wanted);
                run.rule(at, rule, &[], decision);
            }
            None => state.totals.dropped_unmatched += 1,
        }
    }

    /// The rules that accept `topic`. A rule that accepts it in several ways runs once, by the
    /// first of its sources.
    fn route(&self, topic: &str) -> Route {
        let mut found: Vec<(u32, u32)> = Vec::new();
        self.index.matching(topic, |hit| found.push(*hit));
        found.sort_unstable();
        found.dedup_by_key(|(rule, _)| *rule);
        let mut route = Route::default();
        let mut reads: Vec<FieldId> = Vec::new();
        for (rule, source) in found {
            let (rule, source) = (rule as usize, source as usize);
            let source = &self.sources[rule][source];
            reads.extend(&self.rules[rule].reads);
            if let Some(event) = source.event
                && !route.events.contains(&event)
            {
                route.events.push(event);
                let contract = self.events[event].contract.iter();
                reads.extend(contract.filter(|f| f.promises()).map(|f| f.id));
            }
            route.rules.push(RouteRule {
                rule,
                event: source.event,
                captures: source
                    .captures
                    .iter()
                    .map(|capture| capture.as_ref().map(|capture| capture.find(topic)))
                    .collect(),
            });
        }
        route.wanted = self.wanted(reads);
        route
    }

    fn wanted(&self, reads: impl IntoIterator<Item = FieldId>) -> Wanted {
        let mut wanted = Wanted::default();
        for id in reads {
            if let Some(path) = self.fields.get(id.0 as usize) {
                wanted.add(id, path);
            }
        }
        wanted
    }
}

fn plain_output(destination: u16) -> Addressed {
    Addressed {
        destination: Destination(destination),
        output: Output::default(),
    }
}

/// FNV-1a with 64 bits over names and texts, each with its length before it.
fn fingerprint(files: &[Arc<RuleFile>], destinations: &Destinations) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    let mut add = |text: &str| {
        for byte in (text.len() as u64)
            .to_le_bytes()
            .iter()
            .chain(text.as_bytes())
        {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    };
    destinations.names().for_each(&mut add);
    for file in files {
        add(&file.path);
        add(&file.text);
    }
    hash
}
