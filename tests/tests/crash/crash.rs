//! Whatever was acknowledged survives SIGKILL, arrives, and arrives in order.
//!
//! The long form (200 kills at random moments of the load, about two minutes):
//! `TIDEGATE_LONG=1 cargo test -p tidegate-tests --test crash -- --nocapture`.

use tidegate_tests::books;
use tidegate_tests::crash::CrashPlan;

fn check(plan: &CrashPlan, test: &str) {
    let Some((ledger, arrived)) = plan.run(test) else {
        return;
    };
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &arrived);
    println!(
        "{} kills, {} acknowledged, {} arrived, {} duplicates",
        plan.kills,
        ledger.acknowledged.len(),
        arrived.len(),
        findings.duplicates
    );
    assert_eq!(ledger.acknowledged.len() as u64, plan.events);
    assert!(
        findings.missing.is_empty(),
        "{} missing: {:?}",
        findings.missing.len(),
        findings.missing.first()
    );
    assert_eq!(findings.invented, 0, "arrivals that nobody sent");
    assert!(
        findings.out_of_order.is_empty(),
        "out of order: {:?}",
        findings.out_of_order.first()
    );
}

#[test]
fn every_acknowledged_event_survives_kills_and_arrives_in_order() {
    let long = std::env::var("TIDEGATE_LONG").as_deref() == Ok("1");
    let plan = CrashPlan {
        events: 20_000,
        per_second: if long { 500.0 } else { 5_000.0 },
        kills: if long { 200 } else { 3 },
        breach: None,
    };
    check(
        &plan,
        "every_acknowledged_event_survives_kills_and_arrives_in_order",
    );
}
