//! What happens to the rules in force and at them.

pub mod report;

use std::fmt;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tidegate_rules::{BrokenCounters, Counters, RuleCounters, RuleCounts, Totals, UnreadCounters};

use super::{Happening, Observe, SystemEvent};

/// Rules with metrics of their own, in the order of the files; the others are counted as one.
pub const RULES_MAX: usize = 200;
/// Names of what was undefined with metrics of their own; the others are counted as one.
pub const UNDEFINED_MAX: usize = 200;
/// Pairs of a rule and a destination with metrics of their own; the others are counted as one.
pub const OUTPUTS_MAX: usize = 400;
/// Declared fields with metrics of their own; the others are counted as one.
pub const BROKEN_MAX: usize = 200;
/// What the others are called: no rule and no expression can be.
const OTHERS: &str = "(others)";

/// Registers the metrics of the rules in force, whose `counters` are asked for at each scrape.
pub fn register(observe: &Observe, counters: impl Fn() -> Counters + Send + Sync + 'static) {
    let collector = RulesCollector(Box::new(counters));
    observe.register(|registry| registry.register_collector(Box::new(collector)));
}

struct RulesCollector(Box<dyn Fn() -> Counters + Send + Sync>);

impl fmt::Debug for RulesCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RulesCollector")
    }
}

impl Collector for RulesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counters = (self.0)();
        encode_totals(&mut encoder, &counters.totals)?;
        let (own, others) = counters.rules.split_at(counters.rules.len().min(RULES_MAX));
        encode_rules(&mut encoder, own, others)?;
        encode_sent(&mut encoder, own, others)?;
        encode_undefined(&mut encoder, &counters.rules)?;
        encode_unread(&mut encoder, &counters.unread)?;
        encode_broken(&mut encoder, &counters.broken)
    }
}

