//! What a broker says or does not say: an event is blamed for what is said of it alone, and an upstream for the rest.

use std::time::Duration;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::broker::{Answer, Broker};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{mqtt, wait};

/// A gateway that forwards to `address` with these keys.
fn gateway(address: std::net::SocketAddr, keys: &str) -> Gateway {
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\nretry_min = \"20ms\"\nretry_max = \"200ms\"\n{keys}\n"
    ));
    gateway.start();
    gateway
}

/// Publishes with QoS 1, one after the other.
fn publish(gateway: &Gateway, messages: &[(&str, &[u8])]) {
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("let in");
    for (topic, payload) in messages {
        mqtt::publish_acknowledged(&mut stream, topic, 1, payload);
    }
}

/// The dead letters' topics and reasons.
fn letters(gateway: &Gateway) -> Vec<(String, String)> {
    let all = gateway.dead_letters();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter()
        .map(|letter| (text(&letter["event"]["topic"]), text(&letter["reason"])))
        .collect()
}

fn wait_for_letters(gateway: &Gateway, count: usize) -> Vec<(String, String)> {
    wait::for_count("dead letters", count, || letters(gateway).len());
    letters(gateway)
}

fn disconnects(gateway: &Gateway) -> u64 {
    gateway.metric("tidegate_upstream_disconnects", "cloud")
}

/// Three events of which the second is answered with `reason`: the others are delivered once, and it is a dead letter with
/// that reason, without a new connection.
fn refused_alone(qos: u8, reason: u8) {
    let broker = Broker::start(&[], move |message| match message.topic.as_str() {
        "t/bad" => Answer::Reason(reason),
        _ => Answer::Reason(0),
    });
    let gateway = gateway(broker.address, &format!("qos = {qos}\nrefusals_max = 3"));
    let x = &b"x"[..];
    publish(&gateway, &[("t/1", x), ("t/bad", x), ("t/2", x)]);
    let letters = wait_for_letters(&gateway, 1);
    assert_eq!(letters[0].0, "t/bad");
    let number = format!("(0x{reason:02x})");
    assert!(letters[0].1.contains(&number), "{letters:?}");
    publish(&gateway, &[("t/3", x)]);
    wait::for_count("all arrive", 6, || broker.topics().len());
    let count = |topic: &str| broker.topics().iter().filter(|t| *t == topic).count();
    assert_eq!(
        [count("t/1"), count("t/2"), count("t/3"), count("t/bad")],
        [1, 1, 1, 3]
    );
    assert_eq!(
        broker.seen().connections,
        1,
        "qos {qos}, reason {reason:#x}"
    );
    assert_eq!(disconnects(&gateway), 0);
}

#[test]
fn a_reason_in_a_puback_or_a_pubrec_is_a_refusal_of_that_event_alone() {
    std::thread::scope(|scope| {
        for (qos, reason) in [
            (1, 0x80),
            (1, 0x87),
            (1, 0x90),
            (1, 0x95),
            (1, 0x9a),
            (1, 0xfe),
            (2, 0x83),
            (2, 0x87),
            (2, 0x95),
            (2, 0x99),
        ] {
            scope.spawn(move || refused_alone(qos, reason));
        }
    });
}

#[test]
fn refused_events_of_qos_2_do_not_fill_the_window() {
    let broker = Broker::start(&[3, 0x21, 0, 2], |message| {
        Answer::Reason(if message.topic == "t/bad" { 0x87 } else { 0 })
    });
    let gateway = gateway(broker.address, "qos = 2\nrefusals_max = 1");
    let x = &b"x"[..];
    let mut messages = vec![("t/bad", x); 20];
    messages.push(("t/good", x));
    publish(&gateway, &messages);
    assert_eq!(wait_for_letters(&gateway, 20).len(), 20);
    wait::until("the good one arrives", || {
        broker.topics().iter().any(|t| t == "t/good")
    });
    assert_eq!(broker.seen().connections, 1);
    assert!(broker.seen().under_way_max <= 2);
}

