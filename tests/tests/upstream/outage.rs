//! A long outage of the upstream: 200,000 events accepted meanwhile arrive when it is back, in
//! order per publisher, while an alarm, and with `live_first` new events, overtake. Memory stays
//! below 64 MB throughout, and the disk space comes back.

use std::time::{Duration, Instant};

use tidegate_tests::books;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::publisher::Ledger;
use tidegate_tests::mqtt::subscriber::{Arrival, Subscriber};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::wait;

const BACKLOG: u64 = 200_000;
const PUBLISHERS: u32 = 5;
/// Publishes the alarm, which a rule sends with high priority.
const ALARM: u32 = 99;
/// Publishes while the backlog drains, with the backlog's own priority.
const LIVE: u32 = 98;
const RESIDENT_BYTES_MAX: u64 = 64_000_000;
/// What may stay on the disk: the generation being written.
const LEFT_BYTES_MAX: u64 = 12 << 20;

/// A gateway whose upstream is down, and that upstream.
struct Outage {
    gateway: Gateway,
    broker: Mosquitto,
    empty_bytes: u64,
}

impl Outage {
    fn begin(test: &str, lane: &str) -> Option<Outage> {
        let broker = Mosquitto::new(test)?;
        let mut gateway = Gateway::new(&format!(
            "[store]\nkeep_for = \"0s\"\n\n\
             [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n\
             format = \"structured\"\n{lane}",
            broker.address
        ));
        gateway.write(
            "rules/alarms.rules",
            "rule alarm {\n  on \"p/99/t\"\n  send to cloud priority high\n}\n\n\
             unmatched {\n  send to cloud\n}\n",
        );
        gateway.start();
        let empty_bytes = gateway.disk_bytes();
        Some(Outage {
            gateway,
            broker,
            empty_bytes,
        })
    }

    fn accept(&self, numbers: std::ops::Range<u32>, count: u64, window: usize) -> Ledger {
        let share = Share {
            count,
            per_second: 1e9,
            window,
        };
        let (ledger, left) = Load::start(self.gateway.address, numbers, share).end();
        assert_eq!(left, 0, "not acknowledged\n{}", self.gateway.log());
        ledger
    }

    /// Accepts the backlog.
    fn fill(&self) -> Ledger {
        let began = Instant::now();
        let ledger = self.accept(0..PUBLISHERS, BACKLOG / u64::from(PUBLISHERS), 200);
        println!(
            "{} events accepted in {:?}, at most {} KiB resident, {} bytes on disk",
            ledger.acknowledged.len(),
            began.elapsed(),
            self.gateway.resident_bytes_max() / 1024,
            self.gateway.disk_bytes() - self.empty_bytes
        );
        ledger
    }

    /// Everything that arrives; then what it cost.
    fn drain(&self, subscriber: &Subscriber, events: usize) -> Vec<Arrival> {
        let began = Instant::now();
        let quiet = Duration::from_secs(1);
        let arrived = subscriber.settle(events, quiet);
        let resident = self.gateway.resident_bytes_max();
        println!(
            "{} events drained in {:?}, at most {} KiB resident",
            arrived.len(),
            began.elapsed() - quiet,
            resident / 1024
        );
        assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes resident");
        arrived
    }

    fn assert_disk_space_comes_back(&self) {
        let left = wait::find("the disk space comes back", || {
            match self.gateway.disk_bytes().saturating_sub(self.empty_bytes) {
                left if left <= LEFT_BYTES_MAX => Ok(left),
                left => Err(format!("{left} bytes stay\n{}", self.gateway.log())),
            }
        });
        println!("{left} bytes left on disk");
    }
}

/// Nothing missing, nothing invented; what came out of order.
fn assert_complete(ledger: &Ledger, arrived: &[Arrival]) -> Vec<books::Id> {
    let ids: Vec<_> = arrived.iter().map(|arrival| arrival.id).collect();
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &ids);
    assert_eq!(findings.missing.len(), 0, "{:?}", findings.missing.first());
    assert_eq!(findings.invented, 0);
    println!("{} duplicates", findings.duplicates);
    findings.out_of_order
}

fn is_of(arrival: &Arrival, number: u32) -> bool {
    arrival.id.is_some_and(|(publisher, _)| publisher == number)
}

#[test]
fn a_backlog_drains_in_order_and_an_alarm_overtakes_it() {
    let test = "a_backlog_drains_in_order_and_an_alarm_overtakes_it";
    let Some(mut outage) = Outage::begin(test, "") else {
        return;
    };
    let mut ledger = outage.fill();
    let alarm = outage.accept(ALARM..ALARM + 1, 1, 1);
    ledger.sent.extend(alarm.sent);
    ledger.acknowledged.extend(alarm.acknowledged);
    let subscriber = Subscriber::ahead_of(&outage.gateway, &mut outage.broker);
    let arrived = outage.drain(&subscriber, ledger.acknowledged.len());
    assert_eq!(assert_complete(&ledger, &arrived), [], "out of order");
    let place = arrived.iter().position(|arrival| is_of(arrival, ALARM));
    assert!(place < Some(256), "the alarm came as number {place:?}");
    assert!(arrived.iter().all(|arrival| !arrival.historical));
    outage.assert_disk_space_comes_back();
}

#[test]
fn with_live_first_new_events_overtake_a_backlog_that_is_marked_as_such() {
    let test = "with_live_first_new_events_overtake_a_backlog_that_is_marked_as_such";
    let lane = "backfill = \"live_first\"\nmax_rate = 20000\n";
    let Some(mut outage) = Outage::begin(test, lane) else {
        return;
    };
    let mut ledger = outage.fill();
    let subscriber = Subscriber::ahead_of(&outage.gateway, &mut outage.broker);
    wait::for_count("something arrives", 1, || subscriber.count());
    let live = outage.accept(LIVE..LIVE + 1, 500, 50);
    ledger.sent.extend(live.sent);
    ledger.acknowledged.extend(live.acknowledged);
    let arrived = outage.drain(&subscriber, ledger.acknowledged.len());
    assert_complete(&ledger, &arrived);
    let last_live = arrived
        .iter()
        .rposition(|arrival| is_of(arrival, LIVE))
        .expect("live events");
    let behind = arrived[last_live..].len();
    println!("{behind} events of the backlog came after the last live one");
    assert!(behind > arrived.len() / 4, "only {behind} were overtaken");
    let marked = |arrival: &&Arrival| arrival.historical == is_of(arrival, LIVE);
    assert_eq!(arrived.iter().find(marked), None, "marked wrongly");
    outage.assert_disk_space_comes_back();
}
