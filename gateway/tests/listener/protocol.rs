//! What is no MQTT, or against its rules, is closed with the standard's reason, counted, and felt
//! by nobody else.

use std::time::Duration;

use crate::client::{
    Client, V3, V5, connect, connect_with, dial, packet, publish, subscribe, text, unsubscribe,
};
use crate::gateway::{start, stored};
use tidegate_tests::wait;

const REFUSED: &str = "tidegate_source_malformed_total";

/// Packets of a client that was let in, and the reason in the DISCONNECT of MQTT 5. MQTT 3.1.1
/// has no such packet: there the connection just ends.
fn wrong_packets(level: u8) -> Vec<(&'static str, Vec<u8>, u8)> {
    let topic = |topic: &[u8]| publish(level, 1, 1, topic, b"1");
    vec![
        ("CONNECT twice", connect(level, "again"), 0x82),
        ("QoS 3", publish(level, 3, 1, "a", b"1"), 0x81),
        ("packet id 0", publish(level, 1, 0, "a", b"1"), 0x81),
        ("DUP with QoS 0", packet(0x38, b"\0\x01a\0"), 0x81),
        (
            "flags of a SUBSCRIBE",
            packet(0x80, b"\0\x01\0\0\x01a\0"),
            0x81,
        ),
        ("flags of a PINGREQ", vec![0xc1, 0], 0x81),
        ("flags of a PUBREL", vec![0x60, 2, 0, 1], 0x81),
        ("packet type 0", vec![0, 0], 0x81),
        ("a CONNACK", vec![0x20, 2, 0, 0], 0x81),
        ("an AUTH", vec![0xf0, 0], 0x81),
        ("a + in the topic", topic(b"a/+"), 0x90),
        ("a # in the topic", topic(b"#"), 0x90),
        ("an empty topic", topic(b""), 0x82),
        ("NUL in the topic", topic(b"a\0b"), 0x81),
        ("a topic that is no UTF-8", topic(b"a\xff"), 0x81),
        ("a surrogate in the topic", topic(b"a\xed\xa0\x80"), 0x81),
        ("over every size", vec![0x82, 0xff, 0xff, 0xff, 0x7f], 0x95),
        (
            "five bytes of length",
            vec![0x32, 0xff, 0xff, 0xff, 0xff, 1],
            0x81,
        ),
        ("a topic cut short", packet(0x32, b"\0\x09a"), 0x81),
        (
            "SUBSCRIBE to nothing",
            packet(0x82, &b"\0\x01\0"[..2 + usize::from(level == V5)]),
            0x82,
        ),
        ("SUBSCRIBE with QoS 3", subscribe(level, 1, "a", 3), 0x81),
        ("SUBSCRIBE with id 0", subscribe(level, 0, "a", 0), 0x81),
        ("UNSUBSCRIBE with id 0", unsubscribe(level, 0, "a"), 0x81),
    ]
}

/// What only MQTT 5 can get wrong.
fn wrong_packets_5() -> Vec<(&'static str, Vec<u8>, u8)> {
    let with = |properties: &[u8]| packet(0x30, &[b"\0\x01a", properties, b"1"].concat());
    vec![
        ("topic alias 0", with(&[3, 0x23, 0, 0]), 0x94),
        ("a topic alias", with(&[3, 0x23, 0, 1]), 0x94),
        ("an unknown property", with(&[2, 0x7f, 0]), 0x81),
        ("a property cut short", with(&[2, 0x23, 0]), 0x81),
        ("a property of CONNECT", with(&[3, 0x21, 0, 1]), 0x81),
        (
            "a property twice",
            with(&[8, 3, 0, 1, b'x', 3, 0, 1, b'y']),
            0x82,
        ),
        (
            "more properties than bytes",
            packet(0x30, b"\0\x01a\x7f"),
            0x81,
        ),
        ("a subscription id", with(&[2, 0x0b, 1]), 0x82),
        (
            "a subscription id where none is offered",
            packet(0x82, b"\0\x01\x02\x0b\x01\0\x01a\0"),
            0xa1,
        ),
    ]
}

