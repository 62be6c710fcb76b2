//! A generation of the store is damaged while the gateway is away: it starts all the same, says which events are gone in
//! the log, the status and a system event, serves the rest, and starts again without trouble. A store that is taken away from
//! under a running gateway acknowledges nothing more, for no start would find it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::wait;
use tidegate_tests::{mqtt, port};

/// The database of the oldest generation.
fn oldest(gateway: &Gateway) -> PathBuf {
    let folder = gateway.path("data/store/generations");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("generations")
        .map(|entry| entry.expect("a name").path())
        .collect();
    names.sort();
    assert!(names.len() > 2, "{names:?}");
    names.swap_remove(0)
}

fn said(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.ask(arguments);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_damaged_generation_is_told_of_and_the_rest_is_served() {
    let mut gateway = Gateway::new(&format!(
        "[store]\ngeneration_size = \"64KiB\"\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n",
        port::free()
    ));
    gateway.start();
    let share = Share {
        count: 12_000,
        per_second: 20_000.0,
        window: 100,
    };
    let (ledger, left) = Load::start(gateway.address, 0..1, share).end();
    assert_eq!(left, 0);
    gateway.terminate();

    let oldest = oldest(&gateway);
    let database = oldest.join("db");
    let bytes = std::fs::read(&database).expect("a database");
    std::fs::write(&database, vec![0x5a; bytes.len()]).expect("it is ours");
    let _ = std::fs::remove_file(oldest.join("summary"));

    for start in 0..2 {
        gateway.start();
        let told = |words: &str| said(&gateway, &["store", "status"]).contains(words);
        let missing = || start > 0 || told("in generation 1 cannot be read");
        gateway.wait_until("word of the damage", missing);
        gateway.wait_until("word of the quarantine", || told("quarantine"));
        assert!(said(&gateway, &["status"]).contains("quarantine"));
        let logged = || {
            let log = gateway.log();
            log.contains("are passed over") && log.contains("was put into quarantine")
        };
        gateway.wait_until("log line", logged);
        for kind in ["damage", "quarantine"] {
            let topic = format!("$tidegate/store/{kind}");
            let event = || said(&gateway, &["events", "list", "--topic", &topic]).contains(&topic);
            gateway.wait_until(&topic, event);
        }
        let metrics = gateway.control("/metrics");
        let figure = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        assert_eq!(figure("tidegate_store_quarantined_generations "), Some(1));
        assert!(figure("tidegate_store_quarantined_bytes ") > Some(0));
        assert!(start > 0 || figure("tidegate_store_unreadable_events ") > Some(100));
        let report: serde_json::Value =
            serde_json::from_str(&said(&gateway, &["store", "status", "--format", "json"]))
                .expect("JSON");
        let lanes = report["lanes"].as_array().expect("lanes");
        let cloud = lanes.iter().find(|lane| lane["name"] == "cloud");
        let waiting = cloud.expect("the lane")["waiting"]
            .as_u64()
            .expect("a number");
        let acknowledged = ledger.acknowledged.len() as u64;
        assert!(
            waiting > acknowledged / 2 && waiting < acknowledged,
            "{waiting} of {acknowledged} wait, start {start}"
        );
        gateway.terminate();
    }
}

type Deed = fn(&Path);

/// What is done to a store that is open, in the data folder, and what undoes it where that can be.
const TAKEN_AWAY: [(&str, Deed, Option<Deed>); 6] = [
    (
        "rm -r of the store",
        |data| remove(&data.join("store")),
        None,
    ),
    (
        "rm -r of what is in it",
        |data| {
            let inside = std::fs::read_dir(data.join("store")).expect("a folder");
            inside.for_each(|entry| remove(&entry.expect("an entry").path()));
        },
        None,
    ),
    (
        "mv of the store",
        |data| rename(data, "store", "away"),
        Some(|data| rename(data, "away", "store")),
    ),
    (
        "another one in its place",
        |data| {
            rename(data, "store", "away");
            std::fs::create_dir(data.join("store")).expect("a folder");
            std::fs::write(data.join("store/lock"), "1").expect("a file");
        },
        Some(|data| {
            remove(&data.join("store"));
            rename(data, "away", "store");
        }),
    ),
    (
        "rm of the lock",
        |data| remove(&data.join("store/lock")),
        None,
    ),
    (
        "a file in its place",
        |data| {
            rename(data, "store", "away");
            std::fs::write(data.join("store"), "").expect("a file");
        },
        Some(|data| {
            remove(&data.join("store"));
            rename(data, "away", "store");
        }),
    ),
];

fn remove(path: &Path) {
    match path.is_dir() {
        true => std::fs::remove_dir_all(path).expect("it is there"),
        false => std::fs::remove_file(path).expect("it is there"),
    }
}

fn rename(data: &Path, from: &str, to: &str) {
    std::fs::rename(data.join(from), data.join(to)).expect("it is there");
}

/// Whether an event is acknowledged.
fn is_taken(gateway: &Gateway) -> bool {
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("let in");
    stream
        .write_all(&mqtt::publish("t", 1, b"1"))
        .expect("it reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).is_ok() && answer[0] == 0x40
}

#[test]
fn a_store_that_is_taken_away_acknowledges_nothing_until_it_is_back() {
    for (what, deed, undo) in TAKEN_AWAY {
        println!("{what}");
        let mut gateway =
            Gateway::new("[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n");
        gateway.start();
        assert!(is_taken(&gateway), "{what}");
        let data = gateway.path("data");
        deed(&data);
        assert!(!is_taken(&gateway), "{what}: no start finds it");
        wait::until(&format!("{what} is told"), || {
            let told = troubles(&gateway);
            let mut told = told.iter();
            told.any(|line| line.contains("events are refused") && line.contains("put it back"))
        });
        if let Some(undo) = undo {
            undo(&data);
            wait::until(&format!("{what}: it is back"), || is_taken(&gateway));
        }
        gateway.kill();
        if undo.is_some() {
            gateway.start();
            let stored = gateway.events(&["--topic", "t"]).len();
            assert!(stored >= 2, "{what}: {stored}");
        }
    }
}
