//! SIGTERM in the middle of the load: the gateway ends with 0 within `shutdown_max`, and whatever
//! it acknowledged arrives, some of it after the next start, next to nothing twice.

use std::time::{Duration, Instant};

use tidegate_tests::books;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::subscriber::Subscriber;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::wait;

const TEST: &str = "told_to_stop_it_finishes_what_it_began_and_the_next_start_goes_on";
const EVENTS: u64 = 12_000;
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

#[test]
fn told_to_stop_it_finishes_what_it_began_and_the_next_start_goes_on() {
    let Some(mut broker) = Mosquitto::new(TEST) else {
        return;
    };
    broker.start();
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nmax_rate = 1500\n",
        broker.address
    ));
    gateway.shutdown_max(SHUTDOWN_MAX);
    let subscriber = Subscriber::start(broker.address);
    gateway.start();
    let share = Share {
        count: EVENTS / 4,
        per_second: 1_000.0,
        window: 100,
    };
    let load = Load::start(gateway.address, 0..4, share);
    wait::find("a backlog in mid-load", || {
        let acknowledged = load.ledger().acknowledged.len();
        let arrived = subscriber.count();
        match acknowledged > EVENTS as usize / 3 && arrived + 500 < acknowledged {
            true => Ok(()),
            false => Err(format!("{acknowledged} acknowledged, {arrived} arrived")),
        }
    });
    let began = Instant::now();
    let ended = gateway.terminate();
    println!("it ended after {:?}", began.elapsed());
    assert_eq!(ended.code(), Some(0), "{}", gateway.log());
    // Sources get a while of their own before the forwarders do.
    assert!(began.elapsed() < SHUTDOWN_MAX + Duration::from_secs(5));
    let acknowledged = load.ledger().acknowledged.len();
    assert!(
        0 < acknowledged && acknowledged < EVENTS as usize,
        "not in mid-load"
    );
    assert!(
        subscriber.count() < acknowledged,
        "nothing was left to deliver"
    );

    gateway.start();
    let (ledger, left) = load.end();
    assert_eq!(left, 0, "events left unacknowledged\n{}", gateway.log());
    let arrived = subscriber.settle(EVENTS as usize, Duration::from_secs(1));
    let ids: Vec<_> = arrived.into_iter().map(|arrival| arrival.id).collect();
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &ids);
    println!("{} duplicates", findings.duplicates);
    assert_eq!((findings.missing, findings.invented), (Vec::new(), 0));
    // What was stored but not acknowledged in time is sent again by its publisher.
    let windows = 4 * share.window;
    assert!(findings.duplicates <= windows, "{}", findings.duplicates);
}
