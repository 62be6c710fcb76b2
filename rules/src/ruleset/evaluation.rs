//! One event through the rules of its topic.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::counters::UnreadCounters;
use super::route::Route;
use super::state::State;
use crate::compile::closure::{Context, NoValue, Str, shorten};
use crate::compile::rule::{CompiledRule, CompiledRules, SendStep, Step, TextStep};
use crate::compile::{int_slot, is_between};
use crate::decision::{Addressed, Decision, Destination, Output};
use crate::event::content_type::{is_json, says_little};
use crate::event::json::{Edit, JsonError, Slot, Wanted, decode, raw_member, rewrite};
use crate::event::{Event, UnixMs};
use crate::ir::{ContractField, EventType};
use crate::topic::is_valid_topic_name;
use crate::value::Value;
use crate::value::types::Type;

/// What the payload is, as far as rules can read it.
enum Payload<'e> {
    /// JSON, or so it seems where no rule reads any of it.
    Json {
        /// With a control character for each byte that is no UTF-8.
        text: Cow<'e, str>,
        /// What `text` was made of.
        bytes: &'e [u8],
    },
    /// Of another content type; it passes untouched.
    Other,
    Invalid(JsonError),
}

/// One event on its way through rules.
pub(crate) struct Evaluation<'r> {
    rules: &'r CompiledRules,
    state: &'r mut State,
    now: UnixMs,
    event: &'r Event,
    payload: Payload<'r>,
    /// The dead letter of the first rule that could not be evaluated, among the outputs, and how many more there were.
    failed: Option<(usize, u64)>,
}

/// How a rule ended.
enum RuleOutcome {
    Passed,
    Stopped,
}

