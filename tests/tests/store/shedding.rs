//! The store is full and told to shed: low events give way and are accounted for, urgent ones all arrive, and the books
//! balance.

use std::time::Duration;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::publisher::Ledger;
use tidegate_tests::mqtt::subscriber::{Arrival, Subscriber};
use tidegate_tests::peer::mosquitto::Mosquitto;

/// Publishes what a rule calls critical.
const ALARM: u32 = 99;
const TEST: &str = "urgent_events_all_arrive_while_low_ones_are_shed_and_accounted_for";

fn publish(gateway: &Gateway, numbers: std::ops::Range<u32>, count: u64) -> Ledger {
    let share = Share {
        count,
        per_second: 1e9,
        window: 200,
    };
    let (ledger, left) = Load::start(gateway.address, numbers, share).end();
    assert_eq!(left, 0, "not acknowledged\n{}", gateway.log());
    ledger
}

#[test]
fn urgent_events_all_arrive_while_low_ones_are_shed_and_accounted_for() {
    let Some(mut broker) = Mosquitto::new(TEST) else {
        return;
    };
    let mut gateway = Gateway::new(&format!(
        "[store]\nmax_size = \"8MiB\"\nwhen_full = \"shed\"\nkeep_for = \"0s\"\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n\
         topic = \"up/{{topic}}\"\n",
        broker.address
    ));
    gateway.write(
        "rules/alarms.rules",
        "rule alarm {\n  on \"p/99/t\"\n  send to cloud priority critical\n}\n\n\
         unmatched {\n  send to cloud priority low\n}\n",
    );
    gateway.start();
    let mut alarms = std::collections::BTreeSet::new();
    alarms.extend(publish(&gateway, ALARM..ALARM + 1, 500).acknowledged);
    let low = publish(&gateway, 0..5, 30_000).acknowledged.len() as u64;
    gateway.kill();
    gateway.start();
    let subscriber = Subscriber::ahead_of(&gateway, &mut broker);
    let quiet = Duration::from_secs(2);
    let arrived = subscriber.settle(alarms.len(), quiet);
    let ids: std::collections::BTreeSet<_> = arrived.iter().filter_map(|a| a.id).collect();
    let missing = alarms.difference(&ids).count();
    let told: Vec<u64> = arrived.iter().filter_map(given_up).collect();
    let given_up: u64 = told.iter().sum();
    let low_arrived = (ids.len() - alarms.len()) as u64;
    println!(
        "{low} low events accepted, {low_arrived} arrived, {given_up} given up in {} gap records",
        told.len()
    );
    assert_eq!(missing, 0, "alarms are missing\n{}", gateway.log());
    assert!(!told.is_empty(), "nothing was shed\n{}", gateway.log());
    assert_eq!(low_arrived + given_up, low, "{}", gateway.log());
    let status = String::from_utf8_lossy(&gateway.ask(&["status"]).stdout).into_owned();
    assert!(status.contains("the books balance"), "{status}");
    let lines = gateway.log();
    let lines = lines
        .lines()
        .filter(|line| line.contains("given up undelivered"));
    assert_eq!(lines.count(), told.len());
}

/// How many events a gap record speaks of; none if it is something else.
fn given_up(arrival: &Arrival) -> Option<u64> {
    if arrival.topic != "up/$tidegate/store/gap" {
        return None;
    }
    let event: serde_json::Value = serde_json::from_slice(&arrival.foreign).expect("JSON");
    let gap = match event["specversion"].is_string() {
        true => &event["data"],
        false => &event,
    };
    assert_eq!(gap["reason"], "shed", "{gap}");
    assert!(
        gap["first_sequence"].as_u64() <= gap["last_sequence"].as_u64(),
        "{gap}"
    );
    Some(gap["events"].as_u64().expect("a count"))
}
