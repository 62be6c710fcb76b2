//! A publish that the listener does not take: MQTT 5 is told why, MQTT 3.1.1 and QoS 0 are taken at
//! their word and set aside, and what follows arrives.

use std::io::Write;

use serde_json::Value;
use tidegate_tests::wait;

use crate::client::{Client, V3, V5, connect_with, dial, packet, publish, text, wordless};
use crate::gateway::{Gateway, start, stored};
use tidegate_tests::gateway::binary::password_hash;

/// Kept of a payload that is set aside.
const KEPT_BYTES: usize = 64 * 1024;

fn gateway() -> Gateway {
    start(&format!(
        "max_payload = \"100KiB\"\nmax_topic = \"100B\"\nmax_topic_levels = 8\n\
         [sources.floor.users.press]\npassword_hash = \"{}\"\n\
         publish = [\"a/#\", \"$SYS/#\", \"$aws/#\", \"$tidegate/#\"]\n",
        password_hash("open sesame")
    ))
}

fn press(gateway: &Gateway, level: u8, id: &str) -> Client {
    let login = [text(id), text("press"), text("open sesame")];
    let hello = connect_with(level, 0xc2, 60, &login);
    Client::over(dial(gateway.address), level, &hello)
}

/// Topics and payloads that are not taken, what MQTT 5 calls that, and a part of the reason.
fn not_taken() -> Vec<(String, usize, u8, &'static str)> {
    vec![
        ("b/c".into(), 3, 0x87, "not allowed to publish to b/c"),
        ("$other/c".into(), 3, 0x87, "not allowed"),
        ("$tidegate/source/up".into(), 3, 0x87, "the gateway's own"),
        ("a/b/c/d/e/f/g/h/i".into(), 3, 0x90, "max_topic_levels = 8"),
        (format!("a/{}", "x".repeat(99)), 3, 0x90, "max_topic = 100"),
        (format!("a/{}", "x".repeat(65_000)), 3, 0x90, "max_topic"),
        ("a/large".into(), 100 * 1024 + 1, 0x97, "over max_payload"),
        ("a/vast".into(), 200 * 1024, 0x97, "over max_payload"),
        ("a/huge".into(), 20 << 20, 0x97, "payload of 20971520 bytes"),
        ("b/huge".into(), 9 << 20, 0x87, "not allowed"),
    ]
}

/// Sends each with a good one behind it; gives the letters that ought to be there.
fn check(gateway: &Gateway, level: u8, qos: u8) -> usize {
    let mut client = press(gateway, level, &format!("c{level}{qos}"));
    let told = level == V5 && qos > 0;
    let first = [0, 0x40, 0x50][usize::from(qos)];
    for (topic, bytes, reason, _) in not_taken() {
        client.send(&publish(level, qos, 9, &topic, &vec![b'x'; bytes]));
        let mut expected = vec![0, 9];
        expected.extend(told.then_some(reason));
        if qos > 0 {
            assert_eq!(
                wordless(client.packet()),
                (first, expected),
                "{topic:.40} at {qos}"
            );
        }
        if qos == 2 && !told {
            client.send(&packet(0x62, &[0, 9]));
            assert_eq!(client.packet(), (0x70, vec![0, 9]));
        }
        assert!(client.stored("a/behind", b"1"), "after {topic:.40}");
    }
    if told { 0 } else { not_taken().len() }
}

#[test]
fn what_is_not_taken_is_answered_or_set_aside_and_holds_nothing_up() {
    let mut gateway = gateway();
    let mut expected = 0;
    for level in [V3, V5] {
        for qos in [0, 1, 2] {
            expected += check(&gateway, level, qos);
        }
    }
    wait::until("all are set aside", || {
        gateway.dead_letters().len() == expected
    });
    let letters_there = gateway.dead_letters();
    for (topic, bytes, _, why) in not_taken() {
        let of_it = |letter: &&Value| letter["event"]["topic"] == topic.as_str();
        let of_it: Vec<&Value> = letters_there.iter().filter(of_it).collect();
        assert_eq!(of_it.len(), 4, "{topic:.40}");
        for letter in of_it {
            assert_eq!(letter["cause"], "source");
            assert_eq!(letter["rule"], Value::Null);
            let reason = letter["reason"].as_str().expect("a reason");
            assert!(reason.contains(why), "{reason:.200}");
            let cut = format!("{KEPT_BYTES} of {bytes} bytes, the SHA-256");
            let cut = reason.replace("the first ", "").contains(&cut);
            assert_eq!(cut, bytes > KEPT_BYTES, "{reason:.200}");
        }
    }
    assert_eq!(stored(&gateway, "a/behind").len(), 6 * not_taken().len());
    // What is granted is taken, under `$` as under any other topic.
    for level in [V3, V5] {
        let mut client = press(&gateway, level, "granted");
        for topic in ["$SYS/broker/connection/x/state", "$aws/things/x"] {
            assert!(client.stored(topic, b"1"), "{topic}");
        }
    }
    let dir = gateway.path("archive.jsonl");
    gateway.wait_until("the bridge's state is sent on", || {
        std::fs::read_to_string(&dir).is_ok_and(|text| text.contains("$SYS/broker/connection/x"))
    });
    retried(&mut gateway);
}

