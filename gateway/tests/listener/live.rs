//! Subscribers get events as they happen, and whoever does not keep up harms only itself.

use std::time::{Duration, Instant};

use crate::client::{Client, V3, V5, packet, publish, subscribe, text, unsubscribe};
use crate::gateway::start;
use tidegate_tests::wait;

/// Subscribes to one filter; the code in the SUBACK.
fn granted(client: &mut Client, level: u8, filter: &str, options: u8) -> u8 {
    client.send(&subscribe(level, 3, filter, options));
    let (first, body) = client.packet();
    assert_eq!((first, &body[..2]), (0x90, &[0, 3][..]));
    *body.last().expect("a code")
}

/// Topic and payload of the next PUBLISH, acknowledged where it asks for that.
fn event(client: &mut Client, level: u8) -> (u8, String, Vec<u8>) {
    let (first, body) = client.packet();
    assert_eq!(first & 0xf0, 0x30, "{first:#x} {body:?}");
    let qos = first >> 1 & 3;
    let (topic, mut rest) = body[2..].split_at(usize::from(body[1]));
    if qos > 0 {
        client.send(&packet(0x40, &rest[..2]));
        rest = &rest[2..];
    }
    if level == V5 {
        let (properties, at) = match rest[0] {
            short @ 0..0x80 => (usize::from(short), 1),
            low => (usize::from(low & 0x7f) | usize::from(rest[1]) << 7, 2),
        };
        rest = &rest[at + properties..];
    }
    let topic = String::from_utf8(topic.to_vec()).expect("UTF-8");
    (qos, topic, rest.to_vec())
}

#[test]
fn a_subscriber_gets_what_matches_with_the_lower_qos_until_it_unsubscribes() {
    let gateway = start("");
    let mut publisher = Client::connect(gateway.address, V5, "publisher");
    for level in [V3, V5] {
        let mut client = Client::connect(gateway.address, level, "subscriber");
        for (asked, expected) in [(0, 0), (1, 1), (2, 1)] {
            assert_eq!(granted(&mut client, level, "hall/+/temp", asked), expected);
            assert!(publisher.stored("hall/7/hum", b"50"));
            assert!(publisher.stored("hall/7/temp", b"21.5"));
            let got = event(&mut client, level);
            assert_eq!(got, (expected, "hall/7/temp".into(), b"21.5".to_vec()));
        }
        client.send(&unsubscribe(level, 4, "hall/+/temp"));
        let codes: &[u8] = if level == V5 { &[0, 4, 0, 0] } else { &[0, 4] };
        assert_eq!(client.packet(), (0xb0, codes.to_vec()));
        client.send(&unsubscribe(level, 5, "never"));
        let codes: &[u8] = if level == V5 {
            &[0, 5, 0, 0x11]
        } else {
            &[0, 5]
        };
        assert_eq!(client.packet(), (0xb0, codes.to_vec()));
        assert!(publisher.stored("hall/7/temp", b"22"));
        client.ping();
    }
}

#[test]
fn what_is_published_right_behind_a_subscribe_reaches_its_subscriber() {
    let gateway = start("");
    for level in [V3, V5] {
        for round in 0..20 {
            let mut client = Client::connect(gateway.address, level, "both");
            let mut both = subscribe(level, 3, "own/temp", 0);
            both.extend(publish(level, 0, 0, "own/temp", b"21.5"));
            client.send(&both);
            let (first, _) = client.packet();
            assert_eq!(first, 0x90, "a SUBACK, in round {round}");
            let expected = (0, "own/temp".to_owned(), b"21.5".to_vec());
            assert_eq!(event(&mut client, level), expected, "round {round}");
        }
    }
}

#[test]
fn a_suback_says_of_each_filter_why_it_is_refused() {
    let gateway = start("max_subscriptions = 1");
    for (level, refusals) in [(V3, [0x80; 4]), (V5, [0x9e, 0x8f, 0x8f, 0x97])] {
        let mut client = Client::connect(gateway.address, level, "asking");
        let filters = ["$share/group/a", "a/#/b", "", "b"];
        assert_eq!(granted(&mut client, level, "a", 1), 1);
        for (filter, code) in filters.into_iter().zip(refusals) {
            assert_eq!(granted(&mut client, level, filter, 1), code, "{filter}");
        }
        assert_eq!(granted(&mut client, level, "a", 0), 0, "the one it has");
    }
}

