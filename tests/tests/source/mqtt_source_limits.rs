//! What an `mqtt` source does not take, and what its broker does not grant, keeps nothing else from coming in, and is told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::peer::{self, mosquitto::Mosquitto};
use tidegate_tests::{mqtt, wait};

/// `max_payload` of the source.
const BYTES_MAX: usize = 100;
/// More letters than any case makes.
const LETTERS_MAX: usize = 10_000;

fn gateway(broker: SocketAddr, version: &str, topics: &[&str]) -> Gateway {
    Gateway::new(&format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{broker}\"\nversion = \"{version}\"\n\
         topics = {topics:?}\nmax_payload = \"{BYTES_MAX}B\"\n\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n"
    ))
}

/// How often each `n` of a payload arrived.
fn arrived(gateway: &Gateway) -> BTreeMap<u64, usize> {
    let text = std::fs::read_to_string(gateway.path("out.jsonl")).unwrap_or_default();
    let mut counts = BTreeMap::new();
    let number = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["data"]["n"].as_u64()
    };
    for number in text.lines().filter_map(number) {
        *counts.entry(number).or_default() += 1;
    }
    counts
}

fn wait_for(gateway: &Gateway, numbers: std::ops::Range<u64>) -> BTreeMap<u64, usize> {
    wait::find("they arrive", || {
        let there = arrived(gateway);
        let all = numbers.clone().all(|number| there.contains_key(&number));
        all.then_some(there).ok_or_else(|| gateway.log())
    })
}

/// A payload of so many bytes.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{{\"n\":{number}}}").into_bytes();
    payload.resize(bytes.max(payload.len()), b' ');
    payload
}

/// Publishes at most once.
fn publish_once(broker: SocketAddr, topic: &str, payload: &[u8]) {
    let mut device = mqtt::connect(broker, "device", true).expect("let in");
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend(payload);
    let goodbye: &[u8] = &[0xe0, 0];
    let sent = [&mqtt::packet(0x30, &body), goodbye].concat();
    device.write_all(&sent).expect("it reads");
    let _ = device.read_to_end(&mut Vec::new());
}

/// Publishes a number of its own again and again until one arrives: from then on the source is subscribed. Gives the
/// first that was not published.
fn until_subscribed(gateway: &Gateway, broker: SocketAddr, topic: &str) -> u64 {
    let mut next = 0;
    wait::find("the source is subscribed", || {
        publish_once(broker, topic, &payload(next, 0));
        next += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
        let there = !arrived(gateway).is_empty();
        there.then_some(()).ok_or_else(|| gateway.log())
    });
    next
}

#[test]
fn what_is_too_large_is_set_aside_and_what_comes_behind_it_arrives() {
    const TEST: &str = "what_is_too_large_is_set_aside_and_what_comes_behind_it_arrives";
    // What the broker has under way at most; how many are too large, and by how much.
    for (version, window, count, bytes) in [
        ("3.1.1", 20, 20, BYTES_MAX + 1),
        ("5", 20, 20, BYTES_MAX + 1),
        ("3.1.1", 20, 25, 70_000),
        ("5", 20, 25, 300_000),
        ("3.1.1", 1000, 1100, 2 * BYTES_MAX),
        ("5", 1000, 1100, 2 * BYTES_MAX),
    ] {
        println!("{version}: {count} of {bytes} bytes, {window} under way");
        let window = format!("max_inflight_messages {window}");
        let Some(mut broker) = Mosquitto::with(TEST, &window) else {
            return;
        };
        broker.start();
        let mut gateway = gateway(broker.address, version, &["p/#"]);
        gateway.start();
        let first = until_subscribed(&gateway, broker.address, "p/first");
        let mut device = mqtt::connect(broker.address, "device", true).expect("let in");
        let mut publish = |topic: &str, number, bytes| {
            let payload = payload(number, bytes);
            mqtt::publish_acknowledged(&mut device, topic, 1, &payload);
        };
        for _ in 0..count {
            publish("p/large", LETTERS_MAX as u64, bytes);
        }
        publish("p/just", first, BYTES_MAX);
        wait_for(&gateway, first..first + 1);
        // Nothing of it stands in the way after a kill, either.
        gateway.kill();
        gateway.start();
        publish("p/good", first + 1, 0);
        wait_for(&gateway, first + 1..first + 2);
        // What the broker had no acknowledgement for before the kill comes twice.
        wait::for_count("dead letters", count, || gateway.dead_letters().len());
        for letter in gateway.dead_letters() {
            let reason = letter["reason"].as_str().unwrap_or_default();
            let why = format!("a payload of {bytes} bytes is over max_payload = {BYTES_MAX}");
            assert!(reason.contains(&why), "{reason}");
            assert_eq!(letter["event"]["topic"], "p/large", "{letter}");
        }
    }
}

