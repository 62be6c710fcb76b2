//! Why rules did or did not fire: the answer to `GET /status/rules` and `tidegate status --rules`.
//!
//! Counts are of the rules in force. A rule that a reload leaves as it was goes on counting, a changed one begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_rules::{BrokenCounters, Counters, RuleCounters, UnreadCounters};

/// The whole answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesReport {
    /// In the order of the files, `unmatched` last if there is such a block.
    pub rules: Vec<RuleReport>,
    /// Events whose topic no rule accepts.
    pub unmatched: u64,
    /// Of these, events that no `unmatched` block took either.
    pub dropped_unmatched: u64,
    /// Payloads whose fields rules wanted and could not read.
    pub unread: Vec<UnreadPayloads>,
    /// Events that broke their declaration.
    pub broken: Vec<BrokenDeclaration>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its name.
    pub rule: String,
    /// Events that its topics accepted.
    #[serde(rename = "in")]
    pub seen: u64,
    /// Events that a `when` found false.
    #[serde(rename = "false")]
    pub stopped: u64,
    /// What a `when` or `set` needed and was not there, by its name.
    pub undefined: BTreeMap<String, u64>,
    /// Events that got past every `when`.
    pub passed: u64,
    /// Events that a hold or a latch keeps back.
    pub held: u64,
    /// Events beyond a limit.
    pub limited: u64,
    /// Events that came after their window was closed.
    pub late: u64,
    /// Events that broke their declaration or could not be evaluated.
    pub errors: u64,
    /// Outputs, by destination.
    pub sent: BTreeMap<String, u64>,
    /// When it last sent something, as RFC 3339 in UTC.
    pub last_fired: Option<String>,
}

/// Payloads of one source and content type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadPayloads {
    /// The event's `source`; `(others)` for those beyond the first 200.
    pub source: String,
    /// The content type as it came; absent where none did.
    pub content_type: Option<String>,
    /// Those that were to be JSON and were not.
    pub not_json: u64,
    /// Those whose type says something else, and texts.
    pub other: u64,
}

/// A field that was not as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenDeclaration {
    /// The declaration.
    pub event: String,
    /// The field; where several are wrong, the first.
    pub field: String,
    /// Events.
    pub events: u64,
}

impl From<&Counters> for RulesReport {
    fn from(counters: &Counters) -> RulesReport {
        RulesReport {
            rules: counters.rules.iter().map(RuleReport::from).collect(),
            unmatched: counters.totals.unmatched,
            dropped_unmatched: counters.totals.dropped_unmatched,
            unread: counters.unread.iter().map(UnreadPayloads::from).collect(),
            broken: counters
                .broken
                .iter()
                .map(BrokenDeclaration::from)
                .collect(),
        }
    }
}

impl From<&RuleCounters> for RuleReport {
    fn from(rule: &RuleCounters) -> RuleReport {
        let counts = &rule.counts;
        let by_name = |named: &[(Arc<str>, u64)]| {
            let named = named.iter();
            named
                .map(|(name, count)| (name.to_string(), *count))
                .collect()
        };
        RuleReport {
            rule: rule.rule.to_string(),
            seen: counts.seen,
            stopped: counts.stopped,
            undefined: by_name(&rule.undefined),
            passed: counts.passed,
            errors: counts.errors,
            sent: by_name(&rule.sent),
            last_fired: counts.last_fired.and_then(rfc3339),
            // No clause of this version holds, limits or closes anything.
            held: 0,
            limited: 0,
            late: 0,
        }
    }
}

impl From<&UnreadCounters> for UnreadPayloads {
    fn from(unread: &UnreadCounters) -> UnreadPayloads {
        UnreadPayloads {
            source: unread.source.to_string(),
            content_type: unread.content_type.as_deref().map(str::to_owned),
            not_json: unread.not_json,
            other: unread.other,
        }
    }
}

impl From<&BrokenCounters> for BrokenDeclaration {
    fn from(broken: &BrokenCounters) -> BrokenDeclaration {
        BrokenDeclaration {
            event: broken.event.to_string(),
            field: broken.field.to_string(),
            events: broken.count,
        }
    }
}

fn rfc3339(unix_ms: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(unix_ms).ok()?;
    Some(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_words_of_the_contract() {
        let mut counters = Counters::default();
        let mut rule = RuleCounters {
            rule: "hot".into(),
            undefined: vec![("a.b".into(), 3)],
            sent: vec![("cloud".into(), 4), ("archive".into(), 4)],
            ..RuleCounters::default()
        };
        let counts = &mut rule.counts;
        (counts.seen, counts.passed, counts.stopped, counts.errors) = (10, 4, 2, 1);
        counts.last_fired = Some(1_760_277_802_118);
        counters.rules = vec![rule, RuleCounters::default()];
        let said = serde_json::to_value(RulesReport::from(&counters)).expect("JSON");
        assert_eq!(
            said["rules"][0],
            serde_json::json!({
                "rule": "hot", "in": 10, "false": 2, "undefined": { "a.b": 3 }, "passed": 4, "held": 0,
                "limited": 0, "late": 0, "errors": 1, "sent": { "archive": 4, "cloud": 4 },
                "last_fired": "2025-10-12T14:03:22.118Z"
            })
        );
        assert_eq!(said["rules"][1]["last_fired"], serde_json::Value::Null);
        let read: RulesReport = serde_json::from_value(said).expect("its own");
        assert_eq!(read, RulesReport::from(&counters));
    }
}
