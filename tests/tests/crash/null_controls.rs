//! The tests that guard the promises can fail: run against a build that breaks them on purpose,
//! the crash books find the loss, and the system-call trace finds the early acknowledgement.

use tidegate_tests::books;
use tidegate_tests::crash::CrashPlan;
use tidegate_tests::gateway::binary;
use tidegate_tests::trace::acks::Acks;

const BREACH: &str = "ack-before-commit";

#[test]
fn the_crash_books_find_what_was_acknowledged_before_its_commit() {
    let test = "the_crash_books_find_what_was_acknowledged_before_its_commit";
    let plan = CrashPlan {
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

#[test]
fn the_demo_says_that_events_are_lost_and_fails() {
    // Its one kill may come when nothing is under way.
    let lossy = (0..5).map(|_| demo()).find(|(books, _)| books["lost"] != 0);
    let (books, code) = lossy.expect("five kills, and nothing was lost");
    assert_eq!(code, Some(1), "{books}");
}

fn demo() -> (serde_json::Value, Option<i32>) {
    let output = std::process::Command::new(binary::breaching())
        .args(["demo", "--for", "8s", "--format", "json"])
        .env("TIDEGATE_NULL_CONTROL", BREACH)
        .output()
        .expect("the demo runs");
    let books: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the books are JSON");
    println!("{books}");
    (books, output.status.code())
}