/// The lines of `mosquitto.conf` under which every filter but those of `granted` is refused.
fn refusing(folder: &std::path::Path, granted: &[&str]) -> Option<String> {
    let folders = ["/usr/lib", "/usr/local/lib", "/usr/lib64"].map(PathBuf::from);
    let below = std::fs::read_dir("/usr/lib").into_iter().flatten();
    let below = below.flatten().map(|entry| entry.path());
    let plugins = folders.into_iter().chain(below);
    let mut plugins = plugins.map(|folder| folder.join("mosquitto_dynamic_security.so"));
    let plugin = plugins.find(|plugin| plugin.is_file())?;
    let acls = granted.iter().map(|filter| {
        serde_json::json!({ "acltype": "subscribePattern", "topic": filter, "priority": 0, "allow": true })
    });
    let security = serde_json::json!({
        "defaultACLAccess": {
            "publishClientSend": true, "publishClientReceive": true, "subscribe": false, "unsubscribe": true
        },
        "clients": [],
        "groups": [{ "groupname": "all", "roles": [{ "rolename": "all" }], "clients": [] }],
        "roles": [{ "rolename": "all", "acls": acls.collect::<Vec<_>>() }],
        "anonymousGroup": "all"
    });
    let file = folder.join("security.json");
    std::fs::write(&file, security.to_string()).expect("written");
    Some(format!(
        "user root\nplugin {}\nplugin_opt_config_file {}",
        plugin.display(),
        file.display()
    ))
}

#[test]
fn a_refused_filter_is_told_and_the_granted_ones_are_served() {
    const TEST: &str = "a_refused_filter_is_told_and_the_granted_ones_are_served";
    // The filters, where the granted ones are those below `ok`.
    let cases: [&[&str]; 5] = [
        &["ok/#", "no/#"],
        &["no/#", "ok/#"],
        &["no/a", "ok/x", "no/+/b"],
        &["#", "ok/x"],
        &["ok/x/#", "+/x/#", "no/#", "#"],
    ];
    for version in ["3.1.1", "5"] {
        for topics in cases {
            println!("{version} {topics:?}");
            let dir = tempfile::tempdir().expect("a folder");
            let Some(more) = refusing(dir.path(), &["ok/#"]) else {
                return peer::skip(TEST, "mosquitto's dynamic security is not installed");
            };
            let Some(mut broker) = Mosquitto::with(TEST, &more) else {
                return;
            };
            broker.start();
            let mut gateway = gateway(broker.address, version, topics);
            gateway.start();
            let refused: Vec<&str> = topics
                .iter()
                .copied()
                .filter(|topic| !topic.starts_with("ok"))
                .collect();
            let first = until_subscribed(&gateway, broker.address, "ok/x");
            let mut device = mqtt::connect(broker.address, "device", true).expect("let in");
            for number in first..first + 20 {
                mqtt::publish_acknowledged(&mut device, "ok/x", 1, &payload(number, 0));
            }
            let there = wait_for(&gateway, first..first + 20);
            let twice: Vec<_> = there.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.is_empty(), "{version} {topics:?}: {twice:?}");
            let told = troubles(&gateway);
            let line = told.iter().find(|line| line.starts_with("source plant: "));
            let line = line.unwrap_or_else(|| panic!("{version} {topics:?}: {told:?}"));
            let words = format!("refused to subscribe to {};", refused.join(", "));
            assert!(line.contains(&words), "{line}");
            assert_eq!(gateway.metric("tidegate_source_up", "plant"), 1);
        }
    }
}

