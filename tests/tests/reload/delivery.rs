//! Nothing is lost on the way of events while what stands at it comes and goes.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::{mqtt, port, wait};

use super::{ONE, add, arrives, edit, names, publish, reload};

/// What the file of an upstream holds, by what each event carries, with how often it came.
fn delivered(gateway: &Gateway, files: &[&str]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(gateway.path(file)).unwrap_or_default();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            *all.entry(event["id"].to_string()).or_default() += 1;
        }
    }
    all
}

#[test]
fn under_load_upstreams_and_sources_change_and_every_event_arrives() {
    let mut gateway = Gateway::new(ONE);
    add(
        &gateway,
        "[upstreams.two]\ntype = \"file\"\npath = \"two-0.jsonl\"\n",
    );
    gateway.start();
    let share = Share {
        count: 1_000_000,
        per_second: 400.0,
        window: 20,
    };
    let load = Load::start(gateway.address, 0..3, share);
    let rounds = 8;
    for round in 1..=rounds {
        let before = load.ledger().acknowledged.len();
        wait::for_count("it goes on", before + 100, || {
            load.ledger().acknowledged.len()
        });
        let (old, new) = (round - 1, round);
        edit(
            &gateway,
            &format!("two-{old}.jsonl"),
            &format!("two-{new}.jsonl"),
        );
        match round % 2 {
            // The source of the load closes and opens anew as well, in every other round.
            0 => edit(&gateway, "max_payload = \"64KiB\"\n", ""),
            _ => edit(
                &gateway,
                "type = \"mqtt-listener\"\n",
                "type = \"mqtt-listener\"\nmax_payload = \"64KiB\"\n",
            ),
        }
        reload(&gateway);
    }
    load.enough();
    let (ledger, left) = load.end();
    assert_eq!(left, 0, "{}", gateway.log());
    let acknowledged = ledger.acknowledged.len();
    let stored = || gateway.metric("tidegate_events_accepted_total", "") as usize;
    let files: Vec<String> = (0..=rounds)
        .map(|round| format!("two-{round}.jsonl"))
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    wait::find("all arrive", || {
        let counts = [&["one.jsonl"][..], &files].map(|files| delivered(&gateway, files).len());
        if counts.iter().all(|count| *count == stored()) {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    assert!(stored() >= acknowledged);
    // `one` was not touched; at `two` what was in flight may have come twice, and a file upstream is quick.
    let twice = |files: &[&str]| {
        delivered(&gateway, files)
            .values()
            .filter(|count| **count > 1)
            .count()
    };
    assert_eq!(twice(&["one.jsonl"]), 0);
    assert_eq!(twice(&files), 0);
    assert!(acknowledged > 500, "{acknowledged}");
}

#[test]
fn what_waits_for_an_upstream_that_goes_is_kept_and_can_be_moved() {
    let mut gateway = Gateway::new(ONE);
    let cloud = format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n",
        port::free()
    );
    add(&gateway, &cloud);
    gateway.start();
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    (0..5).for_each(|number| publish(&mut stream, &format!("before/{number}")));
    edit(&gateway, &cloud, "");
    reload(&gateway);
    publish(&mut stream, "after");
    arrives(&gateway, "one.jsonl", "after");
    let status = gateway.status();
    assert_eq!(names(&status, "upstreams"), ["one"]);
    assert_eq!(status["stranded"][0]["name"], "cloud", "{status}");
    assert_eq!(status["stranded"][0]["waiting"], 5, "{status}");
    // Named again it has its place; what came meanwhile was not for it.
    add(&gateway, &cloud);
    reload(&gateway);
    let status = gateway.status();
    assert_eq!(status["stranded"], serde_json::json!([]));
    assert_eq!(status["upstreams"][1]["waiting"], 5, "{status}");
    assert_eq!(status["books"]["difference"], 0, "{status}");
    edit(&gateway, &cloud, "");
    reload(&gateway);
    let archive = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";
    add(&gateway, archive);
    reload(&gateway);
    let moved = gateway.ask(&["store", "lanes", "move", "cloud", "--to", "archive"]);
    assert!(moved.status.success(), "{moved:?}");
    for number in 0..5 {
        arrives(&gateway, "archive.jsonl", &format!("before/{number}"));
    }
    assert_eq!(gateway.status()["stranded"], serde_json::json!([]));
}
