//! A will goes unless the client takes it back with "normal disconnection", or the gateway stops in order.

use std::process::Stdio;

use tidegate_tests::gateway::{End, Gateway};
use tidegate_tests::mqtt::raw::{
    DISCONNECT, Hello, LEVELS, RawClient, V5, V31, V311, Will, publish, subscribe,
};
use tidegate_tests::{peer, wait};

use crate::{real, start, stored, topics};

/// How a connection ends.
#[derive(Debug, Clone)]
enum Ending {
    /// After these bytes the gateway closes it, in MQTT 5 with this reason where there is one.
    Bytes(Vec<u8>, Option<u8>),
    /// The client closes after these.
    Closed(Vec<u8>),
    /// The client resets it.
    Reset,
    /// Nothing is sent any more.
    Silence,
    /// Another connection has the same client id.
    TakenOver,
}

use Ending::{Bytes, Closed, Reset, Silence, TakenOver};

/// Endings, and whether the will goes.
fn endings(level: u8) -> Vec<(String, Ending, bool)> {
    let hello = Hello::new(level, "again").packet();
    let wild = publish(level, 1, 1, "a/+", b"1");
    let mut all: Vec<(&str, Ending, bool)> = vec![
        ("DISCONNECT", Bytes(DISCONNECT.into(), None), false),
        ("DISCONNECT, closed", Closed(DISCONNECT.into()), false),
        ("closed", Closed(vec![]), true),
        ("closed within a packet", Closed(vec![0x32, 9, 0]), true),
        ("half a DISCONNECT", Closed(vec![0xe0]), true),
        ("reset", Reset, true),
        ("silence", Silence, true),
        ("taken over", TakenOver, true),
        ("CONNECT twice", Bytes(hello, Some(0x82)), true),
        ("QoS 3", Bytes(vec![0x36, 3, 0, 1, b'a'], Some(0x81)), true),
        ("a wildcard", Bytes(wild, Some(0x90)), true),
        (
            "no topic",
            Bytes(publish(level, 0, 0, "", b"1"), Some(0x82)),
            true,
        ),
        ("no packet type", Bytes(vec![0, 0], Some(0x81)), true),
    ];
    all.extend(of_version(level));
    let all = all.into_iter();
    let mut all: Vec<_> = all
        .map(|(what, ending, goes)| (what.to_owned(), ending, goes))
        .collect();
    if level == V5 {
        let reasons = [
            4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
        ];
        let words = reasons.map(|reason| {
            let ending = Bytes(vec![0xe0, 1, reason], None);
            (format!("DISCONNECT {reason:#04x}"), ending, true)
        });
        all.extend(words);
    }
    all
}

/// DISCONNECTs that only some version has.
fn of_version(level: u8) -> Vec<(&'static str, Ending, bool)> {
    let told = |bytes: &[u8], reason| Bytes(bytes.to_vec(), reason);
    if level != V5 {
        // Bytes behind a DISCONNECT are none of MQTT 3: it is no DISCONNECT.
        return vec![
            ("DISCONNECT with 0", told(&[0xe0, 1, 0], None), true),
            ("DISCONNECT with 4", told(&[0xe0, 1, 4], None), true),
        ];
    }
    let with_words = b"\xe0\x0f\0\x0d\x1f\0\x03bye\x26\0\x01k\0\x01v";
    let ends = b"\xe0\x07\0\x05\x11\0\0\0\0";
    let outlives = b"\xe0\x07\0\x05\x11\0\0\0\x09";
    vec![
        ("0", told(&[0xe0, 1, 0], None), false),
        ("0 without properties", told(&[0xe0, 2, 0, 0], None), false),
        ("0 with properties", told(with_words, None), false),
        ("0, an expiry of 0", told(ends, None), false),
        (
            "0, an expiry that CONNECT had not",
            told(outlives, Some(0x82)),
            true,
        ),
        (
            "0, a property of CONNACK",
            told(&[0xe0, 4, 0, 2, 0x2a, 1], Some(0x81)),
            true,
        ),
        (
            "0, bytes behind it",
            told(&[0xe0, 3, 0, 0, 9], Some(0x81)),
            true,
        ),
    ]
}

