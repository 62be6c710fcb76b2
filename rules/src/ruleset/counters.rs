//! What happened at rules and to events, counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compile::closure::NameId;
use crate::decision::{Addressed, Destination};
use crate::event::UnixMs;

/// What happened at one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Events its topics accepted, and timers of it that fell due.
    pub seen: u64,
    /// Events that got past every `when`.
    pub passed: u64,
    /// Events that a `when` found false.
    pub stopped: u64,
    /// Events that a `when` could not decide.
    pub undefined: u64,
    /// Events that broke their declaration or ended in an evaluation error.
    pub errors: u64,
    /// Outputs sent.
    pub sent: u64,
    /// Of these, how many to each destination that got any.
    pub sent_to: Vec<(Destination, u64)>,
    /// When it last sent something, by the time that was handed in.
    pub last_fired: Option<UnixMs>,
    pub(crate) undefined_names: BTreeMap<NameId, u64>,
}

/// What happened to events as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events no rule's topics accepted.
    pub unmatched: u64,
    /// Of those, events that no `unmatched` block took either.
    pub dropped_unmatched: u64,
    /// Payloads that were to be JSON and were not.
    pub invalid_json: u64,
    /// Events that broke the declaration of their type.
    pub broken_promises: u64,
}

/// All counters at one moment, apart from the state: for another thread to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of events as a whole.
    pub totals: Totals,
    /// Of every rule in the order of the files, `unmatched` last if there is such a block.
    pub rules: Vec<RuleCounters>,
    /// Payloads without fields that rules could read, by where they come from.
    pub unread: Vec<UnreadCounters>,
    /// Events that broke their declaration, by the field.
    pub broken: Vec<BrokenCounters>,
}

/// Payloads of one source and content type whose fields rules wanted and could not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadCounters {
    /// The event's `source`.
    pub source: Arc<str>,
    /// The content type as it came, if one did.
    pub content_type: Option<Arc<str>>,
    /// Those that were to be JSON and were not.
    pub not_json: u64,
    /// Those that their type says to be something else, or that turned out to be.
    pub other: u64,
}

/// Events that broke a declaration by one field; where several are wrong, it is the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokenCounters {
    /// The declaration.
    pub event: Arc<str>,
    /// The field.
    pub field: Arc<str>,
    /// How many.
    pub count: u64,
}

/// The counters of one rule at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// The rule.
    pub rule: Arc<str>,
    /// What happened at it.
    pub counts: RuleCounts,
    /// What was undefined how often, by name.
    pub undefined: Vec<(Arc<str>, u64)>,
    /// Outputs by the name of their destination.
    pub sent: Vec<(Arc<str>, u64)>,
}

/// Sources and content types that are told apart. The rest is counted under [`UnreadCounters::OTHERS`].
const UNREAD_MAX: usize = 200;
/// Bytes of a source or content type that is told apart.
const UNREAD_NAME_BYTES_MAX: usize = 256;

impl UnreadCounters {
    /// What stands for sources that are not told apart. No source can be called so.
    pub const OTHERS: &str = "(others)";

    /// Counts one payload.
    pub(crate) fn count(
        all: &mut Vec<UnreadCounters>,
        source: &Arc<str>,
        content_type: Option<&Arc<str>>,
        is_invalid: bool,
    ) {
        let same = |known: &&mut UnreadCounters| {
            known.source == *source && known.content_type.as_ref() == content_type
        };
        let len = all.len();
        let found = match all.iter_mut().find(same) {
            Some(found) => found,
            None => {
                let longest = source.len().max(content_type.map_or(0, |kind| kind.len()));
                let apart = len < UNREAD_MAX && longest <= UNREAD_NAME_BYTES_MAX;
                let others = all.iter().position(|known| &*known.source == Self::OTHERS);
                let at = others.filter(|_| !apart).unwrap_or(len);
                if at == len {
                    let (source, content_type) = match apart {
                        true => (Arc::clone(source), content_type.cloned()),
                        false => (Self::OTHERS.into(), None),
                    };
                    all.push(UnreadCounters {
                        source,
                        content_type,
                        ..UnreadCounters::default()
                    });
                }
                &mut all[at]
            }
        };
        match is_invalid {
            true => found.not_json += 1,
            false => found.other += 1,
        }
    }
}

impl RuleCounts {
    /// Counts what the rule sent.
    pub(crate) fn count_sent(&mut self, outputs: &[Addressed], now: UnixMs) {
        if outputs.is_empty() {
            return;
        }
        self.sent += outputs.len() as u64;
        self.last_fired = Some(now);
        for Addressed { destination, .. } in outputs {
            match self.sent_to.iter_mut().find(|(to, _)| to == destination) {
                Some((_, count)) => *count += 1,
                None => self.sent_to.push((*destination, 1)),
            }
        }
    }

    /// The same under the names of another set. A name that is no longer spelled so starts anew.
    pub(crate) fn renamed(mut self, new: impl Fn(NameId) -> Option<NameId>) -> RuleCounts {
        if !self.undefined_names.is_empty() {
            let counts = std::mem::take(&mut self.undefined_names);
            let renamed = |(name, count)| Some((new(name)?, count));
            self.undefined_names = counts.into_iter().filter_map(renamed).collect();
        }
        self
    }
}