/// Sends each to a connection of its own, beside a client that goes on as if nothing were.
fn check(level: u8, cases: Vec<(&'static str, Vec<u8>, u8)>) {
    let gateway = start("max_payload = \"1000B\"");
    let mut bystander = Client::connect(gateway.address, V5, "bystander");
    let count = cases.len() as u64;
    for (what, bytes, reason) in cases {
        let mut client = Client::connect(gateway.address, level, "wrong");
        client.send(&bytes);
        let expected = (level == V5).then_some(reason);
        assert_eq!(client.reason(), expected, "{what}");
        assert!(bystander.stored("by", b"1"), "after {what}");
    }
    wait::until("all are counted", || gateway.metric(REFUSED, "") == count);
    assert_eq!(gateway.metric("tidegate_source_connections", "floor"), 1);
    assert!(stored(&gateway, "a").is_empty(), "something was stored");
}

#[test]
fn what_is_against_the_rules_of_mqtt_5_is_closed_with_its_reason_and_counted() {
    check(V5, [wrong_packets(V5), wrong_packets_5()].concat());
}

#[test]
fn what_is_against_the_rules_of_mqtt_3_is_closed_and_counted() {
    check(V3, wrong_packets(V3));
}

#[test]
fn a_first_packet_that_is_no_good_connect_is_closed_with_the_answer_its_version_has() {
    let gateway = start("connect_timeout = \"2s\"");
    let mut bystander = Client::connect(gateway.address, V3, "bystander");
    let id = [text("x")];
    let mut name = connect(V3, "x");
    name[5] = b'X';
    let mut level = connect(V3, "x");
    level[8] = 3;
    let mut method = connect_with(V5, 2, 60, &[]);
    method.truncate(method.len() - 1);
    method.extend(b"\x05\x15\0\x02xx\0\x01x");
    method[1] += 8;
    let truncated = connect(V3, "x")[..9].to_vec();
    let cases: [(&str, Vec<u8>, &[u8]); 14] = [
        ("a PUBLISH first", publish(V3, 1, 1, "a", b"1"), b""),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), b""),
        ("another protocol's name", name, b""),
        ("the level of MQTT 3.1", level, b"\x20\x02\0\x01"),
        ("a reserved flag", connect_with(V3, 3, 60, &id), b""),
        (
            "a reserved flag in 5",
            connect_with(V5, 3, 60, &id),
            b"\x20\x03\0\x81\0",
        ),
        ("a will of QoS 3", connect_with(V3, 0x1e, 60, &id), b""),
        ("a QoS without a will", connect_with(V3, 0x0a, 60, &id), b""),
        (
            "a password without a user",
            connect_with(V3, 0x42, 60, &[text("x"), text("p")]),
            b"",
        ),
        (
            "no client id to keep",
            connect_with(V3, 0, 60, &[text("")]),
            b"\x20\x02\0\x02",
        ),
        ("an AUTH exchange", method, b"\x20\x03\0\x8c\0"),
        (
            "a size over all limits",
            vec![0x10, 0xff, 0xff, 0xff, 0x7f],
            b"",
        ),
        (
            "a will to a wildcard",
            connect_with(V5, 6, 60, &[text("x"), vec![0], text("a/#"), text("1")]),
            b"\x20\x03\0\x81\0",
        ),
        ("half a CONNECT, then silence", truncated, b""),
    ];
    let count = cases.len() as u64;
    for (what, bytes, expected) in cases {
        let mut stream = dial(gateway.address);
        std::io::Write::write_all(&mut stream, &bytes).expect("it reads");
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        assert_eq!(answer, expected, "{what}");
        assert!(bystander.stored("by", b"1"), "after {what}");
    }
    wait::until("all are counted", || gateway.metric(REFUSED, "") == count);
}

#[test]
fn a_packet_that_arrives_byte_by_byte_is_one_packet() {
    let gateway = start("");
    let mut client = Client::connect(gateway.address, V5, "slow");
    for byte in publish(V5, 1, 7, "a/b", b"21.5") {
        client.send(&[byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.packet(), (0x40, vec![0, 7]));
}

#[test]
fn one_address_holds_no_more_connections_than_it_may() {
    let gateway = start("max_connections_per_ip = 2");
    // The connection by which it was seen to listen may still count.
    let let_in = |id| {
        wait::find("there is room", || {
            let mut stream = dial(gateway.address);
            let sent = std::io::Write::write_all(&mut stream, &connect(V5, id));
            sent.and_then(|()| std::io::Read::read_exact(&mut stream, &mut [0]))
                .map(|()| stream)
        })
    };
    let first = let_in("one");
    let _second = let_in("two");
    let mut third = dial(gateway.address);
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut third, &mut answer);
    assert_eq!(answer, b"");
    drop(first);
    let _third = let_in("three");
    assert!(gateway.metric(REFUSED, "connections of one address") > 0);
}
