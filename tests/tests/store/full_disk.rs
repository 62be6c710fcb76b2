//! The disk is full: acknowledgements stop, forwarding goes on, and when there is room again the
//! acknowledgements go on without a restart. Nothing that was acknowledged is lost.

use std::time::{Duration, Instant};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::subscriber::Subscriber;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::{books, wait};

const TEST: &str = "on_a_full_disk_acks_stop_forwarding_goes_on_and_it_recovers_by_itself";
const EVENTS: u64 = 2_000;
/// Nothing is acknowledged for so long: it stands still.
const QUIET: Duration = Duration::from_secs(2);

/// How much is acknowledged once nothing more is for a while.
fn standstill(load: &Load) -> usize {
    let mut before = (load.ledger().acknowledged.len(), Instant::now());
    wait::find("acknowledgements stop on a full disk", || {
        let count = load.ledger().acknowledged.len();
        if count != before.0 {
            before = (count, Instant::now());
        }
        match before.1.elapsed() > QUIET {
            true => Ok(count),
            false => Err(format!("{count} acknowledged")),
        }
    })
}

#[test]
fn on_a_full_disk_acks_stop_forwarding_goes_on_and_it_recovers_by_itself() {
    let Some(mut broker) = Mosquitto::new(TEST) else {
        return;
    };
    let mut gateway = Gateway::new(&format!(
        "[store]\nfree_min = \"4MiB\"\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n",
        broker.address
    ));
    let Some(mut disk) = SmallDisk::mount(gateway.path("data"), Kind::Tmpfs, 96, TEST) else {
        return;
    };
    gateway.start();
    let share = Share {
        count: EVENTS / 2,
        per_second: 250.0,
        window: 20,
    };
    let load = Load::start(gateway.address, 0..2, share);
    wait::for_count("mid-load", EVENTS as usize / 8, || {
        load.ledger().acknowledged.len()
    });
    disk.fill();
    let accepted = standstill(&load);
    assert!(0 < accepted && accepted < EVENTS as usize, "{accepted}");
    let health = gateway.ask(&["status"]);
    let said = String::from_utf8_lossy(&health.stdout).into_owned();
    println!("{accepted} accepted before the disk was full; status:\n{said}");

    let subscriber = Subscriber::ahead_of(&gateway, &mut broker);
    let quiet = Duration::from_millis(500);
    let forwarded = subscriber.settle(accepted, quiet);
    assert!(
        forwarded.len() >= accepted,
        "{}\n{}",
        forwarded.len(),
        gateway.log()
    );
    assert_eq!(standstill(&load), accepted, "acknowledged on a full disk");

    let process = gateway.pid();
    disk.give_back();
    let (ledger, left) = load.end();
    assert_eq!(left, 0, "it does not recover\n{}", gateway.log());
    assert_eq!(gateway.pid(), process);
    let arrived = subscriber.settle(EVENTS as usize, quiet);
    let ids: Vec<_> = arrived.into_iter().map(|arrival| arrival.id).collect();
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &ids);
    assert_eq!((findings.missing, findings.invented), (Vec::new(), 0));
    assert_eq!(findings.out_of_order, []);
}
