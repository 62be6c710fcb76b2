//! MQTT 3.1 (`MQIsdp`, level 3) is served, what is no version is told so, and a CONNECT may have 64 KiB.

use tidegate_tests::mqtt::packet;
use tidegate_tests::mqtt::raw::{
    Hello, LEVELS, PINGRESP, RawClient, V5, V31, V311, Will, publish, subscribe,
};
use tidegate_tests::peer;

use crate::{real, start, stored, topics};

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text].concat()
}

/// A CONNECT from its protocol name, level, flags and payload.
fn connect(name: &str, level: u8, flags: u8, payload: &[&[u8]]) -> Vec<u8> {
    let mut body = text(name.as_bytes());
    body.extend([level, flags, 0, 60]);
    payload.iter().for_each(|field| body.extend(text(field)));
    packet(0x10, &body)
}

/// What is said first, and the answer; none where the connection just closes.
type First = (&'static str, Vec<u8>, &'static [u8]);

fn of_mqtt_3_1() -> Vec<First> {
    let mut duplicate = connect("MQIsdp", 3, 2, &[b"dup"]);
    duplicate[0] = 0x1a;
    let mut half = connect("MQIsdp", 3, 0xc2, &[b"x"]);
    half.push(0);
    half[1] += 1;
    let long_id = "a client id that is longer than the 23 characters of MQTT 3.1";
    vec![
        ("3.1", connect("MQIsdp", 3, 2, &[b"x"]), &[0x20, 2, 0, 0]),
        (
            "3.1, a session to keep",
            connect("MQIsdp", 3, 0, &[b"x"]),
            &[0x20, 2, 0, 0],
        ),
        (
            "3.1, a long client id",
            connect("MQIsdp", 3, 2, &[long_id.as_bytes()]),
            &[0x20, 2, 0, 0],
        ),
        (
            "3.1, no client id",
            connect("MQIsdp", 3, 2, &[b""]),
            &[0x20, 2, 0, 2],
        ),
        (
            "3.1, bits that it does not use",
            connect("MQIsdp", 3, 3, &[b"x"]),
            &[0x20, 2, 0, 0],
        ),
        ("3.1, DUP", duplicate, &[0x20, 2, 0, 0]),
        (
            "3.1, a will's QoS without a will",
            connect("MQIsdp", 3, 0x2a, &[b"x"]),
            &[0x20, 2, 0, 0],
        ),
        (
            "3.1, a login that is missing",
            connect("MQIsdp", 3, 0xc2, &[b"x"]),
            &[0x20, 2, 0, 0],
        ),
        (
            "3.1, a password that is missing",
            connect("MQIsdp", 3, 0xc2, &[b"x", b"user"]),
            &[0x20, 2, 0, 0],
        ),
        ("3.1, half a login", half, &[]),
    ]
}

fn of_others() -> Vec<First> {
    vec![
        ("3.1.1", connect("MQTT", 4, 2, &[b"x"]), &[0x20, 2, 0, 0]),
        (
            "3.1.1, no client id",
            connect("MQTT", 4, 2, &[b""]),
            &[0x20, 2, 0, 0],
        ),
        (
            "3.1.1, a bit that it reserves",
            connect("MQTT", 4, 3, &[b"x"]),
            &[],
        ),
        (
            "the name of 3.1.1 and the level of 3.1",
            connect("MQTT", 3, 2, &[b"x"]),
            &[0x20, 2, 0, 1],
        ),
        (
            "the name of 3.1 and the level of 3.1.1",
            connect("MQIsdp", 4, 2, &[b"x"]),
            &[0x20, 2, 0, 1],
        ),
        (
            "the name of 3.1 and the level of 5",
            connect("MQIsdp", 5, 2, &[b"x"]),
            &[0x20, 3, 0, 0x84, 0],
        ),
        (
            "level 2",
            connect("MQIsdp", 2, 2, &[b"x"]),
            &[0x20, 2, 0, 1],
        ),
        ("level 6", connect("MQTT", 6, 2, &[b"x"]), &[0x20, 2, 0, 1]),
        (
            "a bridge of 3.1",
            connect("MQIsdp", 0x83, 2, &[b"x"]),
            &[0x20, 2, 0, 1],
        ),
        (
            "a bridge of 3.1.1",
            connect("MQTT", 0x84, 2, &[b"x"]),
            &[0x20, 2, 0, 1],
        ),
        ("another protocol", connect("MQIsdq", 3, 2, &[b"x"]), &[]),
    ]
}

