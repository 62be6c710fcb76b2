//! `tidegate status --rules`: why rules did or did not fire, those first that somebody will ask about.

use std::cmp::Reverse;
use std::io::Write;

use crate::cli::terminal::table::{Table, printable};
use crate::cli::terminal::{color, figures};
use crate::observe::rules::report::{RuleReport, RulesReport};

/// Where a rule stands in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It sent nothing, and something was missing or went wrong.
    Hindered,
    /// It saw events and sent nothing.
    Silent,
    /// It saw no event.
    Unseen,
    /// It sends, and something is missing or goes wrong at times.
    Uneven,
    /// It sends.
    Well,
}

impl Standing {
    fn of(rule: &RuleReport) -> Standing {
        let hindered = rule.errors > 0 || !rule.undefined.is_empty();
        match (rule.seen, rule.sent.is_empty(), hindered) {
            (0, _, _) => Standing::Unseen,
            (_, true, true) => Standing::Hindered,
            (_, true, false) => Standing::Silent,
            (_, false, true) => Standing::Uneven,
            (_, false, false) => Standing::Well,
        }
    }
}

/// Tables of the rules, of what was missing, of payloads without fields, and of broken declarations.
pub(super) fn write(output: &mut impl Write, report: &RulesReport) -> std::io::Result<()> {
    let mut rules: Vec<&RuleReport> = report.rules.iter().collect();
    rules.sort_by_key(|rule| (Standing::of(rule), Reverse(rule.seen)));
    if rules.is_empty() {
        writeln!(output, "no rules: every event goes to every upstream")?;
    } else {
        write_rules(output, &rules)?;
        write_undefined(output, &rules)?;
    }
    write_unread(output, report)?;
    write_broken(output, report)?;
    if report.unmatched > 0 {
        writeln!(
            output,
            "\n{} matched the topic of no rule; {} of them went nowhere",
            figures::counted(report.unmatched, "event"),
            figures::count(report.dropped_unmatched)
        )?;
    }
    Ok(())
}

fn write_rules(output: &mut impl Write, rules: &[&RuleReport]) -> std::io::Result<()> {
    let holds = rules
        .iter()
        .any(|rule| rule.held + rule.limited + rule.late > 0);
    let mut columns = vec!["RULE", ">IN", ">FALSE", ">UNDEFINED", ">ERRORS", ">PASSED"];
    if holds {
        columns.extend([">HELD", ">LIMITED", ">LATE"]);
    }
    let mut table = Table::new(&columns);
    for rule in rules {
        let mut row = vec![rule.rule.clone()];
        // As many as neither a `when` nor an error decided; what a `set` missed stands below.
        let decided =
            rule.stopped + rule.errors + rule.passed + rule.held + rule.limited + rule.late;
        let undefined = rule.seen.saturating_sub(decided);
        let counts = [rule.seen, rule.stopped, undefined, rule.errors, rule.passed];
        row.extend(counts.map(figures::count));
        if holds {
            row.extend([rule.held, rule.limited, rule.late].map(figures::count));
        }
        let sent = rule.sent.iter();
        let sent: Vec<String> = sent
            .map(|(to, count)| format!("{} to {to}", figures::count(*count)))
            .collect();
        table.row(row);
        let fired = match rule.last_fired.as_deref() {
            None => "never fired".to_owned(),
            Some(time) => format!("last fired {}", local(time)),
        };
        table.below(&match sent.is_empty() {
            true => fired,
            false => format!("{fired}; sent {}", sent.join(", ")),
        });
    }
    table.write(output, color::output_in_color())
}

/// A time as people here read it.
fn local(rfc3339: &str) -> String {
    let time = rfc3339.parse::<jiff::Timestamp>();
    time.map_or_else(
        |_| rfc3339.to_owned(),
        |time| figures::time(time.as_millisecond()),
    )
}

fn write_undefined(output: &mut impl Write, rules: &[&RuleReport]) -> std::io::Result<()> {
    let mut table = Table::new(&["UNDEFINED", ">TIMES", "AT RULE"]);
    let mut is_empty = true;
    for rule in rules {
        let mut names: Vec<_> = rule.undefined.iter().collect();
        names.sort_by_key(|(_, count)| Reverse(**count));
        for (name, count) in names {
            is_empty = false;
            table.row([printable(name), figures::count(*count), rule.rule.clone()]);
        }
    }
    section(output, is_empty, &table)
}

