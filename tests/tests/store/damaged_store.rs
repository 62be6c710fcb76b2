//! A generation of the store is damaged while the gateway is away: it starts all the same, says which events are gone in
//! the log, the status and a system event, serves the rest, and starts again without trouble.

use std::path::PathBuf;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::port;

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
