//! Whatever was acknowledged survives SIGKILL, arrives, and arrives in order.
//!
//! The long form (200 kills): `TIDEGATE_LONG=1 cargo test -p tidegate-tests --test crash`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_tests::books::{self, Id};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mosquitto::Mosquitto;
use tidegate_tests::publisher::{Ledger, Publisher};
use tidegate_tests::subscriber::Subscriber;

const PUBLISHERS: u32 = 5;

struct Run {
    events: u64,
    per_second: f64,
    kills: u32,
}

/// Kills the gateway in mid-load while its upstream is down, then brings the upstream up.
fn run(plan: &Run, test: &str) -> Option<(Ledger, Vec<Option<Id>>)> {
    let mut broker = Mosquitto::new(test)?;
    let upstream = format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n",
        broker.address
    );
    let mut gateway = Gateway::new(&upstream);
    gateway.start();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let deadline = Instant::now() + Duration::from_secs(300);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let publisher = Publisher {
                gateway: gateway.address,
                number,
                count: plan.events / u64::from(PUBLISHERS),
                per_second: plan.per_second / f64::from(PUBLISHERS),
                window: 100,
                ledger: Arc::clone(&ledger),
            };
            std::thread::spawn(move || publisher.run(deadline))
        })
        .collect();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let load = plan.events as f64 / plan.per_second;
    for _ in 0..plan.kills {
        let pause = random.f64() * 2.0 * load / f64::from(plan.kills + 1);
        std::thread::sleep(Duration::from_secs_f64(pause));
        gateway.kill();
        gateway.start();
    }
    for publisher in publishers {
        assert_eq!(
            publisher.join().expect("a publisher"),
            0,
            "events left unacknowledged\n{}",
            gateway.log()
        );
    }
    gateway.kill();
    broker.start();
    let subscriber = Subscriber::start(broker.address);
    gateway.start();
    let ledger = std::mem::take(&mut *ledger.lock().expect("nobody holds it"));
    let arrived = subscriber.settle(
        ledger.acknowledged.len(),
        Duration::from_secs(2),
        Duration::from_secs(60),
    );
    Some((ledger, arrived.into_iter().map(|(_, id)| id).collect()))
}

fn check(plan: &Run, test: &str) {
    let Some((ledger, arrived)) = run(plan, test) else {
        return;
    };
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &arrived);
    println!(
        "{} acknowledged, {} arrived, {} duplicates",
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
    let plan = Run {
        events: 20_000,
        per_second: if long { 500.0 } else { 5_000.0 },
        kills: if long { 200 } else { 3 },
    };
    check(
        &plan,
        "every_acknowledged_event_survives_kills_and_arrives_in_order",
    );
}