#[test]
fn a_wildcard_at_the_front_does_not_match_the_gateways_own_topics() {
    let gateway = start("");
    let mut all = Client::connect(gateway.address, V5, "all");
    let mut own = Client::connect(gateway.address, V5, "own");
    assert_eq!(granted(&mut all, V5, "#", 0), 0);
    assert_eq!(granted(&mut own, V5, "$tidegate/#", 0), 0);
    // A client lost with its will is an event of the gateway's own.
    let will = [text("mortal"), vec![0], text("will"), text("gone")];
    let hello = crate::client::connect_with(V5, 6, 60, &will);
    drop(Client::over(
        crate::client::dial(gateway.address),
        V5,
        &hello,
    ));
    let (_, topic, _) = event(&mut own, V5);
    assert!(topic.starts_with("$tidegate/"), "{topic}");
    assert_eq!(event(&mut all, V5).1, "will");
    all.ping();
}

#[test]
fn with_no_local_a_client_does_not_hear_itself() {
    let gateway = start("");
    let mut client = Client::connect(gateway.address, V5, "echo");
    let mut other = Client::connect(gateway.address, V5, "other");
    assert_eq!(granted(&mut client, V5, "a", 0b100), 0);
    assert!(client.stored("a", b"own"));
    assert!(other.stored("a", b"another's"));
    assert_eq!(event(&mut client, V5).2, b"another's");
}

/// The user properties of a PUBLISH of MQTT 5 that are the sender's or say that it is a CloudEvent, and its payload.
fn with_properties(client: &mut Client) -> (Vec<String>, Vec<u8>) {
    let (first, body) = client.packet();
    let mut at = 2 + usize::from(body[1]);
    if first & 6 > 0 {
        client.send(&packet(0x40, &body[at..at + 2]));
        at += 2;
    }
    let (length, from) = match body[at] {
        short @ 0..0x80 => (usize::from(short), at + 1),
        low => (
            usize::from(low & 0x7f) | usize::from(body[at + 1]) << 7,
            at + 2,
        ),
    };
    let (mut properties, payload) = body[from..].split_at(length);
    let mut names = Vec::new();
    while let Some((&0x26, rest)) = properties.split_first() {
        let (name, rest) = rest[2..].split_at(usize::from(rest[1]));
        properties = &rest[2 + usize::from(rest[1])..];
        let name = String::from_utf8(name.to_vec()).expect("UTF-8");
        if name == "specversion" || name.starts_with("own") {
            names.push(name);
        }
    }
    (names, payload.to_vec())
}

#[test]
fn a_client_gets_what_fits_its_largest_packet_and_what_fits_only_without_attributes_so() {
    let gateway = start("");
    let mut publisher = Client::connect(gateway.address, V5, "publisher");
    let own = [vec![0x26], text("own"), text("1")].concat();
    // The bytes that the client takes, the sender's properties, the bytes of the payload, and whether it arrives with all
    // attributes of the event.
    let cases: [(u32, &[u8], usize, Option<bool>); 10] = [
        (64, b"", 32, Some(false)),
        (64, b"", 58, Some(false)),
        (64, b"", 59, None),
        (64, b"", 64, None),
        (64, &own, 49, Some(false)),
        (64, &own, 50, None),
        (100_000, b"", 64, Some(true)),
        (100_000, &own, 64, Some(true)),
        (250, &own, 200, Some(false)),
        (1, b"", 0, None),
    ];
    let mut missed = 0;
    for (at, (packet_bytes_max, properties, bytes, expected)) in cases.into_iter().enumerate() {
        for qos in [0, 1] {
            let case = format!("{packet_bytes_max} {properties:?} {bytes} QoS {qos}");
            let mut hello = crate::client::connect(V5, "small");
            let limit = [&[5, 0x27][..], &packet_bytes_max.to_be_bytes()].concat();
            hello.splice(12..13, limit);
            hello[1] += 5;
            let mut small = Client::over(crate::client::dial(gateway.address), V5, &hello);
            assert_eq!(granted(&mut small, V5, "a", qos), qos);
            // With QoS 1 the packet has an identifier.
            let payload = vec![b'0' + at as u8; bytes.saturating_sub(2 * usize::from(qos))];
            let body = [
                &text("a")[..],
                &[0, 7, properties.len() as u8],
                properties,
                &payload,
            ];
            publisher.send(&packet(0x32, &body.concat()));
            assert_eq!(publisher.packet(), (0x40, vec![0, 7]), "{case}");
            match expected {
                Some(whole) => {
                    let names = [("specversion", whole), ("own", !properties.is_empty())];
                    let names = names.into_iter().filter(|(_, there)| *there);
                    let names = names.map(|(name, _)| name.to_owned()).collect();
                    assert_eq!(with_properties(&mut small), (names, payload), "{case}");
                }
                None => {
                    missed += 1;
                    small.ping();
                    let metric = "tidegate_source_missed_total";
                    wait::until(&case, || gateway.metric(metric, "") == missed);
                }
            }
        }
    }
    assert_eq!(gateway.metric("tidegate_source_missed_total", ""), missed);
}