#[test]
fn a_link_that_is_cut_again_and_again_makes_no_dead_letter() {
    for cuts in [1, 5, 12] {
        let mut left = cuts;
        let broker = Broker::start(&[], move |message| {
            // It works once, and then it is cut at each event that is alone in flight.
            if message.topic != "t/1" && left > 0 {
                left -= 1;
                return Answer::Cut;
            }
            Answer::Reason(0)
        });
        let gateway = gateway(broker.address, "");
        publish(&gateway, &[("t/1", b"x")]);
        wait::for_count("the first arrives", 1, || broker.topics().len());
        publish(&gateway, &[("t/2", b"x")]);
        wait::for_count("the next is cut", 2, || broker.topics().len());
        publish(&gateway, &[("t/3", b"x"), ("t/4", b"x")]);
        wait::until("everything is delivered", || {
            gateway.metric("tidegate_upstream_delivered", "cloud") >= 4
        });
        assert_eq!(letters(&gateway), [], "{cuts} cuts");
        if cuts < 5 {
            // What was under way when the link was cut comes again.
            let mut first: Vec<String> = Vec::new();
            for topic in broker.topics() {
                if !first.contains(&topic) {
                    first.push(topic);
                }
            }
            assert_eq!(first, ["t/1", "t/2", "t/3", "t/4"], "in order");
        }
    }
}

#[test]
fn the_one_event_over_which_a_broker_hangs_up_becomes_a_dead_letter_and_holds_up_nobody() {
    for with in [Answer::Cut, Answer::Disconnect(0x95)] {
        let broker = Broker::start(&[], move |message| match message.topic.as_str() {
            "t/bad" => with,
            _ => Answer::Reason(0),
        });
        let gateway = gateway(broker.address, "refusals_max = 2");
        let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("let in");
        let mut sent = 0_u32;
        wait::until("the bad one is a dead letter", || {
            sent += 1;
            let topic = if sent == 1 { "t/bad" } else { "t/good" };
            mqtt::publish_acknowledged(&mut stream, topic, 1, sent.to_string().as_bytes());
            std::thread::sleep(Duration::from_millis(20));
            !letters(&gateway).is_empty()
        });
        let letters = letters(&gateway);
        assert_eq!((letters.len(), &*letters[0].0), (1, "t/bad"), "{letters:?}");
        wait::until("all others are delivered", || {
            gateway.metric("tidegate_upstream_delivered", "cloud") >= u64::from(sent) - 1
        });
        if with == Answer::Disconnect(0x95) {
            assert!(
                letters[0].1.contains("packet too large (0x95)"),
                "{letters:?}"
            );
        }
    }
}

#[test]
fn the_limits_of_a_broker_are_kept_to_the_byte() {
    let broker = Broker::start(&[8, 0x27, 0, 0, 1, 0, 0x21, 0, 1][1..], |_| {
        Answer::Reason(0)
    });
    let gateway = gateway(broker.address, "");
    let x = vec![b'x'; 400];
    publish(&gateway, &[("a/b", &x[..1]), ("a/b", &x[..300])]);
    wait::for_count("the first arrives", 1, || broker.topics().len());
    let around = 256 - broker.seen().published[0].packet_bytes + 1;
    // Ids grow with their number, and lengths over 127 take one byte more.
    let letters = wait_for_letters(&gateway, 1);
    assert!(
        letters[0]
            .1
            .contains("over the broker's maximum packet size 256"),
        "{letters:?}"
    );
    // A time that ends with 0 is shorter: each size is tried more than once.
    for bytes in (around - 6..around + 6).flat_map(|bytes| [bytes; 4]) {
        publish(&gateway, &[("a/b", &x[..bytes])]);
    }
    wait::until("each is delivered or a dead letter", || {
        let delivered = gateway.metric("tidegate_upstream_delivered", "cloud") as usize;
        delivered + letters_of(&gateway) >= 2 + 4 * 12
    });
    let seen = broker.seen();
    let largest = seen
        .published
        .iter()
        .map(|message| message.packet_bytes)
        .max();
    assert_eq!(largest, Some(256), "the limit itself is used");
    assert_eq!((seen.connections, seen.under_way_max), (1, 1));
}

fn letters_of(gateway: &Gateway) -> usize {
    letters(gateway).len()
}

