//! Killed at any moment, again and again, under load from MQTT and a serial line: nothing that
//! was acknowledged is lost, and from the serial line nothing is stored twice.
//!
//! The long form (a quarter of an hour): `TIDEGATE_KILLS=5000 cargo test -p tidegate-tests --test
//! kills nothing -- --nocapture`. `TIDEGATE_SEED` repeats the moments of a run.

use std::str::FromStr;
use std::time::{Duration, Instant};

use tidegate_tests::books::Findings;
use tidegate_tests::crash::kill_schedule::{KillSchedule, Outcome};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::binary;

const KILLS: u32 = 30;

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(kills: u32, breach: Option<&'static str>) -> Outcome {
    let seed = from_environment("TIDEGATE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("TIDEGATE_SEED={seed}");
    let schedule = KillSchedule {
        kills,
        seed,
        breach: breach.map(|breach| (binary::breaching(), breach)),
    };
    // Built before the load begins.
    binary::tidegate();
    let began = Instant::now();
    let outcome = schedule.run();
    println!(
        "{kills} kills in {} s, {:?}: {} events and {} readings acknowledged, {} stored, {} delivered",
        began.elapsed().as_secs(),
        outcome.hits,
        outcome.ledger.acknowledged.len(),
        outcome.readings.len(),
        outcome.audit.stored.len(),
        outcome.audit.delivered.len()
    );
    outcome
}

/// Nothing is missing, invented, altered or out of order.
fn check(what: &str, findings: &Findings) {
    println!(
        "{what}: {} missing, {} invented, {} out of order, {} twice",
        findings.missing.len(),
        findings.invented,
        findings.out_of_order.len(),
        findings.duplicates
    );
    let expected = Findings {
        duplicates: findings.duplicates,
        ..Findings::default()
    };
    assert!(*findings == expected, "{what}: {findings:?}");
}

#[test]
fn nothing_acknowledged_is_lost_and_no_reading_is_stored_twice() {
    let outcome = run(from_environment("TIDEGATE_KILLS").unwrap_or(KILLS), None);
    let audit = &outcome.audit;
    check("MQTT, stored", &outcome.mqtt(&audit.stored));
    check("MQTT, delivered", &outcome.mqtt(&audit.delivered));
    let serial = outcome.serial(&audit.stored);
    check("serial, stored", &serial);
    check("serial, delivered", &outcome.serial(&audit.delivered));
    assert_eq!(serial.duplicates, 0, "readings stored twice");
}

#[test]
fn a_gateway_killed_at_its_very_first_start_starts() {
    let moments = (0..20).map(|n| Duration::from_millis(2 * n));
    for moment in moments {
        let mut gateway = Gateway::new("[upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n");
        binary::tidegate();
        gateway.launch();
        std::thread::sleep(moment);
        gateway.kill();
        gateway.start();
        let ended = gateway.terminate();
        assert!(
            ended.success(),
            "after {moment:?}: {ended:?}\n{}",
            gateway.log()
        );
    }
}

#[test]
fn the_books_find_events_and_readings_that_were_acknowledged_before_their_commit() {
    let outcome = run(KILLS, Some("ack-before-commit"));
    let audit = &outcome.audit;
    let mqtt = outcome.mqtt(&audit.stored).missing.len();
    let serial = outcome.serial(&audit.stored).missing.len();
    println!("lost: {mqtt} events, {serial} readings");
    assert!(mqtt > 0 && serial > 0, "the books found no loss");
    assert!(!outcome.mqtt(&audit.delivered).missing.is_empty());
}

#[test]
fn the_books_find_readings_stored_twice_where_their_marks_are_missing() {
    let outcome = run(KILLS, Some("no-device-marks"));
    let serial = outcome.serial(&outcome.audit.stored);
    println!("{} readings stored twice", serial.duplicates);
    assert!(serial.duplicates > 0, "the books found no double");
}
