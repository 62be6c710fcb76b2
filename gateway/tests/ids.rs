//! No two events bear one id: not after a start in a new folder, in a copy of one, or after a kill.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::publisher::{Ledger, Publisher};
use tidegate_tests::{port, wait};

const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";

/// Publishes three events, and adds the ids of all there are to `seen`, by where they lie.
fn publish(gateway: &Gateway, place: &str, seen: &mut HashMap<String, String>) {
    let publisher = Publisher {
        gateway: gateway.address,
        number: 1,
        count: 3,
        per_second: 1000.0,
        window: 3,
        payload: tidegate_tests::books::payload,
        ledger: std::sync::Arc::new(std::sync::Mutex::new(Ledger::default())),
    };
    assert_eq!(publisher.run(), 0, "{place}: all is stored");
    for event in gateway.events(&["--limit", "1000"]) {
        let event = &event["event"];
        let id = event["id"].as_str().expect("an id").to_owned();
        // A copied folder holds events of before the copy: those are the same events.
        let what = format!("{} {}", event["topic"], event["data"]);
        let what = format!("{what} {}", event["time"]);
        if let Some(before) = seen.insert(id.clone(), what.clone()) {
            assert_eq!(before, what, "{place}: the id {id} of two events");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => copy(&entry.path(), &to.join(entry.file_name())),
            kind if kind.is_file() => {
                std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
            }
            _ => {}
        }
    }
}

/// A gateway whose data folder is a copy of `data`.
fn copied(data: &TempDir) -> Gateway {
    let gateway = Gateway::new(ARCHIVE);
    copy(data.path(), &gateway.path("data"));
    gateway
}

#[test]
fn no_id_is_minted_twice_by_new_folders_copies_and_starts() {
    let mut seen = HashMap::new();
    let mut first = Gateway::new(ARCHIVE);
    first.start();
    publish(&first, "a first start", &mut seen);
    first.terminate();
    let card = tempfile::tempdir().expect("a folder");
    copy(&first.path("data"), card.path());
    first.start();
    publish(&first, "a second start", &mut seen);
    first.kill();
    first.start();
    publish(&first, "a start after a kill", &mut seen);
    std::fs::remove_dir_all(first.path("data/store")).expect("a store");
    first.kill();
    first.start();
    publish(&first, "a store that was removed", &mut seen);
    let mut other = Gateway::new(ARCHIVE);
    other.start();
    publish(&other, "another folder", &mut seen);
    let mut clones = [copied(&card), copied(&card)];
    for (number, clone) in clones.iter_mut().enumerate() {
        clone.start();
        publish(clone, &format!("clone {number}"), &mut seen);
    }
    let minted = seen.keys().filter(|id| {
        let (start, number) = id.split_once('-').expect("a start and a number");
        start.len() == 16 && number.parse::<u64>().is_ok()
    });
    assert_eq!(minted.count(), seen.len(), "{seen:?}");
    assert!(seen.len() >= 7 * 3, "{}", seen.len());
}

/// Sends bytes to a door, and reads on until `until` is in what comes back.
fn talk(address: SocketAddr, bytes: &[u8], until: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("a timeout");
    stream.write_all(bytes).expect("it reads");
    let (mut answer, mut some) = (Vec::new(), [0; 512]);
    while !answer.windows(until.len()).any(|part| part == until) {
        let read = stream.read(&mut some).expect("an answer");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..read]);
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = [(body.len() & 0x7f) as u8 | 0x80, (body.len() >> 7) as u8];
    [&[first], &length[..], body].concat()
}

/// Publishes over MQTT 5 with these user properties.
fn publish_5(address: SocketAddr, client: &str, topic: &str, of: &[(&str, &str)], data: &str) {
    let connect = [&text("MQTT"), &[5, 2, 0, 60, 0][..], &text(client)].concat();
    let user = of
        .iter()
        .flat_map(|(name, value)| [vec![0x26], text(name), text(value)].concat());
    let user: Vec<u8> = user.collect();
    let length = [(user.len() & 0x7f) as u8 | 0x80, (user.len() >> 7) as u8];
    let publish = [&text(topic), &[0, 7][..], &length, &user, data.as_bytes()].concat();
    let bytes = [packet(0x10, &connect), packet(0x32, &publish)].concat();
    talk(address, &bytes, &[0x40, 2, 0, 7]);
}

/// Posts a structured event with these attributes.
fn post(address: SocketAddr, topic: &str, of: &[(&str, &str)], data: &str) {
    let mut document = serde_json::json!({ "type": "reading", "topic": topic, "data": data });
    for (name, value) in of {
        document[*name] = Value::from(*value);
    }
    let body = document.to_string();
    let head = format!(
        "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cloudevents+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    talk(address, (head + &body).as_bytes(), b"HTTP/1.1 200");
}

/// A flow that gets an event and publishes what it makes of it with the same metadata.
#[test]
fn what_others_publish_under_an_id_of_ours_gets_one_of_its_own() {
    let door = port::free();
    let mut gateway = Gateway::new(&format!(
        "[sources.door]\ntype = \"http\"\nlisten = \"{door}\"\n\n{ARCHIVE}"
    ));
    gateway.start();
    let mut expected = 0;
    for (number, (topic, data, with_way, restarts)) in [
        ("t/made", "70.7", true, false),
        ("t/made", "70.7", false, false),
        ("t/read", "70.7", true, false),
        ("t/made", "21.5", true, false),
        ("t/made", "70.7", true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let read = format!("t/read/{number}");
        publish_5(gateway.address, "sensor", &read, &[], "21.5");
        let event = &gateway.events(&["--topic", &read])[0]["event"];
        let of = |name: &str| event[name].as_str().expect("a text").to_owned();
        let (id, source) = (of("id"), of("source"));
        let mark = id.split('-').next().expect("a mark").to_owned();
        if restarts {
            gateway.kill();
            gateway.start();
        }
        let ahead = format!("{mark}-{}", 1_000_000 + number);
        let made = format!("{topic}/{number}");
        for id in [&id, &ahead] {
            let mut of = vec![("specversion", "1.0"), ("id", id), ("source", &source)];
            of.extend(with_way.then_some(("tidegatepath", &*mark)));
            for _ in 0..2 {
                publish_5(gateway.address, "flow", &made, &of, data);
                post(door, &made, &of, data);
            }
        }
        expected += 1;
        let events = gateway.events(&["--limit", "1000", "--topic", "t/#"]);
        let mut ids: Vec<&str> = events
            .iter()
            .map(|event| event["event"]["id"].as_str().expect("an id"))
            .collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "{made}: each has an id of its own: {ids:?}");
        assert!(!ids.contains(&&*ahead), "{made}: {ids:?}");
        let of_senders = |event: &&Value| event["event"]["senderid"].as_str() == Some(&*id);
        let kept = events.iter().filter(of_senders).count();
        assert!((1..=2).contains(&kept), "{made}: {kept} under {id}");
        assert!(all >= 3 * expected, "{made}: all are stored");
    }
}