#[test]
fn what_no_event_passes_holds_the_lane_with_one_trouble() {
    for (properties, keys, says) in [
        (&[0x25, 0][..], "retain = true", "`retain = false`"),
        (&[0x24, 1], "qos = 2", "`qos = 1`"),
        (&[0x24, 0], "qos = 1", "never acknowledges"),
        (&[0x27, 0, 0, 0, 20], "qos = 1", "packets of 20 bytes"),
        (&[0x27, 0, 0, 0, 128], "qos = 2", "packets of 128 bytes"),
        (
            &[0x27, 0, 0, 0, 160],
            "format = \"structured\"",
            "packets of 160 bytes",
        ),
    ] {
        let broker = Broker::start(properties, |_| Answer::Cut);
        let gateway = gateway(broker.address, keys);
        publish(&gateway, &[("t", &b"x"[..]); 3]);
        wait::for_count("it tries again", 8, || broker.seen().connections);
        let status = gateway.status();
        let troubles: Vec<&str> = status["troubles"]
            .as_array()
            .expect("troubles")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert!(troubles[0].contains(says), "{troubles:?}");
        assert!(broker.topics().is_empty() && letters(&gateway).is_empty());
        let log = gateway.whole_log();
        assert_eq!(log.matches(says).count(), 1, "told once: {log}");
    }
}

#[test]
fn a_keep_alive_that_the_broker_asks_for_is_kept() {
    for (seconds, pings) in [(0_u8, 1), (1, 3), (60, 1)] {
        let broker = Broker::start(&[0x13, 0, seconds], |_| Answer::Reason(0));
        let gateway = gateway(broker.address, "keep_alive = \"3s\"");
        wait::until("it pings", || broker.seen().pings >= pings);
        publish(&gateway, &[("t", b"x")]);
        wait::for_count("it arrives", 1, || broker.topics().len());
        assert_eq!(broker.seen().connections, 1, "{seconds} s");
    }
}

#[test]
fn why_a_connection_is_over_is_told_in_the_brokers_words() {
    for (answer, says) in [
        (
            Answer::Disconnect(0x8e),
            "another client has this client id",
        ),
        (Answer::Disconnect(0x98), "administrative action (0x98)"),
        (Answer::Disconnect(0xee), "unknown reason (0xee)"),
        (Answer::Cut, "the broker closed the connection"),
    ] {
        let broker = Broker::start(&[], move |_| answer);
        let gateway = gateway(broker.address, "");
        publish(&gateway, &[("t", b"x")]);
        gateway.wait_until(says, || gateway.whole_log().contains(says));
    }
}

#[test]
fn a_real_broker_refuses_an_event_and_limits_packets_once_each() {
    const TEST: &str = "a_real_broker_refuses_an_event_and_limits_packets_once_each";
    let folder = tempfile::tempdir().expect("a folder");
    let acl = folder.path().join("acl");
    std::fs::write(&acl, "topic write ok/#\ntopic read #\n").expect("written");
    let more = format!("acl_file {}\nmax_packet_size 2000", acl.display());
    let Some(mut broker) = Mosquitto::with(TEST, &more) else {
        return;
    };
    broker.start();
    let gateway = gateway(broker.address, "refusals_max = 2");
    let large = vec![b'x'; 2000];
    publish(
        &gateway,
        &[
            ("ok/1", b"x"),
            ("no/1", b"x"),
            ("ok/2", &large),
            ("ok/3", b"x"),
        ],
    );
    let letters = wait_for_letters(&gateway, 2);
    let of = |topic: &str| letters.iter().find(|letter| letter.0 == topic);
    assert!(
        of("no/1").is_some_and(|letter| letter.1.contains("not authorized (0x87)")),
        "{letters:?}"
    );
    assert!(
        of("ok/2").is_some_and(|letter| letter.1.contains("maximum packet size 2000")),
        "{letters:?}"
    );
    wait::until("the others are delivered", || {
        gateway.metric("tidegate_upstream_delivered", "cloud") >= 2
    });
    // This broker hangs up by itself after each acknowledgement that refuses; what else comes breaks nothing.
    assert!(disconnects(&gateway) <= 2, "{}", gateway.log());
}
