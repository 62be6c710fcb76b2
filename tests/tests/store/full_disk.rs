//! The disk is full: acknowledgements stop, forwarding goes on, and when there is room again the
//! acknowledgements go on without a restart. Nothing that was acknowledged is lost.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::subscriber::Subscriber;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{books, peer, wait};

const TEST: &str = "on_a_full_disk_acks_stop_forwarding_goes_on_and_it_recovers_by_itself";
const EVENTS: u64 = 2_000;
/// Nothing is acknowledged for so long: it stands still.
const QUIET: Duration = Duration::from_secs(2);

/// A small file system of its own over the data directory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(over: PathBuf) -> Option<SmallDisk> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
            .arg(&over)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(over));
        }
        peer::skip(TEST, "no small disk can be mounted (it takes root)");
        None
    }

    /// Takes all the room there is.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("hog");
        let mut file = File::create(&path).expect("a file");
        while file.write_all(&[0; 65536]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

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
    let Some(disk) = SmallDisk::mount(gateway.path("data")) else {
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
    let hog = disk.fill();
    let accepted = standstill(&load);
    assert!(0 < accepted && accepted < EVENTS as usize, "{accepted}");
    let health = gateway.ask(&["status"]);
    let said = String::from_utf8_lossy(&health.stdout).into_owned();
    println!("{accepted} accepted before the disk was full; status:\n{said}");

    broker.start();
    let subscriber = Subscriber::start(broker.address);
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
    std::fs::remove_file(hog).expect("it is ours");
    let (ledger, left) = load.end();
    assert_eq!(left, 0, "it does not recover\n{}", gateway.log());
    assert_eq!(gateway.pid(), process);
    let arrived = subscriber.settle(EVENTS as usize, quiet);
    let ids: Vec<_> = arrived.into_iter().map(|arrival| arrival.id).collect();
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &ids);
    assert_eq!((findings.missing, findings.invented), (Vec::new(), 0));
    assert_eq!(findings.out_of_order, []);
}