/// What was kept whole can be sent on, what was cut cannot.
fn retried(gateway: &mut Gateway) {
    let letters = gateway.dead_letters();
    let id = |topic: &str| {
        let found = letters.iter().find(|l| l["event"]["topic"] == topic);
        found.and_then(|l| l["id"].as_str()).expect("it is there")
    };
    let retry = |arguments: &[&str]| {
        let all = [&["dead-letters", "retry"], arguments].concat();
        let output = gateway.ask(&all);
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (whole, cut) = (id("b/c"), id("a/huge"));
    assert!(!retry(&[whole]).0, "it was bound for no upstream");
    let (_, said) = retry(&[cut, "--to", "archive"]);
    assert!(said.contains("only the first part"), "{said}");
    assert_eq!(retry(&[whole, "--to", "archive"]), (true, String::new()));
    let archive = gateway.path("archive.jsonl");
    gateway.wait_until("it is sent on", || {
        std::fs::read_to_string(&archive).is_ok_and(|text| text.contains("\"b/c\""))
    });
}

#[test]
fn a_publish_with_more_user_properties_than_are_read_is_answered() {
    let gateway = start("");
    let mut client = Client::connect(gateway.address, V5, "chatty");
    let properties = [0x26, 0, 1, b'a', 0, 1, b'b'].repeat(1025);
    let mut body = [text("a"), vec![0, 9]].concat();
    body.extend([
        (properties.len() & 0x7f) as u8 | 0x80,
        (properties.len() >> 7) as u8,
    ]);
    body.extend(&properties);
    client.send(&packet(0x32, &body));
    assert_eq!(wordless(client.packet()), (0x40, vec![0, 9, 0x97]));
    assert!(client.stored("a", b"1"));
    // Larger than every packet: properties of 300 KB, with QoS 0.
    let large = [vec![0x26, 0, 1, b'a'], text(vec![b'v'; 60_000])]
        .concat()
        .repeat(5);
    let mut body = text("a/props");
    let (mut rest, mut length) = (large.len(), Vec::new());
    while rest > 0 {
        length.push((rest & 0x7f) as u8 | if rest > 0x7f { 0x80 } else { 0 });
        rest >>= 7;
    }
    body.extend(length);
    body.extend(&large);
    body.extend(b"payload");
    client.send(&packet(0x30, &body));
    assert!(client.stored("a", b"2"));
    wait::until("it is set aside", || gateway.dead_letters().len() == 1);
    assert_eq!(gateway.dead_letters()[0]["event"]["topic"], "a/props");
}

#[test]
fn an_oversized_publish_is_read_to_its_end_in_bounded_memory() {
    let gateway = start("");
    let before = gateway.resident_bytes();
    let mut client = Client::connect(gateway.address, V3, "whale");
    // The largest packet that MQTT knows, in pieces that cut its head anywhere.
    let payload = 268_435_455 - 4 - 2;
    client.send(&[0x32, 0xff]);
    client.send(&[0xff, 0xff, 0x7f, 0]);
    client.send(&[2, b'a']);
    client.send(&[b'a', 0]);
    client.send(&[5]);
    let piece = vec![b'x'; 1 << 20];
    let mut left = payload;
    let mut most = 0;
    while left > 0 {
        let now = left.min(piece.len());
        client.stream.write_all(&piece[..now]).expect("it reads on");
        left -= now;
        if left & 0x1ff_ffff < 1 << 20 {
            most = most.max(gateway.resident_bytes());
        }
    }
    assert_eq!(client.packet(), (0x40, vec![0, 5]));
    assert!(client.stored("a", b"1"));
    let grown = most.saturating_sub(before);
    assert!(grown < 16 << 20, "it grew by {grown} bytes");
    wait::until("it is set aside", || gateway.dead_letters().len() == 1);
}

/// CONNECT with a will of QoS 1 of a user that publishes under `a/`.
fn with_will(level: u8, topic: &str) -> Vec<u8> {
    let properties = vec![0; usize::from(level == V5)];
    let will = [text("mortal"), properties, text(topic), text("gone")];
    let login = [text("press"), text("open sesame")];
    connect_with(level, 0xce, 60, &[&will[..], &login].concat())
}

#[test]
fn a_will_that_may_not_be_published_is_set_aside() {
    let gateway = gateway();
    let mut expected = 0;
    for level in [V3, V5] {
        for topic in ["b/will", "$tidegate/x", "a/1/2/3/4/5/6/7/8/9", "$other/x"] {
            drop(Client::over(
                dial(gateway.address),
                level,
                &with_will(level, topic),
            ));
            expected += 1;
            wait::until(topic, || gateway.dead_letters().len() == expected);
        }
        drop(Client::over(
            dial(gateway.address),
            level,
            &with_will(level, "$SYS/will"),
        ));
    }
    wait::until("both granted wills", || {
        stored(&gateway, "$SYS/will").len() == 2
    });
    assert_eq!(gateway.dead_letters().len(), expected);
}

/// User properties of a PUBLISH with QoS 1.
fn attributes(topic: &str, id: u8, attributes: &[(&str, &str)]) -> Vec<u8> {
    let property = |(name, value): &(&str, &str)| [vec![0x26], text(name), text(value)].concat();
    let properties: Vec<u8> = attributes.iter().flat_map(property).collect();
    assert!(properties.len() < 0x80);
    let head = [text(topic), vec![0, id, properties.len() as u8]].concat();
    packet(0x32, &[head, properties, b"{}".to_vec()].concat())
}

#[test]
fn nobody_but_the_gateway_makes_its_system_events_and_those_of_another_are_taken() {
    let gateway = start("");
    let mut client = Client::connect(gateway.address, V5, "imitator");
    const KIND: &str = "dev.tidegate.source.up";
    type Case = (&'static str, &'static [(&'static str, &'static str)], bool);
    let cases: &[Case] = &[
        ("$tidegate/source/up", &[], false),
        ("$tidegate", &[], false),
        ("a/b", &[("type", KIND)], false),
        (
            "a/b",
            &[("ce-type", KIND), ("source", "plant-a/gateway")],
            false,
        ),
        (
            "$tidegate/source/up",
            &[("source", "plant-a/gateway"), ("type", KIND)],
            false,
        ),
        ("$tidegate/source/up", &[("source", "plant-a")], false),
        ("a/b", &[("type", "dev.tidewater.x")], true),
        ("$tidegate2/source/up", &[], true),
        ("$tidegates", &[], true),
        (
            "$tidegate/source/up",
            &[("source", "plant-b/gateway"), ("type", KIND)],
            true,
        ),
        (
            "$tidegate/source/up",
            &[("source", "plant-ab"), ("type", KIND)],
            true,
        ),
    ];
    for (number, (topic, with, taken)) in cases.iter().enumerate() {
        client.send(&attributes(topic, number as u8 + 1, with));
        let mut expected = vec![0, number as u8 + 1];
        expected.extend((!taken).then_some(0x87));
        assert_eq!(
            wordless(client.packet()),
            (0x40, expected),
            "{topic} {with:?}"
        );
    }
    // Another gateway's are events like others: they go on without a rule that asks for them.
    let archive = gateway.path("archive.jsonl");
    gateway.wait_until("they are sent on", || {
        let text = std::fs::read_to_string(&archive).unwrap_or_default();
        let all = [
            "plant-b/gateway",
            "\"plant-ab\"",
            "$tidegate2/",
            "$tidegates",
        ];
        all.iter().all(|part| text.contains(part))
    });
    let text = std::fs::read_to_string(&archive).expect("the archive");
    assert!(
        !text.contains("plant-a/gateway"),
        "our own go nowhere by themselves"
    );
}