#[test]
fn a_subscriber_that_reads_late_gets_everything_and_slows_nobody() {
    const EVENTS: usize = 600;
    let mut gateway = start("");
    let mut late = Client::connect(gateway.address, V5, "late");
    granted(&mut late, V5, "#", 0);
    let mut publisher = Client::connect(gateway.address, V5, "publisher");
    let mut data = vec![b'x'; 32 * 1024];
    for number in 0..EVENTS as u32 {
        data[..4].copy_from_slice(&number.to_be_bytes());
        assert!(publisher.stored("large", &data));
    }
    for number in 0..EVENTS as u32 {
        let (_, _, data) = event(&mut late, V5);
        assert_eq!(data[..4], number.to_be_bytes());
    }
    assert_eq!(gateway.metric("tidegate_source_missed_total", ""), 0);
    let mut stuck = Client::connect(gateway.address, V5, "stuck");
    granted(&mut stuck, V5, "#", 0);
    for id in 1..300 {
        publisher.send(&publish(V5, 1, id, "large", &data));
        publisher.packet();
    }
    let began = Instant::now();
    gateway.terminate();
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "it held up the end: {took:?}"
    );
}

/// CONNECT with the window that the client has for what it is sent: MQTT 3.1.1 cannot say it.
fn with_window(address: std::net::SocketAddr, level: u8, id: &str, window: u16) -> Client {
    let mut hello = crate::client::connect(level, id);
    if level == V5 {
        let [high, low] = window.to_be_bytes();
        hello.splice(12..13, [3, 0x21, high, low]);
        hello[1] += 3;
    }
    Client::over(crate::client::dial(address), level, &hello)
}

#[test]
fn what_a_subscriber_asked_for_arrives_whole_and_in_order_whatever_its_window() {
    const EVENTS: u32 = 500;
    let gateway = start("");
    let cases = [
        (V5, 1, 1),
        (V5, 2, 1),
        (V5, 20, 1),
        (V5, 65_535, 1),
        (V5, 1, 2),
        (V5, 1, 0),
        (V3, 0, 1),
        (V3, 0, 0),
    ];
    for (at, (level, window, qos)) in cases.into_iter().enumerate() {
        let case = format!("level {level}, window {window}, QoS {qos}");
        let topic = format!("window/{at}");
        let mut client = with_window(gateway.address, level, "reader", window);
        granted(&mut client, level, &topic, qos);
        let mut publisher = Client::connect(gateway.address, V5, "publisher");
        for number in 0..EVENTS {
            let id = (number % 400 + 1) as u16;
            publisher.send(&publish(V5, 1, id, &topic, &number.to_be_bytes()));
            if number >= 10 {
                publisher.packet();
            }
        }
        for number in 0..EVENTS {
            let (got, _, data) = event(&mut client, level);
            assert_eq!(
                (got, data),
                (qos.min(1), number.to_be_bytes().to_vec()),
                "{case}"
            );
        }
    }
    assert_eq!(gateway.metric("tidegate_source_missed_total", ""), 0);
}

