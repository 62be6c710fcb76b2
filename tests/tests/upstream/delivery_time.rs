//! How long events take to an upstream is seen, and what waited behind an outage or a restart is no live event.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{mqtt, wait};

/// Publishes with QoS 1, one after the other.
fn publish(gateway: &Gateway, count: u16) {
    let mut stream = mqtt::connect(gateway.address, "clock", true).expect("let in");
    for number in 0..count {
        mqtt::publish_acknowledged(&mut stream, "hall/temp", number + 1, b"{}");
    }
}

/// So many were counted by the metrics as `traffic`.
fn counted(gateway: &Gateway, traffic: &str) -> u64 {
    let traffic = format!("upstream=\"cloud\",priority=\"normal\",traffic=\"{traffic}\"");
    gateway.metric("tidegate_event_delivery_seconds_count", &traffic)
}

/// What the status tells of all deliveries to `cloud`.
fn since_start(gateway: &Gateway) -> Value {
    gateway.status()["upstreams"][0]["delivery"]["since_start"].clone()
}

#[track_caller]
fn took_at_least(of: &Value, least: Duration) {
    // A bucket is a quarter wide.
    let least_ms = least.as_secs_f64() * 1000.0 * 0.75;
    let p50_ms = of["p50_ms"].as_f64().expect("a figure");
    assert!(p50_ms >= least_ms, "{of}: {least_ms}");
}

/// Waits for what the metric of the connection says.
fn wait_for_upstream(gateway: &Gateway, up: u64) {
    wait::until(&format!("the upstream is up: {up}"), || {
        gateway.metric("tidegate_upstream_up", "cloud") == up
    });
}

/// Publishes one after the other until one is live.
fn wait_for_live(gateway: &Gateway, beyond: u64) {
    wait::until("it has caught up", || {
        publish(gateway, 1);
        counted(gateway, "live") > beyond
    });
    let accepted = gateway.metric("tidegate_events_accepted_total", "");
    wait::until("all of these are delivered", || {
        counted(gateway, "live") + counted(gateway, "backlog") == accepted
    });
}

#[test]
fn live_events_an_outage_and_a_restart_are_told_apart() {
    let Some(mut broker) = Mosquitto::new("delivery_time") else {
        return;
    };
    broker.start();
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n",
        broker.address
    ));
    gateway.start();
    wait_for_upstream(&gateway, 1);
    wait_for_live(&gateway, 0);
    let (live, backlog) = (counted(&gateway, "live"), counted(&gateway, "backlog"));
    publish(&gateway, 20);
    wait::until("20 are live", || counted(&gateway, "live") == live + 20);
    assert_eq!(counted(&gateway, "backlog"), backlog);
    let asked = gateway.ask(&["status"]);
    let text = String::from_utf8_lossy(&asked.stdout);
    assert!(
        text.contains("DELIVERY TO") && text.contains("LIVE P50"),
        "{text}"
    );

    broker.kill();
    wait_for_upstream(&gateway, 0);
    publish(&gateway, 5);
    let published = Instant::now();
    std::thread::sleep(Duration::from_millis(700));
    let outage = published.elapsed();
    broker.start();
    wait::until("5 waited", || counted(&gateway, "backlog") == backlog + 5);
    let all = since_start(&gateway);
    assert_eq!(all["live"]["events"], live + 20);
    took_at_least(&all["backlog"], outage);
    wait_for_live(&gateway, live + 20);

    broker.kill();
    wait_for_upstream(&gateway, 0);
    publish(&gateway, 3);
    let published = Instant::now();
    gateway.kill();
    std::thread::sleep(Duration::from_millis(700));
    let away = published.elapsed();
    broker.start();
    gateway.start();
    // A few that were delivered shortly before the kill may come again.
    wait::until("3 are delivered", || counted(&gateway, "backlog") >= 3);
    assert_eq!(counted(&gateway, "live"), 0);
    took_at_least(&since_start(&gateway)["backlog"], away);
}
