//! A gateway starts on a full store or a full disk, however it ended before and however often: it refuses what comes,
//! forwards what it holds, gives back room and accepts again. Nothing that was acknowledged is lost. `shedding` has the same
//! for one that sheds.

use std::time::Duration;

use tidegate_tests::gateway::{End, Gateway};
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::subscriber::Subscriber;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::{books, mqtt, wait};

/// Nothing arrives for so long: all of it did.
const QUIET: Duration = Duration::from_secs(1);
const EXT4: Kind = Kind::Ext4 { inodes: 400 };

/// What there is no room in.
#[derive(Debug, Clone, Copy)]
enum Full {
    /// `max_size` is reached; the disk has room.
    Store,
    /// The disk has less than `free_min`.
    BelowFreeMin(Kind),
    /// The disk has nothing, and what the gateway gives back for its own use is taken by others at once.
    ToTheBrim(Kind),
    /// The disk has room and no inodes.
    Inodes,
}

/// One way to be full, with the ends of the runs that follow each other in it.
struct Case {
    full: Full,
    store: &'static str,
    ends: [End; 3],
}

const KILLED: [End; 3] = [End::Killed; 3];
const TERMINATED: [End; 3] = [End::Terminated; 3];
const MIXED: [End; 3] = [End::Killed, End::Terminated, End::Killed];

fn run(test: &str, cases: &[Case]) {
    for case in cases {
        println!("{:?}, {:?}", case.full, case.ends);
        run_one(test, case);
    }
}

