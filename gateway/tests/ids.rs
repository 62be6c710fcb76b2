//! No two events bear one id: not after a start in a new folder, in a copy of one, or after a kill.

use std::collections::HashMap;
use std::path::Path;

use tempfile::TempDir;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::publisher::{Ledger, Publisher};

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