impl<'r> Evaluation<'r> {
    /// Reads from the payload what is `wanted`.
    pub(crate) fn new(
        rules: &'r CompiledRules,
        state: &'r mut State,
        now: UnixMs,
        event: &'r Event,
        wanted: &Wanted,
    ) -> Evaluation<'r> {
        let payload = read(event, wanted, &mut state.slots);
        let invalid = matches!(payload, Payload::Invalid(_));
        state.totals.invalid_json += u64::from(invalid);
        if invalid || matches!(payload, Payload::Other) && !wanted.is_empty() {
            let kind = event.content_type.as_ref();
            UnreadCounters::count(&mut state.unread, &event.source, kind, invalid);
        }
        Evaluation {
            rules,
            state,
            now,
            event,
            payload,
            failed: None,
        }
    }

    /// Holds the event against its declarations, then runs the rules one after the other.
    pub(crate) fn route(mut self, route: &Route, decision: &mut Decision) {
        let all = self.rules;
        let mut broken: Vec<usize> = Vec::new();
        for at in &route.events {
            if let Some((field, reason)) = self.broken_promise(&all.events[*at]) {
                self.state.totals.broken_promises += 1;
                *self.state.broken.entry((*at, field)).or_default() += 1;
                // Of several declarations that it breaks, the first one tells.
                if broken.is_empty() {
                    let name = format!("event {}", all.events[*at].name);
                    decision
                        .outputs
                        .push(dead_letter(reason, Some(name.into())));
                }
                broken.push(*at);
            }
        }
        for entry in &route.rules {
            match entry.event {
                Some(event) if broken.contains(&event) => {
                    let counts = &mut self.state.rules[entry.rule];
                    counts.seen += 1;
                    counts.errors += 1;
                }
                _ => self.rule(
                    entry.rule,
                    &all.rules[entry.rule],
                    &entry.captures,
                    decision,
                ),
            }
        }
        self.tell_of_more(decision);
    }

    /// One dead letter says for all rules that could not be evaluated that there were more.
    fn tell_of_more(&self, decision: &mut Decision) {
        let Some((at, more)) = self.failed.filter(|(_, more)| *more > 0) else {
            return;
        };
        if let Some(letter) = decision.outputs.get_mut(at) {
            let first = letter.output.reason.as_deref().unwrap_or_default();
            let rules = if more == 1 { "rule" } else { "rules" };
            let reason = format!("{first}; and {more} more {rules} failed");
            letter.output.reason = Some(reason.into());
        }
    }

    /// Why the event is not what its declaration says, if so, and the place of the field.
    fn broken_promise(&self, declared: &EventType) -> Option<(usize, String)> {
        let fields = declared.contract.iter().enumerate();
        for (at, field) in fields.filter(|(_, field)| field.promises()) {
            let slot = self.state.slots[field.id.0 as usize];
            let wrong = match slot {
                Slot::Missing if field.required => match &self.payload {
                    Payload::Json { text, .. } => match raw_member(text, &field.name) {
                        None | Some("null") => "is required and missing".to_owned(),
                        Some(raw) => format!(
                            "is required, and its value {} is none that rules can read",
                            shorten(raw)
                        ),
                    },
                    Payload::Other => match self.event.content_type.as_deref() {
                        None => "is required, and the payload is not JSON".to_owned(),
                        Some(kind) => format!(
                            "is required, and the payload is not JSON: its content type is {kind}"
                        ),
                    },
                    Payload::Invalid(error) => {
                        format!("is required, and the payload is not JSON: {error}")
                    }
                },
                Slot::Missing => continue,
                _ => match self.out_of_promise(field, slot) {
                    Some(wrong) => wrong,
                    None => continue,
                },
            };
            let (place, event) = (&declared.place, &declared.name);
            let reason = format!("{place}: field `{}` of event {event} {wrong}", field.name);
            return Some((at, reason));
        }
        None
    }

    fn out_of_promise(&self, field: &ContractField, slot: Slot) -> Option<String> {
        let text = self.text();
        let value = decode(text, slot);
        let value = match (field.ty, value) {
            (Type::Float, Value::Int(value)) => Value::Float(value as f64),
            (Type::Int | Type::Time | Type::Duration, value) => {
                let spelled = || value.to_text();
                match (field.ty, int_slot(slot, field.ty, spelled)) {
                    (Type::Time, Some(ms)) => Value::Time(ms),
                    (Type::Duration, Some(ms)) => Value::Duration(ms),
                    (_, Some(whole)) => Value::Int(whole),
                    (_, None) => value,
                }
            }
            (_, value) => value,
        };
        if value.kind() != field.ty {
            let written = shorten(&value.to_text());
            return Some(format!(
                "is {} ({written}), declared {}",
                value.kind(),
                field.ty
            ));
        }
        let (low, high) = field.range.as_ref()?;
        (!is_between(&value, low, high)).then(|| {
            let (low, high, value) = (low.to_text(), high.to_text(), value.to_text());
            format!("is {value}, outside {low}..{high}")
        })
    }

    fn text(&self) -> &str {
        match &self.payload {
            Payload::Json { text, .. } => text,
            Payload::Other | Payload::Invalid(_) => "",
        }
    }

    /// Runs one rule and counts how it ended.
    pub(crate) fn rule(
        &mut self,
        at: usize,
        rule: &'r CompiledRule,
        captures: &[Option<Range<usize>>],
        decision: &mut Decision,
    ) {
        let before = decision.outputs.len();
        let end = self.steps(at, rule, captures, decision);
        let counts = &mut self.state.rules[at];
        counts.seen += 1;
        counts.count_sent(&decision.outputs[before..], self.now);
        match end {
            Ok(RuleOutcome::Passed) => counts.passed += 1,
            Ok(RuleOutcome::Stopped) => counts.stopped += 1,
            Err(NoValue::Undefined(name)) => {
                counts.undefined += 1;
                *counts.undefined_names.entry(name).or_default() += 1;
            }
            Err(NoValue::Error(error)) => {
                counts.errors += 1;
                match &mut self.failed {
                    Some((_, more)) => *more += 1,
                    None => {
                        self.failed = Some((decision.outputs.len(), 0));
                        let name = Some(Arc::clone(&rule.name));
                        decision.outputs.push(dead_letter(error.reason, name));
                    }
                }
            }
        }
    }

    fn steps(
        &mut self,
        at: usize,
        rule: &'r CompiledRule,
        captures: &[Option<Range<usize>>],
        decision: &mut Decision,
    ) -> Result<RuleOutcome, NoValue> {
        self.state.locals.clear();
        self.state.locals.resize(rule.locals, None);
        self.state.written.clear();
        self.state.written.resize(rule.locals, None);
        let mut edits: Vec<Edit<'r>> = Vec::new();
        let mut changed: Option<Bytes> = None;
        for step in &rule.steps {
            match step {
                Step::When(condition) => {
                    if !condition(&self.cx(captures))? {
                        return Ok(RuleOutcome::Stopped);
                    }
                    continue;
                }
                Step::Set {
                    name,
                    local,
                    value,
                    copy,
                } => {
                    let value = match value(&self.cx(captures)) {
                        Err(NoValue::Undefined(undefined)) => Err(undefined),
                        decided => Ok(decided?),
                    };
                    let written = copy.as_ref().and_then(|copy| copy(&self.cx(captures)).ok());
                    edits.push(match (&value, &written) {
                        (_, Some(json)) => Edit::Set(name, json.clone()),
                        (Ok(value), None) => Edit::Set(name, value.to_json()),
                        (Err(undefined), None) => {
                            let counts = &mut self.state.rules[at];
                            *counts.undefined_names.entry(*undefined).or_default() += 1;
                            Edit::Drop(name)
                        }
                    });
                    self.state.locals[*local] = value.ok();
                    self.state.written[*local] = written;
                }
                Step::Drop(names) => edits.extend(names.iter().map(|name| Edit::Drop(name))),
                Step::Rename(from, to) => edits.push(Edit::Rename(from, to)),
                Step::Send(send) => {
                    if changed.is_none() && !edits.is_empty() {
                        changed = Some(self.rewritten(&edits, send)?);
                    }
                    let output = self.output(rule, send, captures, changed.clone())?;
                    decision.outputs.push(output);
                    continue;
                }
            }
            changed = None;
        }
        Ok(RuleOutcome::Passed)
    }

    fn cx<'c>(&'c self, captures: &'c [Option<Range<usize>>]) -> Context<'c> {
        Context {
            event: self.event,
            payload: self.text(),
            slots: &self.state.slots,
            captures,
            locals: &self.state.locals,
            written: &self.state.written,
        }
    }

    /// The payload with the changes made so far.
    fn rewritten(&self, edits: &[Edit<'_>], send: &SendStep) -> Result<Bytes, NoValue> {
        let Payload::Json { text, bytes } = &self.payload else {
            let kind = self.event.content_type.as_deref().unwrap_or("unknown");
            let message = match &self.payload {
                Payload::Invalid(error) => {
                    format!("cannot change a payload that is not JSON: {error}:")
                }
                _ => format!("cannot change a payload of content type {kind}:"),
            };
            return Err(send.site.error(message, &[]));
        };
        match rewrite(text, bytes, edits) {
            Ok(changed) => {
                // A byte order mark stays too.
                let mark = self.event.data.strip_suffix(*bytes).unwrap_or_default();
                match mark.is_empty() {
                    true => Ok(Bytes::from(changed)),
                    false => Ok(Bytes::from([mark, &changed].concat())),
                }
            }
            Err(error) => {
                let message = format!("cannot change a payload that is no JSON object: {error}:");
                Err(send.site.error(message, &[]))
            }
        }
    }

    fn output(
        &self,
        rule: &CompiledRule,
        send: &SendStep,
        captures: &[Option<Range<usize>>],
        data: Option<Bytes>,
    ) -> Result<Addressed, NoValue> {
        let cx = self.cx(captures);
        let topic = match &send.topic {
            None => None,
            Some(TextStep::Fixed(topic)) => Some(Arc::clone(topic)),
            Some(TextStep::Made(topic)) => Some(self.made_topic(topic(&cx), send)?),
        };
        let key = match send.key.as_ref().map(|key| key(&cx)) {
            None | Some(Err(NoValue::Undefined(_))) => None,
            Some(key) => Some(key?.into_arc()),
        };
        let reason = match &send.reason {
            None => None,
            Some(TextStep::Fixed(reason)) => Some(Arc::clone(reason)),
            Some(TextStep::Made(reason)) => Some(match reason(&cx) {
                Err(NoValue::Undefined(name)) => {
                    let name = self.rules.names.text(name);
                    format!("the reason cannot be told: `{name}` is undefined").into()
                }
                decided => decided?.into_arc(),
            }),
        };
        let output = Output {
            topic,
            key,
            data,
            reason,
            rule: Some(Arc::clone(&rule.name)),
            priority: send.priority,
            options: None,
        };
        Ok(Addressed {
            destination: send.destination,
            output,
        })
    }

    /// A topic that cannot be made must not be passed over in silence: it is an error.
    fn made_topic(
        &self,
        topic: Result<Str<'_>, NoValue>,
        send: &SendStep,
    ) -> Result<Arc<str>, NoValue> {
        match topic {
            Ok(topic) if is_valid_topic_name(&topic) => Ok(topic.into_arc()),
            Ok(topic) => Err(send.site.error("not a valid topic to send to", &[&topic])),
            Err(NoValue::Undefined(name)) => {
                let name = self.rules.names.text(name);
                let message = format!("the topic needs `{name}`, which is undefined,");
                Err(send.site.error(message, &[]))
            }
            Err(error) => Err(error),
        }
    }
}