#[test]
fn an_event_arrives_at_the_lower_of_both_qos() {
    let gateway = start("");
    for level in [V3, V5] {
        let mut publisher = Client::connect(gateway.address, level, "publisher");
        for asked in 0..=2 {
            let mut client = Client::connect(gateway.address, level, "reader");
            granted(&mut client, level, "lower", asked);
            for sent in 0..=2 {
                let data = [asked, sent];
                publisher.send(&publish(level, sent, 9, "lower", &data));
                match sent {
                    0 => {}
                    1 => assert_eq!(publisher.packet().0, 0x40),
                    _ => {
                        assert_eq!(publisher.packet().0, 0x50);
                        publisher.send(&packet(0x62, &[0, 9]));
                        assert_eq!(publisher.packet().0, 0x70);
                    }
                }
                let (got, _, payload) = event(&mut client, level);
                assert_eq!(payload, data);
                assert_eq!(got, asked.min(sent).min(1), "{asked} asked, {sent} sent");
            }
        }
    }
}

#[test]
fn a_subscription_begins_with_its_subscribe_even_if_the_client_lags() {
    let gateway = start("");
    let mut client = with_window(gateway.address, V5, "reader", 1);
    granted(&mut client, V5, "a", 1);
    let mut publisher = Client::connect(gateway.address, V5, "publisher");
    for data in [b"1", b"2"] {
        assert!(publisher.stored("a", data));
        assert!(publisher.stored("b", data));
    }
    // One is under way unacknowledged: the place in the log is before "b" 1 and 2.
    let (_, first) = client.packet();
    assert_eq!(first.last(), Some(&b'1'));
    assert_eq!(granted(&mut client, V5, "b", 1), 1);
    assert!(publisher.stored("b", b"3"));
    client.send(&packet(0x40, &first[3..5]));
    assert_eq!(event(&mut client, V5), (1, "a".into(), b"2".to_vec()));
    assert_eq!(event(&mut client, V5), (1, "b".into(), b"3".to_vec()));
}

#[test]
fn a_subscriber_far_behind_costs_no_memory_and_gets_all_or_is_told_why_not() {
    const EVENTS: u32 = 100_000;
    for keep_for in ["24h", "0s"] {
        let keys = format!("\n[store]\nkeep_for = \"{keep_for}\"\n");
        let gateway = start(&keys);
        let mut client = with_window(gateway.address, V5, "far", 1);
        granted(&mut client, V5, "far/#", 1);
        let mut publisher = Client::connect(gateway.address, V5, "publisher");
        let mut data = vec![b'.'; 200];
        let before = gateway.resident_bytes();
        for number in 0..EVENTS {
            data[..4].copy_from_slice(&number.to_be_bytes());
            data[4..12].copy_from_slice(
                &u64::from(number)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .to_be_bytes(),
            );
            let id = (number % 60_000 + 1) as u16;
            publisher.send(&publish(V5, 1, id, "far/away", &data));
            if number >= 100 {
                publisher.packet();
            }
        }
        let after = gateway.resident_bytes();
        assert!(after < before + (24 << 20), "{before} to {after} bytes");
        let mut read = 0;
        let reason = loop {
            let Some((first, body)) = client.try_packet() else {
                break None;
            };
            if first == 0xe0 {
                break Some(body);
            }
            assert_eq!(first & 0xf0, 0x30);
            let id = &body[10..12];
            client.send(&packet(0x40, id));
            assert_eq!(body[body.len() - 200..][..4], u32::to_be_bytes(read));
            read += 1;
            if read == EVENTS {
                break None;
            }
        };
        match reason {
            None => assert_eq!(read, EVENTS, "{keep_for}: it ended without a word"),
            Some(body) => {
                assert_eq!(keep_for, "0s", "a day is kept: {body:?}");
                assert_eq!(body[0], 0x97);
                let why = String::from_utf8_lossy(&body[5..]);
                assert!(why.contains("no longer kept"), "{why}");
            }
        }
    }
}