#[test]
fn what_the_broker_grants_in_another_way_is_told() {
    const TEST: &str = "what_the_broker_grants_in_another_way_is_told";
    // The filters, a topic that all match, and what is told of it.
    let cases: [(&str, &[&str], &str, &str); 6] = [
        ("max_qos 0", &["p/#"], "p/x", "only QoS 0 to p/#: "),
        ("max_qos 0", &["p/x", "q"], "p/x", "only QoS 0 to p/x, q: "),
        ("", &["p/#", "p/x", "p/+"], "p/x", ""),
        (
            "allow_duplicate_messages true",
            &["p/x", "#", "p/x"],
            "p/x",
            "",
        ),
        ("", &["p/+", "+/x"], "p/x", "p/+ and +/x overlap"),
        ("", &["a", "p/+/z", "p/y/#"], "p/y/z", "overlap"),
    ];
    for version in ["3.1.1", "5"] {
        for (more, topics, topic, words) in cases {
            println!("{version} {more} {topics:?}");
            let Some(mut broker) = Mosquitto::with(TEST, more) else {
                return;
            };
            broker.start();
            let mut gateway = gateway(broker.address, version, topics);
            gateway.start();
            let first = until_subscribed(&gateway, broker.address, topic);
            for number in first..first + 5 {
                publish_once(broker.address, topic, &payload(number, 0));
            }
            let there = wait_for(&gateway, first..first + 5);
            let told = troubles(&gateway);
            let is_told = told.iter().any(|line| line.starts_with("source plant: "));
            assert_eq!(is_told, !words.is_empty(), "{version} {topics:?}: {told:?}");
            let found = told.iter().any(|line| line.contains(words));
            assert!(found || words.is_empty(), "{version} {topics:?}: {told:?}");
            let twice = there.values().any(|count| *count > 1);
            assert!(!twice || words.contains("overlap"), "{topics:?}: {there:?}");
        }
    }
}

/// A broker of MQTT 5 that keeps no session for longer than a connection, whatever it is asked for, and has one message.
fn forgetful() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            std::thread::spawn(move || forget(stream));
        }
    });
    address
}

fn forget(mut stream: TcpStream) -> Option<()> {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        while let Some((first, body)) = mqtt::take(&mut buffer) {
            let answer = match first >> 4 {
                // CONNACK: Session Expiry Interval 0.
                1 => mqtt::packet(0x20, &[0, 0, 5, 0x11, 0, 0, 0, 0]),
                8 => {
                    let suback = mqtt::packet(0x90, &[*body.first()?, *body.get(1)?, 0, 1]);
                    let publish = [b"\0\x03p/x\0\x07\0".as_slice(), &payload(0, 0)].concat();
                    [suback, mqtt::packet(0x32, &publish)].concat()
                }
                12 => vec![0xd0, 0],
                _ => Vec::new(),
            };
            stream.write_all(&answer).ok()?;
        }
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => buffer.extend(&chunk[..count]),
            _ => return None,
        }
    }
}

#[test]
fn a_broker_that_keeps_no_session_is_told() {
    let mut gateway = gateway(forgetful(), "5", &["p/#"]);
    gateway.start();
    wait_for(&gateway, 0..1);
    let told = troubles(&gateway);
    assert!(
        told.iter().any(|line| line.contains("expiry 0")),
        "{told:?}"
    );
}
