//! Large sets: no mistake is lost among many warnings, compiling can be given up, and a handover
//! leaves little to do when the state is there.

use std::cell::Cell;

use tidegate_rules::decision::Decision;
use tidegate_rules::{Destinations, RuleFile, State, compile, compile_while};

mod support;
use support::event;

fn destinations() -> Destinations {
    Destinations::new(["dead_letter", "cloud", "archive"])
}

fn file(text: String) -> RuleFile {
    RuleFile {
        path: "rules/large.rules".to_owned(),
        text,
    }
}

/// `count` rules, each with a warning, but for the one at `wrong`, which says `clause`.
fn warned(count: usize, wrong: usize, clause: &str) -> RuleFile {
    let rule = |at: usize| {
        let condition = if at == wrong { clause } else { "when v > 1" };
        format!("rule r{at} {{ on \"site{at}/t\" {condition} send to cloud }}\n")
    };
    file((0..count).map(rule).collect())
}

#[test]
fn an_error_is_told_however_many_warnings_stand_around_it() {
    let mistakes = [
        "when starts_with(3, \"x\")",
        "when v > 1 and \"text\"",
        "set topic = 1 + \"x\"",
        "send to clod",
        "when nosuch(v)",
        "send to cloud priority urgent",
    ];
    for clause in mistakes {
        for wrong in [0, 499, 500, 501, 600, 899] {
            let set = warned(900, wrong, clause);
            let found = compile(&[set], &destinations()).expect_err("it is wrong");
            let mut errors = found.iter().filter(|found| found.is_error());
            let line = errors.next().map(|error| error.line);
            assert_eq!(line, Some(wrong + 1), "{clause} in rule {wrong}");
        }
    }
}

#[test]
fn complaints_are_bounded_in_number() {
    for wrong in ["when v > 1", "when starts_with(3, \"x\")", "send to clod"] {
        let text =
            (0..3_000).map(|at| format!("rule r{at} {{ on \"t{at}\" {wrong} send to cloud }}\n"));
        let set = file(text.collect());
        let found = match compile(&[set], &destinations()) {
            Ok(checked) => checked.warnings,
            Err(found) => found,
        };
        assert!(
            (500..=1_000).contains(&found.len()),
            "{wrong}: {}",
            found.len()
        );
    }
}

#[test]
fn compiling_ends_soon_after_it_is_given_up_and_gives_nothing_then() {
    let events = (0..300).map(|at| format!("event e{at} {{ topic \"e{at}\" v int }}\n"));
    let rules = (0..300).map(|at| format!("rule r{at} {{ on e{at} when v > 1 send to cloud }}\n"));
    let files = [file(events.collect()), file(rules.collect())];
    let asked = Cell::new(0);
    let counted = || {
        asked.set(asked.get() + 1);
        true
    };
    let whole = compile_while(&files, &destinations(), &counted);
    assert_eq!(
        whole.and_then(Result::ok).map(|set| set.rules.rule_count()),
        Some(300)
    );
    let whole = asked.get();
    assert!(whole > 900, "asked for each: {whole}");
    for given_up in 0..whole {
        asked.set(0);
        let goes_on = || {
            asked.set(asked.get() + 1);
            asked.get() <= given_up
        };
        assert!(
            compile_while(&files, &destinations(), &goes_on).is_none(),
            "{given_up}"
        );
        // What is left then asks a few times more.
        assert!(asked.get() < given_up + 10, "{given_up}: {}", asked.get());
    }
}

#[test]
fn a_handover_that_leads_from_other_rules_starts_anew() {
    let set = |text: &str| {
        let checked = compile(&[file(text.to_owned())], &destinations());
        checked.expect("right rules").rules
    };
    let old = set("rule r { on \"t\" when v > 1 send to cloud }");
    let other = set("# other\nrule r { on \"t\" when v > 1 send to cloud }");
    let new =
        set("rule r { on \"t\" when v > 1 send to cloud }\nrule s { on \"t\" send to archive }");
    let seen = |by: &tidegate_rules::RuleSet| {
        let mut state = State::new();
        by.step(
            &mut state,
            0,
            &event("t", "{\"v\":2}"),
            &mut Decision::default(),
        );
        state
    };
    let counted = |state: &State| {
        let counts = new.counters(state).rules;
        counts
            .iter()
            .map(|rule| rule.counts.seen)
            .collect::<Vec<_>>()
    };
    let handover = new.handover(&old);
    assert!(handover.is_from(old.fingerprint()) && !handover.is_from(other.fingerprint()));
    assert_eq!(counted(&handover.apply(seen(&old)).0), [1, 0]);
    assert_eq!(counted(&new.handover(&old).apply(seen(&other)).0), [0; 0]);
}