fn dead_letter(reason: String, rule: Option<Arc<str>>) -> Addressed {
    Addressed {
        destination: Destination::DEAD_LETTER,
        output: Output {
            reason: Some(reason.into()),
            rule,
            ..Output::default()
        },
    }
}

/// What some programs put in front of a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Finds what is wanted in the payload, if it is JSON or looks like it.
fn read<'e>(event: &'e Event, wanted: &Wanted, slots: &mut [Slot]) -> Payload<'e> {
    wanted.clear(slots);
    let kind = event.content_type.as_deref();
    // A type that leaves it open is none, but for what turns out to be no JSON.
    let declared = kind.filter(|kind| !says_little(kind)).map(is_json);
    let left_open = kind.is_some() && declared.is_none();
    if declared == Some(false) || u32::try_from(event.data.len()).is_err() {
        return Payload::Other;
    }
    let bytes = event.data.strip_prefix(BYTE_ORDER_MARK);
    let bytes = bytes.unwrap_or(&event.data);
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let looks_nested = matches!(first, Some(b'{' | b'['));
    let is_to_be = declared == Some(true) || looks_nested && !left_open;
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) if is_to_be || looks_nested => Cow::Owned(without_strange_bytes(bytes)),
        Err(_) => return Payload::Other,
    };
    if wanted.is_empty() {
        return Payload::Json { text, bytes };
    }
    match wanted.extract(&text, slots) {
        Ok(()) => Payload::Json { text, bytes },
        Err(error) if is_to_be => Payload::Invalid(error),
        Err(_) => Payload::Other,
    }
}

/// The text of the same length in which a control character stands for each byte that is no UTF-8. In a string it makes
/// that one no text, anywhere else it is no JSON.
fn without_strange_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{1a}'));
    }
    text
}
