//! The upstream broker is restarted with its state wiped, in mid-stream, several times: its
//! sessions and everything in them are gone, and nothing that was acknowledged is lost.

use std::time::Duration;

use tidegate_tests::books;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::subscriber::{Arrival, Subscriber};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::wait;

const TEST: &str = "a_broker_that_forgets_everything_in_mid_stream_costs_no_event";
const PUBLISHERS: u32 = 4;
const EVENTS: u64 = 12_000;

/// Wipes the broker. The gateway stands still while it has no subscriber: a broker without one
/// acknowledges and drops, and the loss would be its own.
fn wipe(broker: &mut Mosquitto, gateway: &Gateway, subscriber: Subscriber) -> Vec<Arrival> {
    broker.kill();
    gateway.signal("STOP");
    subscriber.settle(0, Duration::from_secs(1))
}

#[test]
fn a_broker_that_forgets_everything_in_mid_stream_costs_no_event() {
    let Some(mut broker) = Mosquitto::new(TEST) else {
        return;
    };
    broker.start();
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n",
        broker.address
    ));
    let mut subscriber = Subscriber::start(broker.address);
    gateway.start();
    let share = Share {
        count: EVENTS / u64::from(PUBLISHERS),
        per_second: 750.0,
        window: 100,
    };
    let load = Load::start(gateway.address, 0..PUBLISHERS, share);
    let mut arrived = Vec::new();
    for _ in 0..3 {
        wait::for_count("something is under way", 1, || subscriber.count());
        std::thread::sleep(Duration::from_secs_f64(0.5 + fastrand::f64()));
        arrived.extend(wipe(&mut broker, &gateway, subscriber));
        broker.start();
        subscriber = Subscriber::start(broker.address);
        gateway.signal("CONT");
    }
    let (ledger, left) = load.end();
    assert_eq!(left, 0, "events left unacknowledged\n{}", gateway.log());
    let more = EVENTS as usize - arrived.len().min(EVENTS as usize);
    arrived.extend(subscriber.settle(more, Duration::from_secs(2)));
    let ids: Vec<_> = arrived.into_iter().map(|arrival| arrival.id).collect();
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &ids);
    println!("{EVENTS} acknowledged, {} duplicates", findings.duplicates);
    assert_eq!(findings.missing, [], "{}", gateway.log());
    assert_eq!(findings.invented, 0);
    assert_eq!(findings.out_of_order, []);
    assert!(findings.duplicates <= 3 * 256, "more than three windows");
}