#[test]
fn each_version_is_let_in_under_its_own_name_and_others_are_told() {
    let gateway = start("");
    let cases = of_mqtt_3_1().into_iter().chain(of_others());
    for (what, bytes, expected) in cases {
        let mut client = RawClient::dial(gateway.address);
        client.send(&bytes);
        let answer = client.packet();
        let answer = answer.map(|(first, body)| packet(first, &body));
        assert_eq!(answer.unwrap_or_default(), expected, "{what}");
        let is_let_in = expected.len() == 4 && expected[3] == 0;
        if is_let_in {
            client.send(&[0xc0, 0]);
            assert_eq!(client.packet(), Some(PINGRESP), "{what}");
            client.goodbye();
        } else {
            assert_eq!(client.packet(), None, "{what}: closed");
        }
    }
    let told = "protocol level 3 under this name is neither MQTT 3.1, 3.1.1 nor 5";
    assert!(gateway.whole_log().contains(told), "{}", gateway.log());
}

/// What is sent, and the packets that answer it: their first bytes and their bodies.
type Step = (&'static str, Vec<u8>, &'static [(u8, &'static [u8])]);

#[test]
fn a_session_of_mqtt_3_1_is_whole() {
    let gateway = start("");
    let mut client = RawClient::connect(gateway.address, &Hello::new(V31, "old"));
    let with = |first: u8, mut packet: Vec<u8>| {
        packet[0] = first;
        packet
    };
    let unsubscribe = packet(0xaa, &[&[0, 8][..], &text(b"a/#")].concat());
    // What 3.1.1 reserves means nothing here, or says that a packet is sent again.
    let steps: [Step; 10] = [
        (
            "SUBSCRIBE",
            subscribe(V31, 1, "a/#", 1),
            &[(0x90, &[0, 1, 1])],
        ),
        (
            "the same again",
            with(0x8a, subscribe(V31, 1, "a/#", 1)),
            &[(0x90, &[0, 1, 1])],
        ),
        (
            "to what is none",
            subscribe(V31, 2, "a/#/b", 1),
            &[(0x90, &[0, 2, 0x80])],
        ),
        ("PUBLISH", publish(V31, 1, 3, "b", b"1"), &[(0x40, &[0, 3])]),
        (
            "the same again",
            with(0x3a, publish(V31, 1, 3, "b", b"1")),
            &[(0x40, &[0, 3])],
        ),
        ("QoS 0, DUP", with(0x38, publish(V31, 0, 0, "b", b"0")), &[]),
        ("QoS 2", publish(V31, 2, 4, "b", b"2"), &[(0x50, &[0, 4])]),
        (
            "its release, again",
            vec![0x6a, 2, 0, 4],
            &[(0x70, &[0, 4])],
        ),
        ("UNSUBSCRIBE, again", unsubscribe, &[(0xb0, &[0, 8])]),
        ("PINGREQ with bits", vec![0xc1, 0], &[(0xd0, &[])]),
    ];
    for (what, bytes, answers) in steps {
        client.send(&bytes);
        for (first, body) in answers {
            assert_eq!(client.packet(), Some((*first, body.to_vec())), "{what}");
        }
    }
    assert_eq!(topics(&gateway, "b").len(), 4);
    client.send(&publish(V31, 1, 0, "b", b"no id"));
    assert_eq!(client.packet(), None, "closed");
}

#[test]
fn real_clients_of_each_version_talk_to_each_other() {
    let (Some(publisher), Some(subscriber)) = (
        peer::find("mosquitto_pub", "versions"),
        peer::find("mosquitto_sub", "versions"),
    ) else {
        return;
    };
    let gateway = start("");
    let versions = ["mqttv31", "mqttv311", "mqttv5"];
    let subscribers = versions.map(|version| {
        let mut client = real(
            &subscriber,
            &gateway,
            &["-V", version, "-q", "1", "-t", "talk"],
        );
        client.args(["-C", "9", "-F", "%p"]);
        client
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it starts")
    });
    gateway.wait_until("all listen", || {
        gateway.metric("tidegate_source_connections", "floor") == 3
    });
    // Whoever is connected is not yet subscribed: what is said before all are must not count.
    std::thread::sleep(std::time::Duration::from_secs(1));
    for version in versions {
        for qos in ["0", "1", "2"] {
            let said = format!("{version} {qos}");
            let mut client = real(
                &publisher,
                &gateway,
                &["-V", version, "-q", qos, "-t", "talk"],
            );
            let told = client.args(["-m", &said]).status().expect("it runs");
            assert!(told.success(), "{said}");
        }
    }
    for subscriber in subscribers {
        let heard = subscriber.wait_with_output().expect("it ends");
        let heard = String::from_utf8_lossy(&heard.stdout).into_owned();
        let expected =
            versions.map(|version| ["0", "1", "2"].map(|qos| format!("{version} {qos}\n")));
        assert_eq!(heard, expected.concat().concat());
    }
    assert_eq!(topics(&gateway, "talk").len(), 9);
}

/// A CONNECT with a will whose body has `bytes`, as far as a payload of at most 65,535 can make it.
fn of_size(level: u8, bytes: usize) -> Hello {
    let mut hello = Hello::new(level, "large").with_will("will/large");
    hello.user = Some("u".into());
    hello.password = Some(vec![b'p'; 20_000]);
    let body = |hello: &Hello| {
        let packet = hello.packet();
        packet.len() - 1 - if packet.len() > 16_384 { 3 } else { 2 }
    };
    let missing = bytes - body(&hello);
    let will: &mut Will = hello.will.as_mut().expect("a will");
    will.payload.extend(vec![b'w'; missing]);
    assert_eq!(body(&hello), bytes);
    hello
}

#[test]
fn a_connect_may_have_64_kib_and_no_more() {
    let gateway = start("");
    for level in LEVELS {
        for bytes in [20_100, 60_000, 65_535, 65_536] {
            let hello = of_size(level, bytes);
            let mut client = RawClient::dial(gateway.address);
            // In pieces, as a network brings it.
            for piece in hello.packet().chunks(1400) {
                client.send(piece);
            }
            client.await_connack();
            client.reset();
            let will = hello.will.expect("a will").payload;
            gateway.wait_until("its will, whole", || {
                let all = stored(&gateway, "will/large");
                let last = all
                    .last()
                    .and_then(|event| event["event"]["data"].as_str().map(str::len));
                last == Some(will.len())
            });
        }
        let mut client = RawClient::dial(gateway.address);
        client.send(&of_size(level, 65_537).packet()[..100]);
        let answer = client.packet();
        match level {
            V5 => assert_eq!(answer, Some((0x20, vec![0, 0x95, 0]))),
            _ => assert_eq!(answer, None, "closed"),
        }
    }
    assert!(gateway.whole_log().contains("at most 65536 are read"));
}

#[test]
fn half_of_many_large_connects_shuts_nobody_else_out() {
    let gateway = start("connect_timeout = \"4s\"");
    let half: Vec<_> = (0..60)
        .map(|_| {
            let mut client = RawClient::dial(gateway.address);
            client.send(&of_size(V311, 65_000).packet()[..5000]);
            client
        })
        .collect();
    for level in LEVELS {
        let mut client = RawClient::connect(gateway.address, &Hello::new(level, "small"));
        client.stored(level, "small", b"1");
    }
    for mut client in half {
        assert_eq!(client.packet(), None, "it had its time");
    }
    RawClient::connect(gateway.address, &of_size(V5, 65_000)).goodbye();
}
