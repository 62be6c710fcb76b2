//! Letters and lanes that several people work on at once: what is sent again is sent once, whoever asks, however often, and
//! whether or not they wait for the answer.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, wait};

const EVENTS: usize = 40;

/// A gateway with letters of a rule, and an upstream that they can be sent to.
fn start() -> Gateway {
    let mut gateway = Gateway::new(
        "[store]\ncommit_delay = \"50ms\"\ncommit_delay_max = \"50ms\"\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n",
    );
    gateway.write(
        "rules/all.rules",
        "rule odd { on \"odd\" send to dead_letter reason \"no\" }\n",
    );
    gateway.start();
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("let in");
    for number in 0..EVENTS {
        mqtt::publish_acknowledged(&mut stream, "odd", 1, number.to_string().as_bytes());
    }
    wait::for_count("they are set aside", EVENTS, || {
        gateway.dead_letters().len()
    });
    gateway
}

/// How often each payload is in the archive.
fn archived(gateway: &Gateway) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        *found.entry(line["data"].to_string()).or_default() += 1;
    }
    found
}

/// Asks and does not wait for an answer.
fn ask_and_leave(gateway: &Gateway, id: &str) {
    let mut socket = UnixStream::connect(gateway.path("data/tidegate.sock")).expect("it listens");
    let request = format!(
        "POST /dead-letters/{id}/retry?to=archive HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("it reads");
    std::thread::sleep(std::time::Duration::from_millis(20));
}

#[test]
fn a_letter_is_sent_again_once_however_many_ask() {
    let gateway = start();
    let all = ["dead-letters", "retry", "--all", "--to", "archive"];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| gateway.ask(&all));
        }
    });
    checked(&gateway);
}

#[test]
fn a_letter_is_sent_again_once_though_whoever_asked_has_left() {
    let gateway = start();
    for letter in gateway.dead_letters() {
        let id = letter["id"].as_str().expect("an id");
        ask_and_leave(&gateway, id);
        ask_and_leave(&gateway, id);
    }
    checked(&gateway);
}

/// Each is in the archive, once, and none is a letter any more.
fn checked(gateway: &Gateway) {
    wait::find("all are delivered", || {
        let found = archived(gateway);
        let done = found.len() == EVENTS && gateway.dead_letters().is_empty();
        done.then_some(())
            .ok_or_else(|| format!("{found:?}\n{}", gateway.log()))
    });
    gateway.wait_until("nothing waits", || {
        gateway.status()["books"]["waiting"] == 0
    });
    let found = archived(gateway);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    assert_eq!(gateway.status()["books"]["difference"], 0);
}