/// Lets a client with a will in, and ends its connection.
fn run(gateway: &Gateway, level: u8, what: &str, topic: &str, ending: &Ending) {
    let mut hello = Hello::new(level, topic).with_will(topic);
    if matches!(ending, Silence) {
        hello.keep_alive_s = 1;
    }
    let mut client = RawClient::connect(gateway.address, &hello);
    match ending {
        Bytes(bytes, reason) => {
            client.send(bytes);
            let expected = reason.filter(|_| level == V5);
            assert_eq!(client.reason(), expected, "{level} {what}");
        }
        Closed(bytes) => client.send(bytes),
        Reset => client.reset(),
        Silence => {
            let expected = (level == V5).then_some(0x8d);
            assert_eq!(client.reason(), expected, "{level} {what}");
        }
        TakenOver => {
            let other = Hello::new(level, topic);
            let other = RawClient::connect(gateway.address, &other);
            let expected = (level == V5).then_some(0x8e);
            assert_eq!(client.reason(), expected, "{level} {what}");
            other.goodbye();
        }
    }
}

#[test]
fn a_will_goes_unless_disconnect_says_that_all_is_well() {
    let gateway = start("");
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for level in LEVELS {
        for (at, (what, ending, goes)) in endings(level).into_iter().enumerate() {
            let topic = format!("will/{level}/{at}");
            run(&gateway, level, &what, &topic, &ending);
            let list = if goes { &mut going } else { &mut staying };
            list.push((topic, what));
        }
    }
    for (topic, what) in &going {
        gateway.wait_until(&format!("the will of {topic}, {what}"), || {
            topics(&gateway, topic).len() == 1
        });
    }
    for (topic, what) in &staying {
        assert!(topics(&gateway, topic).is_empty(), "{topic} {what}");
    }
    for will in stored(&gateway, "will/#") {
        assert_eq!(will["event"]["data"], "gone", "{will}");
    }
    let lost = stored(&gateway, "$tidegate/client/lost").len();
    assert_eq!(lost, going.len(), "each is told, and no other");
}

#[test]
fn a_disconnect_that_waits_behind_a_full_window_takes_the_will_back() {
    let gateway = start("receive_max = 2");
    for level in [V31, V311] {
        let topic = format!("will/{level}");
        let hello = Hello::new(level, &topic).with_will(&topic);
        let mut client = RawClient::connect(gateway.address, &hello);
        let publishes = (1..=50).map(|id| publish(level, 1, id, &format!("data/{level}"), b"1"));
        let mut all = publishes.collect::<Vec<_>>().concat();
        all.extend(DISCONNECT);
        client.send(&all);
        client.until_closed();
        gateway.wait_until("all are stored", || {
            topics(&gateway, &format!("data/{level}")).len() == 50
        });
    }
    assert!(topics(&gateway, "will/#").is_empty());
}

#[test]
fn a_will_ends_its_session_and_so_waits_for_no_delay() {
    let gateway = start("");
    let delay = b"\x18\0\0\x0e\x10";
    for (at, expiry) in [
        &b""[..],
        b"\x11\0\0\0\0",
        b"\x11\0\0\x0e\x10",
        b"\x11\xff\xff\xff\xff",
    ]
    .iter()
    .enumerate()
    {
        let topic = format!("will/{at}");
        let mut hello = Hello::new(V5, &topic).with_will(&topic);
        hello.properties = expiry.to_vec();
        let will = hello.will.as_mut().expect("a will");
        will.properties = delay.to_vec();
        let client = RawClient::connect(gateway.address, &hello);
        let told = client
            .connack
            .windows(5)
            .any(|five| five == b"\x11\0\0\0\0");
        assert!(
            told,
            "no session outlives its connection: {:?}",
            client.connack
        );
        drop(client);
        gateway.wait_until("the will goes at once", || {
            topics(&gateway, &topic).len() == 1
        });
    }
}

#[test]
fn a_will_is_stored_with_all_that_it_has() {
    let gateway = start("");
    for level in LEVELS {
        let mut hello = Hello::new(level, "whole");
        hello.will = Some(Will {
            topic: format!("will/{level}"),
            payload: b"\x00\xff, not a text".into(),
            retain: true,
            properties: b"\x03\0\x0atext/plain\x26\0\x04room\0\x01\x37".to_vec(),
        });
        RawClient::connect(gateway.address, &hello).reset();
        let mut found = Vec::new();
        gateway.wait_until("the will", || {
            found = stored(&gateway, &format!("will/{level}"));
            !found.is_empty()
        });
        let event = &found[0]["event"];
        assert_eq!(event["retain"], "true", "{event}");
        if level == V5 {
            assert_eq!(event["datacontenttype"], "text/plain", "{event}");
            assert_eq!(event["room"], "7", "{event}");
        }
    }
}