fn write_unread(output: &mut impl Write, report: &RulesReport) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "PAYLOADS WITHOUT FIELDS FROM",
        "CONTENT TYPE",
        ">NOT JSON",
        ">OTHER TYPE OR TEXT",
    ]);
    let mut unread: Vec<_> = report.unread.iter().collect();
    unread.sort_by_key(|of| Reverse(of.not_json + of.other));
    for of in &unread {
        let kind = of.content_type.as_deref().map_or("none".into(), printable);
        table.row([
            printable(&of.source),
            kind,
            figures::count(of.not_json),
            figures::count(of.other),
        ]);
    }
    section(output, unread.is_empty(), &table)
}

fn write_broken(output: &mut impl Write, report: &RulesReport) -> std::io::Result<()> {
    let mut table = Table::new(&["BROKEN DECLARATION", "FIELD", ">EVENTS"]);
    let mut broken: Vec<_> = report.broken.iter().collect();
    broken.sort_by_key(|of| Reverse(of.events));
    for of in &broken {
        table.row([
            of.event.clone(),
            printable(&of.field),
            figures::count(of.events),
        ]);
    }
    section(output, broken.is_empty(), &table)
}

fn section(output: &mut impl Write, is_empty: bool, table: &Table) -> std::io::Result<()> {
    if is_empty {
        return Ok(());
    }
    writeln!(output)?;
    table.write(output, color::output_in_color())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::rules::report::{BrokenDeclaration, UnreadPayloads};

    fn rule(name: &str, seen: u64, passed: u64) -> RuleReport {
        let sent = (passed > 0).then(|| ("cloud".to_owned(), passed));
        RuleReport {
            rule: name.into(),
            seen,
            passed,
            stopped: seen - passed,
            sent: sent.into_iter().collect(),
            ..RuleReport::default()
        }
    }

    fn shown(report: &RulesReport) -> String {
        let mut output = Vec::new();
        write(&mut output, report).expect("a vector takes everything");
        String::from_utf8(output).expect("text")
    }

    #[test]
    fn rules_that_somebody_will_ask_about_come_first() {
        let mut hindered = rule("hindered", 12, 0);
        hindered.undefined = [("celsius".to_owned(), 9)].into();
        hindered.stopped = 3;
        let mut uneven = rule("uneven", 2_000, 7);
        uneven.errors = 1;
        uneven.stopped = 1_992;
        let report = RulesReport {
            rules: vec![
                rule("well", 5, 5),
                uneven,
                rule("unseen", 0, 0),
                rule("silent", 40, 0),
                hindered,
            ],
            unmatched: 2,
            dropped_unmatched: 1,
            unread: vec![UnreadPayloads {
                source: "plant-a/\x1b[2Jfloor".into(),
                other: 4,
                ..UnreadPayloads::default()
            }],
            broken: vec![BrokenDeclaration {
                event: "temp".into(),
                field: "unit".into(),
                events: 3,
            }],
        };
        let expected = "\
RULE         IN  FALSE  UNDEFINED  ERRORS  PASSED
hindered     12      3          9       0       0
  never fired
silent       40     40          0       0       0
  never fired
unseen        0      0          0       0       0
  never fired
uneven    2,000  1,992          0       1       7
  never fired; sent 7 to cloud
well          5      0          0       0       5
  never fired; sent 5 to cloud

UNDEFINED  TIMES  AT RULE
celsius        9  hindered

PAYLOADS WITHOUT FIELDS FROM  CONTENT TYPE  NOT JSON  OTHER TYPE OR TEXT
plant-a/\u{fffd}[2Jfloor             none                 0                   4

BROKEN DECLARATION  FIELD  EVENTS
temp                unit        3

2 events matched the topic of no rule; 1 of them went nowhere
";
        assert_eq!(shown(&report), expected);
        let none = RulesReport::default();
        assert_eq!(
            shown(&none),
            "no rules: every event goes to every upstream\n"
        );
    }
}