fn encode_totals(encoder: &mut DescriptorEncoder, totals: &Totals) -> Result<(), fmt::Error> {
    let counters = [
        (
            "events_unmatched",
            "Events whose topic no rule accepts",
            totals.unmatched,
        ),
        (
            "events_invalid_json",
            "Payloads that were to be JSON and were not",
            totals.invalid_json,
        ),
        (
            "events_against_declaration",
            "Events that broke the declaration of their type",
            totals.broken_promises,
        ),
    ];
    for (name, help, value) in counters {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    Ok(())
}

/// Events by how they ended at a rule, and what it sent.
fn encode_rules(
    encoder: &mut DescriptorEncoder,
    own: &[RuleCounters],
    others: &[RuleCounters],
) -> Result<(), fmt::Error> {
    type Figure = fn(&RuleCounts) -> u64;
    let outcomes: [(&str, Figure); 4] = [
        ("passed", |counts| counts.passed),
        ("stopped", |counts| counts.stopped),
        ("undefined", |counts| counts.undefined),
        ("error", |counts| counts.errors),
    ];
    let of_others = |figure: Figure| others.iter().map(|rule| figure(&rule.counts)).sum();
    let figures = |figure: Figure| {
        let own = own.iter();
        let own = own.map(move |rule| (&*rule.rule, figure(&rule.counts)));
        let others: Option<(&str, u64)> = (!others.is_empty()).then(|| (OTHERS, of_others(figure)));
        own.chain(others)
    };
    let help = "Events at a rule, by how they ended";
    let mut family = encoder.encode_descriptor("rule_events", help, None, MetricType::Counter)?;
    for (outcome, figure) in outcomes {
        for (rule, count) in figures(figure) {
            let labels = [("rule", rule), ("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// What rules sent where, and when they last did.
fn encode_sent(
    encoder: &mut DescriptorEncoder,
    own: &[RuleCounters],
    others: &[RuleCounters],
) -> Result<(), fmt::Error> {
    let help = "Outputs of a rule";
    let mut family = encoder.encode_descriptor("rule_outputs", help, None, MetricType::Counter)?;
    let mut sent = own.iter().flat_map(|rule| {
        let sent = rule.sent.iter();
        sent.map(move |(to, count)| (&*rule.rule, &**to, *count))
    });
    for (rule, to, count) in sent.by_ref().take(OUTPUTS_MAX) {
        let labels = [("rule", rule), ("destination", to)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    let of_others: u64 = others.iter().map(|rule| rule.counts.sent).sum();
    let rest = sent.map(|(_, _, count)| count).sum::<u64>() + of_others;
    if rest > 0 {
        let labels = [("rule", OTHERS), ("destination", OTHERS)];
        ConstCounter::new(rest).encode(family.encode_family(&labels)?)?;
    }
    let help = "When a rule last sent something, by the wall clock";
    let unit = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor("rule_last_fired", help, unit, MetricType::Gauge)?;
    for rule in own {
        if let Some(ms) = rule.counts.last_fired {
            let fired = ConstGauge::new(ms as f64 / 1000.0);
            fired.encode(family.encode_family(&[("rule", &*rule.rule)])?)?;
        }
    }
    Ok(())
}

/// Payloads whose fields rules wanted and could not read. There are some 200 at most.
fn encode_unread(
    encoder: &mut DescriptorEncoder,
    unread: &[UnreadCounters],
) -> Result<(), fmt::Error> {
    let help = "Payloads whose fields rules wanted and could not read";
    let name = "payloads_without_fields";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for of in unread {
        for (why, count) in [("not_json", of.not_json), ("other", of.other)] {
            if count > 0 {
                let content_type = of.content_type.as_deref().unwrap_or_default();
                let labels = [
                    ("source", &*of.source),
                    ("content_type", content_type),
                    ("why", why),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

/// Events that broke their declaration, by event and field.
fn encode_broken(
    encoder: &mut DescriptorEncoder,
    broken: &[BrokenCounters],
) -> Result<(), fmt::Error> {
    let help = "Events that broke their declaration";
    let name = "declarations_broken";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    let (own, others) = broken.split_at(broken.len().min(BROKEN_MAX));
    for of in own {
        let labels = [("event", &*of.event), ("field", &*of.field)];
        ConstCounter::new(of.count).encode(family.encode_family(&labels)?)?;
    }
    let rest: u64 = others.iter().map(|of| of.count).sum();
    if rest > 0 {
        let labels = [("event", OTHERS), ("field", OTHERS)];
        ConstCounter::new(rest).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// What a `when` or `set` needed and found undefined, by its name.
fn encode_undefined(
    encoder: &mut DescriptorEncoder,
    rules: &[RuleCounters],
) -> Result<(), fmt::Error> {
    let help = "What a rule needed and found undefined";
    let mut family =
        encoder.encode_descriptor("rule_undefined", help, None, MetricType::Counter)?;
    let mut names = rules.iter().flat_map(|rule| {
        let undefined = rule.undefined.iter();
        undefined.map(move |(name, count)| (&*rule.rule, &**name, *count))
    });
    for (rule, name, count) in names.by_ref().take(UNDEFINED_MAX) {
        let labels = [("rule", rule), ("name", name)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    let others: u64 = names.map(|(_, _, count)| count).sum();
    if others > 0 {
        let labels = [("rule", OTHERS), ("name", OTHERS)];
        ConstCounter::new(others).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A new set of rules took effect.
pub struct RulesActivated<'a> {
    /// Counts activations since the start.
    pub generation: u64,
    /// Of the texts.
    pub fingerprint: &'a str,
    /// How many rules it has.
    pub rules: usize,
    /// How many warnings the check gave.
    pub warnings: usize,
}

impl Happening for RulesActivated<'_> {
    fn log(&self) {
        tracing::info!(
            generation = self.generation,
            fingerprint = self.fingerprint,
            rules = self.rules,
            warnings = self.warnings,
            "rules activated"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.rules.activated",
            subject: self.fingerprint.into(),
            data: serde_json::json!({ "generation": self.generation, "rules": self.rules }),
        })
    }
}

/// A changed folder has mistakes; the last good set goes on.
pub struct RulesRefused<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The generation that goes on.
    pub generation: u64,
    /// One short line each.
    pub errors: &'a [String],
}

impl Happening for RulesRefused<'_> {
    fn log(&self) {
        tracing::error!(
            folder = %self.folder.display(),
            generation = self.generation,
            errors = self.errors.len(),
            "rules refused, the last good set goes on; `tidegate rules check` shows each mistake:\n{}",
            self.errors.join("\n")
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.rules.refused",
            subject: self.folder.display().to_string(),
            data: serde_json::json!({ "generation": self.generation, "errors": self.errors }),
        })
    }
}

/// A folder that was refused is again as it was when its rules came into force.
pub struct RulesAccepted<'a> {
    /// The folder.
    pub folder: &'a Path,
}

impl Happening for RulesAccepted<'_> {
    fn log(&self) {
        tracing::info!(folder = %self.folder.display(), "the rules folder says what is in force");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.rules.accepted",
            subject: self.folder.display().to_string(),
            data: serde_json::json!({}),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(rule: &str, name: &str) -> RuleCounters {
        let mut counts = RuleCounts::default();
        (counts.passed, counts.stopped) = (4, 3);
        (counts.undefined, counts.errors, counts.sent) = (2, 1, 5);
        counts.last_fired = Some(1_760_277_802_118);
        RuleCounters {
            rule: rule.into(),
            counts,
            undefined: vec![(name.into(), 2)],
            sent: vec![("cloud".into(), 3), ("archive".into(), 2)],
        }
    }

    fn broken(at: usize) -> BrokenCounters {
        BrokenCounters {
            event: "temp".into(),
            field: format!("f{at}").into(),
            count: 2,
        }
    }

    fn metrics(rules: Vec<RuleCounters>) -> String {
        let observe = Observe::default();
        let totals = Totals {
            unmatched: 6,
            dropped_unmatched: 0,
            invalid_json: 7,
            broken_promises: 8,
        };
        register(&observe, move || Counters {
            totals,
            rules: rules.clone(),
            unread: vec![UnreadCounters {
                source: "plant-a/floor".into(),
                content_type: Some("text/csv".into()),
                not_json: 0,
                other: 9,
            }],
            broken: (0..300).map(broken).collect(),
        });
        observe.metrics_text()
    }

    #[test]
    fn each_rule_and_what_it_missed_is_told() {
        let text = metrics(vec![counted("hot", "a[\"b\"]"), counted("unmatched", "c")]);
        for line in [
            r#"tidegate_rule_events_total{rule="hot",outcome="passed"} 4"#,
            r#"tidegate_rule_events_total{rule="hot",outcome="stopped"} 3"#,
            r#"tidegate_rule_events_total{rule="hot",outcome="undefined"} 2"#,
            r#"tidegate_rule_events_total{rule="unmatched",outcome="error"} 1"#,
            r#"tidegate_rule_outputs_total{rule="hot",destination="cloud"} 3"#,
            r#"tidegate_rule_outputs_total{rule="hot",destination="archive"} 2"#,
            r#"tidegate_rule_last_fired_seconds{rule="hot"} 1760277802.118"#,
            r#"tidegate_payloads_without_fields_total{source="plant-a/floor",content_type="text/csv",why="other"} 9"#,
            r#"tidegate_declarations_broken_total{event="temp",field="f199"} 2"#,
            r#"tidegate_declarations_broken_total{event="(others)",field="(others)"} 200"#,
            r#"tidegate_rule_undefined_total{rule="hot",name="a[\"b\"]"} 2"#,
            r#"tidegate_rule_undefined_total{rule="unmatched",name="c"} 2"#,
            "tidegate_events_unmatched_total 6",
            "tidegate_events_invalid_json_total 7",
            "tidegate_events_against_declaration_total 8",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let others = format!("rule=\"{OTHERS}\"");
        assert!(!text.contains(&others), "{text}");
    }

    #[test]
    fn ten_thousand_rules_do_not_make_ten_thousand_labels() {
        let rules = (0..10_000).map(|at| counted(&format!("r{at}"), "x"));
        let text = metrics(rules.collect());
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("tidegate_rule_events_total"), 4 * (RULES_MAX + 1));
        assert_eq!(count("tidegate_rule_outputs_total"), OUTPUTS_MAX + 1);
        assert_eq!(count("tidegate_rule_last_fired"), RULES_MAX);
        assert_eq!(count("tidegate_rule_undefined_total"), UNDEFINED_MAX + 1);
        let others = 5 * (10_000 - RULES_MAX);
        let labels = format!("rule=\"{OTHERS}\",destination=\"{OTHERS}\"");
        let line = format!("tidegate_rule_outputs_total{{{labels}}} {others}");
        assert!(text.contains(&line), "{line}");
    }
}