fn run_one(test: &str, case: &Case) {
    let Some(mut broker) = Mosquitto::new(test) else {
        return;
    };
    let mut gateway = Gateway::new(&format!(
        "[store]\n{}\n\n[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n",
        case.store, broker.address
    ));
    let kind = match case.full {
        Full::Store => None,
        Full::BelowFreeMin(kind) | Full::ToTheBrim(kind) => Some(kind),
        Full::Inodes => Some(EXT4),
    };
    let mut disk = None;
    if let Some(kind) = kind {
        disk = SmallDisk::mount(gateway.path("data"), kind, 110, test);
        if disk.is_none() {
            return;
        }
    }
    gateway.start();
    let share = Share {
        count: 40_000,
        per_second: 1e9,
        window: 100,
    };
    let load = Load::start(gateway.address, 0..2, share);
    wait::for_count("mid-load", 500, || load.ledger().acknowledged.len());
    fill(case.full, disk.as_mut());
    load.stands_still(&gateway);
    for end in case.ends {
        gateway.end(end);
        fill(case.full, disk.as_mut());
        gateway.start();
        load.stands_still(&gateway);
        fill(case.full, disk.as_mut());
    }
    let said = gateway.ask(&["status"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    if !matches!(case.full, Full::Inodes | Full::ToTheBrim(_)) {
        assert!(
            said.contains("events are refused: the "),
            "{said}\n{}",
            gateway.log()
        );
    }
    let subscriber = Subscriber::ahead_of(&gateway, &mut broker);
    goes_on(&gateway, load, &subscriber, disk);
}

/// The upstream is back and then the room: what is held is forwarded, and it accepts again.
fn goes_on(gateway: &Gateway, load: Load, subscriber: &Subscriber, mut disk: Option<SmallDisk>) {
    let held = load.ledger().acknowledged.len();
    println!("{held} held");
    gateway.wait_until("what is held is forwarded", || subscriber.count() >= held);
    if let Some(disk) = &mut disk {
        disk.give_back();
    }
    let more = held + 500;
    wait::find("it accepts again", || {
        let count = load.ledger().acknowledged.len();
        let seen = || format!("{count} of {more}\n{}", gateway.log());
        (count >= more).then_some(()).ok_or_else(seen)
    });
    load.enough();
    let (ledger, left) = load.end();
    assert_eq!(left, 0, "it does not recover\n{}", gateway.log());
    let arrived = subscriber.settle(ledger.acknowledged.len(), QUIET);
    let ids: Vec<_> = arrived.into_iter().map(|arrival| arrival.id).collect();
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &ids);
    assert_eq!((findings.missing, findings.invented), (Vec::new(), 0));
    assert_eq!(findings.out_of_order, []);
}

fn fill(full: Full, disk: Option<&mut SmallDisk>) {
    let Some(disk) = disk else { return };
    match full {
        Full::Store => {}
        Full::BelowFreeMin(_) => drop(disk.fill_but(5 << 20)),
        Full::ToTheBrim(_) => disk.fill(),
        Full::Inodes => disk.fill_inodes(),
    }
}

#[test]
fn a_first_start_waits_for_room_and_says_so() {
    let test = "a_first_start_waits_for_room_and_says_so";
    for kind in [Kind::Tmpfs, EXT4] {
        let mut gateway = Gateway::new("");
        let disk = SmallDisk::mount(gateway.path("data"), kind, 110, test);
        let Some(mut disk) = disk else { return };
        disk.fill();
        let waits = "this gateway waits for it";
        gateway.launch();
        gateway.wait_until("it waits", || gateway.whole_log().contains(waits));
        assert!(gateway.terminate().success(), "{}", gateway.log());
        gateway.launch();
        let twice = || gateway.whole_log().matches(waits).count() == 2;
        gateway.wait_until("it waits again", twice);
        disk.give_back();
        gateway.await_listening();
        let mut sensor = mqtt::connect(gateway.address, "sensor", true).expect("let in");
        mqtt::publish_acknowledged(&mut sensor, "a/b", 1, b"21.5");
        assert_eq!(gateway.events(&["--topic", "a/b"]).len(), 1);
    }
}

#[test]
fn a_gateway_starts_on_a_store_at_max_size() {
    let case = |store, ends| Case {
        full: Full::Store,
        store,
        ends,
    };
    let cases = [
        case("max_size = \"2MiB\"\nkeep_for = \"0s\"", KILLED),
        case("max_size = \"2MiB\"", TERMINATED),
        case("max_size = \"3MiB\"\ngeneration_size = \"64KiB\"", MIXED),
    ];
    run("a_gateway_starts_on_a_store_at_max_size", &cases);
}

#[test]
fn a_gateway_starts_on_a_disk_below_free_min() {
    let case = |kind, ends| Case {
        full: Full::BelowFreeMin(kind),
        store: "free_min = \"8MiB\"",
        ends,
    };
    let cases = [case(Kind::Tmpfs, KILLED), case(EXT4, TERMINATED)];
    run("a_gateway_starts_on_a_disk_below_free_min", &cases);
}

#[test]
fn a_gateway_starts_on_a_disk_that_has_nothing_left() {
    let case = |kind, store, ends| Case {
        full: Full::ToTheBrim(kind),
        store,
        ends,
    };
    let small = "free_min = \"0B\"\ngeneration_size = \"64KiB\"\nkeep_for = \"0s\"";
    let cases = [
        case(Kind::Tmpfs, "free_min = \"8MiB\"", KILLED),
        case(Kind::Tmpfs, small, MIXED),
        case(EXT4, "free_min = \"8MiB\"", TERMINATED),
        case(EXT4, small, MIXED),
    ];
    run("a_gateway_starts_on_a_disk_that_has_nothing_left", &cases);
}

#[test]
fn a_gateway_starts_on_a_disk_without_inodes() {
    let case = |store, ends| Case {
        full: Full::Inodes,
        store,
        ends,
    };
    let cases = [
        case("generation_size = \"64KiB\"\nfree_min = \"8MiB\"", KILLED),
        case(
            "keep_for = \"0s\"\ngeneration_size = \"64KiB\"\nfree_min = \"8MiB\"",
            TERMINATED,
        ),
    ];
    run("a_gateway_starts_on_a_disk_without_inodes", &cases);
}
