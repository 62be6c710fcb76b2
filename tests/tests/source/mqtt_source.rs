//! What a broker holds for the gateway gets into the store, whatever happens to the gateway.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_tests::books::{self, Id};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::publisher::{Ledger, Publisher};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::wait::{self, PATIENCE, Wait};

/// A gateway that subscribes at the broker and writes what it gets into a file.
fn subscriber(broker: &Mosquitto, version: &str) -> Gateway {
    Gateway::new(&format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nversion = \"{version}\"\ntopics = [\"p/#\"]\n\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n",
        broker.address
    ))
}

fn publish(broker: &Mosquitto, count: u64, per_second: f64) -> std::thread::JoinHandle<Ledger> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let publisher = Publisher {
        gateway: broker.address,
        number: 1,
        count,
        per_second,
        window: 50,
        payload: books::payload,
        ledger: Arc::clone(&ledger),
    };
    std::thread::spawn(move || {
        assert_eq!(publisher.run(), 0, "the broker takes everything");
        let mut ledger = ledger.lock().expect("no publisher panics");
        std::mem::take(&mut *ledger)
    })
}

/// The ids in the file, in its order.
fn arrived(gateway: &Gateway) -> Vec<Option<Id>> {
    let text = std::fs::read_to_string(gateway.path("out.jsonl")).unwrap_or_default();
    let id = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let data = &event["data"];
        let id = (data["publisher"].as_u64()? as u32, data["n"].as_u64()?);
        let expected: serde_json::Value = serde_json::from_slice(&books::payload(id)).ok()?;
        (expected == *data).then_some(id)
    };
    text.lines().map(id).collect()
}

/// Waits until `count` different ids are in the file, or no more come.
fn wait_for(gateway: &Gateway, count: usize) -> Vec<Option<Id>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = arrived(gateway);
        let different: BTreeSet<&Option<Id>> = found.iter().collect();
        if different.len() >= count || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wait_until_subscribed(gateway: &Gateway) {
    gateway.wait_until("it subscribes", || gateway.log().contains("subscribed"));
}

/// The state of the source as the gateway tells it; away from its broker it says why, too.
fn wait_for_state(gateway: &Gateway, state: &str) {
    wait::find("the state of the source", || {
        let answer = gateway.control("/status");
        let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status: serde_json::Value = serde_json::from_str(body).expect("status is JSON");
        let sources = status["sources"].as_array().expect("sources");
        let source = sources.iter().find(|source| source["kind"] == "mqtt");
        let source = source.expect("the source");
        if source["state"] != state {
            return Err(source.clone());
        }
        assert!(state == "connected" || source["last_error"].is_string());
        Ok(())
    });
}

fn compare(ledger: &Ledger, arrived: &[Option<Id>], gateway: &Gateway) -> books::Findings {
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, arrived);
    let (missing, first) = (findings.missing.len(), findings.missing.first());
    assert_eq!(missing, 0, "lost, first {first:?}\n{}", gateway.log());
    assert_eq!(findings.invented, 0, "arrivals that nobody sent");
    findings
}

#[test]
fn what_the_broker_queued_while_the_gateway_was_away_is_drained_in_order() {
    let test = "what_the_broker_queued_while_the_gateway_was_away_is_drained_in_order";
    let Some(mut broker) = Mosquitto::new(test) else {
        return;
    };
    broker.start();
    for version in ["5", "3.1.1"] {
        let mut gateway = subscriber(&broker, version);
        gateway.start();
        wait_until_subscribed(&gateway);
        assert!(gateway.terminate().success(), "{}", gateway.log());
        let ledger = publish(&broker, 1000, 5000.0).join().expect("published");
        gateway.start();
        let arrived = wait_for(&gateway, 1000);
        let findings = compare(&ledger, &arrived, &gateway);
        assert!(findings.out_of_order.is_empty(), "{findings:?}");
        assert_eq!(findings.duplicates, 0);
        gateway.terminate();
    }
}

#[test]
fn a_gateway_killed_in_mid_stream_loses_nothing() {
    let test = "a_gateway_killed_in_mid_stream_loses_nothing";
    let Some(mut broker) = Mosquitto::new(test) else {
        return;
    };
    broker.start();
    let mut gateway = subscriber(&broker, "5");
    gateway.start();
    wait_until_subscribed(&gateway);
    let publisher = publish(&broker, 6000, 2000.0);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(fastrand::u64(200..700)));
        gateway.kill();
        gateway.start();
    }
    let ledger = publisher.join().expect("published");
    let arrived = wait_for(&gateway, 6000);
    let findings = compare(&ledger, &arrived, &gateway);
    println!(
        "{} published, {} arrived, {} duplicates",
        ledger.acknowledged.len(),
        arrived.len(),
        findings.duplicates
    );
}

#[test]
fn a_broker_that_is_absent_or_forgot_the_session_is_subscribed_at_again() {
    let test = "a_broker_that_is_absent_or_forgot_the_session_is_subscribed_at_again";
    let Some(mut broker) = Mosquitto::new(test) else {
        return;
    };
    let mut gateway = subscriber(&broker, "5");
    gateway.start();
    wait_for_state(&gateway, "connecting");
    broker.start();
    for round in 1..=2 {
        let count = round * 10;
        let wait = Wait::begin("what is published arrives");
        // Nobody keeps what is published before the subscription: published until it arrives.
        while arrived(&gateway).len() < count {
            wait.goes_on(gateway.log());
            publish(&broker, 10, 1000.0).join().expect("published");
            std::thread::sleep(Duration::from_millis(200));
        }
        wait_for_state(&gateway, "connected");
        broker.kill();
        wait_for_state(&gateway, "connecting");
        broker.start();
    }
}
