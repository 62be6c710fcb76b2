//! The store is full and told to shed: low events give way and are accounted for, urgent ones all arrive, and the books
//! balance.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_tests::books::Id;
use tidegate_tests::gateway::{End, Gateway};
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::publisher::Ledger;
use tidegate_tests::mqtt::subscriber::{Arrival, Subscriber};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::wait;

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

/// A gateway that sheds, with these keys of its store.
fn shedding(store: &str, broker: &Mosquitto) -> Gateway {
    let gateway = Gateway::new(&format!(
        "[store]\nwhen_full = \"shed\"\n{store}\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n\
         topic = \"up/{{topic}}\"\n",
        broker.address
    ));
    gateway.write(
        "rules/alarms.rules",
        "rule alarm {\n  on \"p/99/t\"\n  send to cloud priority critical\n}\n\n\
         unmatched {\n  send to cloud priority low\n}\n",
    );
    gateway
}

#[test]
fn urgent_events_all_arrive_while_low_ones_are_shed_and_accounted_for() {
    let Some(mut broker) = Mosquitto::new(TEST) else {
        return;
    };
    let mut gateway = shedding("max_size = \"3MiB\"\nkeep_for = \"0s\"", &broker);
    gateway.start();
    let mut alarms = BTreeSet::new();
    alarms.extend(publish(&gateway, ALARM..ALARM + 1, 500).acknowledged);
    let mut low = publish(&gateway, 0..5, 30_000).acknowledged.len() as u64;
    gateway.kill();
    gateway.start();
    // It is full still: once it takes another one it has given up what it must, and nothing of that is under way.
    low += publish(&gateway, 5..6, 1).acknowledged.len() as u64;
    let told = accounted_for(&gateway, &mut broker, &alarms, low);
    assert_eq!(gateway.said("given up undelivered"), told);
}

/// The upstream is back: all alarms arrive, each low event does or is in a gap record, and the books balance. Gives how many
/// gap records came.
fn accounted_for(
    gateway: &Gateway,
    broker: &mut Mosquitto,
    alarms: &BTreeSet<Id>,
    low: u64,
) -> usize {
    let subscriber = Subscriber::ahead_of(gateway, broker);
    let quiet = Duration::from_secs(2);
    let arrived = subscriber.settle(alarms.len(), quiet);
    let ids: BTreeSet<Id> = arrived.iter().filter_map(|a| a.id).collect();
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
    told.len()
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

#[test]
fn a_gateway_that_sheds_starts_full_and_accepts_however_it_ended() {
    use End::{Killed, Terminated};
    let (small, little) = (
        "max_size = \"2MiB\"",
        "free_min = \"8MiB\"\ngeneration_size = \"64KiB\"",
    );
    let ext4 = Kind::Ext4 { inodes: 400 };
    let cases = [
        (small, None, [Killed; 3]),
        (
            "max_size = \"2MiB\"\nkeep_for = \"0s\"",
            None,
            [Terminated; 3],
        ),
        (small, None, [Terminated, Killed, Killed]),
        (little, Some(Kind::Tmpfs), [Killed; 3]),
        (little, Some(ext4), [Terminated, Killed, Terminated]),
    ];
    for (store, disk, ends) in cases {
        println!("{store}, {disk:?}, {ends:?}");
        starts_full(store, disk, ends);
    }
}

/// The disk has less than `free_min`, which only shedding gives back.
fn fill(disk: &mut Option<SmallDisk>) {
    if let Some(disk) = disk {
        disk.fill_but(15 << 19);
    }
}

fn starts_full(store: &str, kind: Option<Kind>, ends: [End; 3]) {
    let test = "a_gateway_that_sheds_starts_full_and_accepts_however_it_ended";
    let Some(mut broker) = Mosquitto::new(test) else {
        return;
    };
    let mut gateway = shedding(store, &broker);
    let mut disk = None;
    if let Some(kind) = kind {
        disk = SmallDisk::mount(gateway.path("data"), kind, 110, test);
        if disk.is_none() {
            return;
        }
    }
    gateway.start();
    let mut alarms = BTreeSet::new();
    alarms.extend(publish(&gateway, ALARM..ALARM + 1, 100).acknowledged);
    let mut low = publish(&gateway, 0..1, 5_000).acknowledged.len() as u64;
    for (end, number) in ends.into_iter().zip(1..) {
        // Full to the last byte it is only where it refused before.
        assert!(gateway.terminate().success(), "{}", gateway.log());
        instead(&gateway, "\"shed\"", "\"refuse\"");
        gateway.start();
        let share = Share {
            count: 100_000,
            per_second: 1e9,
            window: 100,
        };
        let load = Load::start(gateway.address, number..number + 1, share);
        if let Some(disk) = &mut disk {
            disk.give_back();
            // Enough that is low to make up for what the disk lacks: alarms are the last to go, but they do.
            wait::for_count("low events", 10_000, || load.ledger().acknowledged.len());
        }
        fill(&mut disk);
        load.stands_still(&gateway);
        gateway.end(end);
        fill(&mut disk);
        instead(&gateway, "\"refuse\"", "\"shed\"");
        gateway.start();
        let more = load.ledger().acknowledged.len() + 500;
        wait::find("it accepts", || {
            let count = load.ledger().acknowledged.len();
            let seen = || format!("{count} of {more}\n{}", gateway.log());
            (count >= more).then_some(()).ok_or_else(seen)
        });
        load.enough();
        let (ledger, left) = load.end();
        assert_eq!(left, 0, "not acknowledged\n{}", gateway.log());
        low += ledger.acknowledged.len() as u64;
        let shed = gateway.status()["books"]["shed"].as_u64();
        assert!(shed > Some(0), "it was not full\n{}", gateway.log());
    }
    accounted_for(&gateway, &mut broker, &alarms, low);
}

/// Puts another word into the configuration.
fn instead(gateway: &Gateway, before: &str, after: &str) {
    let path = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, text.replace(before, after)).expect("written");
}
