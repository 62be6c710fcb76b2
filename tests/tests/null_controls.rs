//! The tests that guard the promises can fail: run against a build that breaks them on purpose,
//! the crash books find the loss, and the system-call trace finds the early acknowledgement.

use tidegate_tests::acks::Acks;
use tidegate_tests::kills::Kills;
use tidegate_tests::{binary, books};

const BREACH: &str = "ack-before-commit";

#[test]
fn the_crash_books_find_what_was_acknowledged_before_its_commit() {
    let test = "the_crash_books_find_what_was_acknowledged_before_its_commit";
    let plan = Kills {
        events: 5_000,
        per_second: 2_500.0,
        kills: 3,
        breach: Some((binary::breaching(), BREACH)),
    };
    let Some((ledger, arrived)) = plan.run(test) else {
        return;
    };
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &arrived);
    println!("{} acknowledged and lost", findings.missing.len());
    assert!(!findings.missing.is_empty(), "the books found no loss");
}

#[test]
fn the_trace_finds_acks_that_leave_before_the_sync() {
    let test = "the_trace_finds_acks_that_leave_before_the_sync";
    let acks = Acks {
        events: 200,
        breach: Some((binary::breaching(), BREACH)),
    };
    let Some(report) = acks.trace(test) else {
        return;
    };
    println!(
        "{} of {} acks too early",
        report.breaches.len(),
        report.acks
    );
    assert_eq!(report.acks, 200);
    assert!(
        report.breaches.len() > 100,
        "the trace found {} early acks",
        report.breaches.len()
    );
}