#[test]
fn a_will_reaches_subscribers_with_the_qos_that_it_has() {
    let gateway = start("");
    let mut subscriber = RawClient::connect(gateway.address, &Hello::new(V5, "subscriber"));
    subscriber.send(&subscribe(V5, 1, "will/#", 1));
    assert_eq!(subscriber.packet().map(|it| it.0), Some(0x90));
    for level in LEVELS {
        for qos in 0..=2 {
            let mut packet = Hello::new(level, "w").with_will("will/x").packet();
            // The connect flags stand behind the name of the protocol and the level; the will has QoS 1 there.
            let flags = 2 + 2 + if level == V31 { 6 } else { 4 } + 1;
            packet[flags] = packet[flags] & !0x18 | qos << 3;
            let mut client = RawClient::dial(gateway.address);
            client.send(&packet);
            client.await_connack();
            client.reset();
            let (first, body) = subscriber.packet().expect("the will");
            assert_eq!((first >> 1) & 3, qos.min(1), "level {level}, QoS {qos}");
            if qos > 0 {
                let id = [body[8], body[9]];
                subscriber.send(&[&[0x40, 2][..], &id].concat());
            }
        }
    }
}

#[test]
fn what_a_client_publishes_is_not_followed_by_the_will_of_its_earlier_connection() {
    let gateway = start("");
    for level in LEVELS {
        let topic = format!("state/{level}");
        let hello = Hello::new(level, &topic).with_will(&topic);
        let mut open = Vec::new();
        for _ in 0..10 {
            let mut client = RawClient::dial(gateway.address);
            let online = publish(level, 1, 7, &topic, b"online");
            client.send(&[hello.packet(), online].concat());
            client.await_connack();
            assert_eq!(client.packet(), Some((0x40, vec![0, 7])));
            open.push(client);
        }
        open.pop().expect("the last").goodbye();
        let payloads: Vec<_> = stored(&gateway, &topic)
            .iter()
            .map(|event| event["event"]["data"].to_string())
            .collect();
        let expected = [r#""online""#, r#""gone""#].repeat(10);
        assert_eq!(payloads, expected[..19], "{level}");
    }
}

#[test]
fn a_gateway_that_stops_publishes_no_wills() {
    for end in [End::Terminated, End::Killed] {
        let mut gateway = start("");
        let mut open = Vec::new();
        for level in LEVELS {
            for (kind, more) in [
                ("idle", vec![]),
                ("within a packet", vec![0x32, 9, 0]),
                ("publishing", publish(level, 1, 1, "data", b"1")),
                (
                    "subscribed",
                    tidegate_tests::mqtt::raw::subscribe(level, 1, "#", 1),
                ),
            ] {
                let topic = format!("will/{level}/{kind}");
                let hello = Hello::new(level, &topic).with_will(&topic);
                let mut client = RawClient::connect(gateway.address, &hello);
                client.send(&more);
                open.push((level, client));
            }
        }
        gateway.end(end);
        for (level, client) in &mut open {
            let reason = client.reason();
            if *level == V5 && matches!(end, End::Terminated) {
                assert_eq!(reason, Some(0x8b));
            }
        }
        gateway.start();
        assert!(topics(&gateway, "will/#").is_empty(), "{end:?}");
        assert!(
            topics(&gateway, "$tidegate/client/lost").is_empty(),
            "{end:?}"
        );
        let hello = Hello::new(V311, "next").with_will("will/next");
        drop(RawClient::connect(gateway.address, &hello));
        gateway.wait_until("wills go again", || {
            topics(&gateway, "will/#") == ["will/next"]
        });
    }
}

#[test]
fn real_clients_leave_a_will_when_they_are_killed_and_none_when_they_end() {
    let Some(program) = peer::find("mosquitto_sub", "wills") else {
        return;
    };
    let gateway = start("");
    let mut sender = RawClient::connect(gateway.address, &Hello::new(V5, "sender"));
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for (end, goes) in [("killed", true), ("ended", false)] {
            let topic = format!("will/{version}/{end}");
            // It ends by itself once it has heard one message.
            let arguments = ["-V", version, "-t", "hello", "-C", "1", "--will-qos", "1"];
            let mut client = real(&program, &gateway, &arguments);
            client.args(["--will-topic", &topic, "--will-payload", "gone"]);
            let mut client = client.stdout(Stdio::null()).spawn().expect("it starts");
            gateway.wait_until("the client is there", || {
                gateway.metric("tidegate_source_connections", "floor") == 2
            });
            if goes {
                client.kill().expect("it runs");
            }
            wait::until("the client ends", || {
                let ended = client.try_wait().expect("a child").is_some();
                if !ended {
                    sender.stored(V5, "hello", b"hello");
                }
                ended
            });
            wait::until("the gateway knows", || {
                gateway.metric("tidegate_source_connections", "floor") == 1
            });
            if goes {
                gateway.wait_until("its will", || topics(&gateway, &topic).len() == 1);
            }
        }
    }
    let ended = topics(&gateway, "will/+/ended");
    assert!(ended.is_empty(), "{ended:?}");
}
