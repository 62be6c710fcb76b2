//! What a publisher is told, and what is stored: QoS 0, 1 and 2, keep-alive, take-over, wills.

use std::time::{Duration, Instant};

use crate::client::{Client, V3, V5, connect, connect_with, packet, publish, text};
use crate::gateway::{Gateway, start, stored};
use tidegate_tests::wait::{self, PATIENCE};

const PUBREL: u8 = 0x62;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

fn payloads(gateway: &Gateway, topic: &str) -> usize {
    stored(gateway, topic).len()
}

#[test]
fn each_qos_is_answered_as_the_standard_says_and_stored_once() {
    let gateway = start("");
    for (level, name) in [(V3, "three"), (V5, "five")] {
        let mut client = Client::connect(gateway.address, level, name);
        client.send(&publish(level, 0, 0, name, b"zero"));
        client.ping();
        client.send(&publish(level, 1, 1, name, b"one"));
        assert_eq!(client.packet(), (0x40, vec![0, 1]));
        client.send(&publish(level, 2, 2, name, b"two"));
        assert_eq!(client.packet(), (PUBREC, vec![0, 2]));
        client.send(&packet(PUBREL, &[0, 2]));
        assert_eq!(client.packet(), (PUBCOMP, vec![0, 2]));
        wait::until("three are stored", || payloads(&gateway, name) == 3);
    }
    let counted = |metric| gateway.metric(metric, "floor");
    assert_eq!(counted("tidegate_source_events_accepted_total"), 6);
    assert_eq!(counted("tidegate_source_bytes_accepted_total"), 20);
}

#[test]
fn a_qos_2_publish_sent_again_is_one_event_until_its_release() {
    let gateway = start("");
    let mut client = Client::connect(gateway.address, V5, "twice");
    let first = publish(V5, 2, 9, "exactly", b"1");
    let mut again = first.clone();
    again[0] |= 8;
    client.send(&first);
    assert_eq!(client.packet(), (PUBREC, vec![0, 9]));
    client.send(&again);
    assert_eq!(client.packet(), (PUBREC, vec![0, 9]));
    for _ in 0..2 {
        client.send(&packet(PUBREL, &[0, 9]));
        assert_eq!(client.packet(), (PUBCOMP, vec![0, 9]));
    }
    assert_eq!(payloads(&gateway, "exactly"), 1);
    client.send(&first);
    assert_eq!(client.packet(), (PUBREC, vec![0, 9]));
    assert_eq!(payloads(&gateway, "exactly"), 2);
}

#[test]
fn a_release_before_its_answer_does_not_swallow_the_next_event() {
    let gateway = start("");
    let mut client = Client::connect(gateway.address, V5, "hasty");
    let early = [publish(V5, 2, 9, "hasty", b"1"), packet(PUBREL, &[0, 9])].concat();
    client.send(&early);
    let answers = [client.packet().0, client.packet().0];
    assert!(answers.contains(&PUBREC) && answers.contains(&PUBCOMP));
    client.send(&publish(V5, 2, 9, "hasty", b"2"));
    assert_eq!(client.packet(), (PUBREC, vec![0, 9]));
    assert_eq!(payloads(&gateway, "hasty"), 2);
}

#[test]
fn silence_for_one_and_a_half_keep_alives_ends_the_connection() {
    let gateway = start("");
    for (level, expected) in [(V3, None), (V5, Some(0x8d))] {
        let hello = connect_with(level, 2, 2, &[text("still")]);
        let stream = crate::client::dial(gateway.address);
        let began = Instant::now();
        let mut client = Client::over(stream, level, &hello);
        std::thread::sleep(Duration::from_secs(1));
        client.ping();
        assert_eq!(client.reason(), expected);
        assert!(began.elapsed() >= Duration::from_secs(4));
    }
}

#[test]
fn a_newer_connection_of_the_same_client_id_takes_over() {
    let gateway = start("");
    for (level, expected) in [(V3, None), (V5, Some(0x8e))] {
        let mut old = Client::connect(gateway.address, level, "same");
        let mut new = Client::connect(gateway.address, level, "same");
        assert_eq!(old.reason(), expected);
        assert!(new.stored("new", b"1"));
    }
}

#[test]
fn a_client_that_never_stops_sending_can_be_taken_over() {
    let gateway = start("");
    let flood = Client::connect(gateway.address, V5, "same").stream;
    let mut writer = flood.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let pings = [0xc0, 0].repeat(4096);
        while std::io::Write::write_all(&mut writer, &pings).is_ok() {}
    });
    let mut reader = flood;
    let (told, answered) = std::sync::mpsc::channel();
    let answers = std::thread::spawn(move || {
        let mut piece = [0; 65536];
        while let Ok(count @ 1..) = std::io::Read::read(&mut reader, &mut piece) {
            let _ = told.send(count);
        }
    });
    let mut bytes = 0;
    while bytes < 100_000 {
        bytes += answered.recv_timeout(PATIENCE).expect("answers");
    }
    let mut new = Client::connect(gateway.address, V5, "same");
    wait::until("the old one is gone", || {
        gateway.metric("tidegate_source_connections", "floor") == 1
    });
    sender.join().expect("it ends");
    answers.join().expect("it ends");
    assert!(new.stored("new", b"1"));
}

/// CONNECT with a will of QoS 1.
fn with_will(level: u8, id: &str, topic: &str) -> Vec<u8> {
    let properties = if level == V5 { vec![0] } else { vec![] };
    let will = [text(id), properties, text(topic), text("gone")];
    connect_with(level, 0x0e, 60, &will)
}

#[test]
fn a_will_is_stored_when_its_client_is_lost_and_not_when_it_says_goodbye() {
    let gateway = start("");
    let let_in = |level, topic: &str| {
        let stream = crate::client::dial(gateway.address);
        Client::over(stream, level, &with_will(level, "mortal", topic))
    };
    for (level, name) in [(V3, "three"), (V5, "five")] {
        let topic = |what: &str| format!("will/{name}/{what}");
        drop(let_in(level, &topic("lost")));
        let mut wrong = let_in(level, &topic("wrong"));
        wrong.send(&connect(level, "again"));
        wrong.until_closed();
        let mut polite = let_in(level, &topic("polite"));
        polite.send(&[0xe0, 0]);
        polite.until_closed();
        wait::until("two wills", || {
            payloads(&gateway, &topic("lost")) + payloads(&gateway, &topic("wrong")) == 2
        });
        assert_eq!(payloads(&gateway, &topic("polite")), 0);
    }
    let mut client = let_in(V5, "will/asked");
    client.send(&[0xe0, 1, 4]);
    client.until_closed();
    wait::until("the will asked for", || {
        payloads(&gateway, "will/asked") == 1
    });
}

#[test]
fn more_publishes_under_way_than_agreed_close_the_connection() {
    let gateway = start("receive_max = 2");
    let mut client = Client::connect(gateway.address, V5, "eager");
    let many: Vec<u8> = (1..50)
        .flat_map(|id| publish(V5, 1, id, "eager", b"1"))
        .collect();
    client.send(&many);
    assert_eq!(client.reason(), Some(0x93));
}

#[test]
fn with_mqtt_5_a_qos_2_publish_counts_as_under_way_until_its_pubcomp() {
    let gateway = start("receive_max = 2");
    let stored = |client: &mut Client, level: u8, id: u16| {
        client.send(&publish(level, 2, id, "eager", b"1"));
        assert_eq!(client.packet(), (PUBREC, id.to_be_bytes().to_vec()));
    };
    let mut client = Client::connect(gateway.address, V5, "five");
    for round in 0..3 {
        for id in 1..3 {
            stored(&mut client, V5, id + round);
        }
        for id in 1..3 {
            client.send(&packet(PUBREL, &(id + round).to_be_bytes()));
            assert_eq!(client.packet().0, PUBCOMP);
        }
    }
    for id in 1..3 {
        stored(&mut client, V5, id);
    }
    // A repetition is no further one.
    stored(&mut client, V5, 2);
    client.send(&publish(V5, 2, 3, "eager", b"1"));
    assert_eq!(client.reason(), Some(0x93));

    // MQTT 3.1.1 has no such number.
    let mut client = Client::connect(gateway.address, V3, "three");
    for id in 1..9 {
        stored(&mut client, V3, id);
    }
}

#[test]
fn who_is_told_why_its_connection_ends_can_read_it_however_much_it_sent_before() {
    let gateway = start("receive_max = 2");
    for kind in ["publishes", "topic alias", "a second CONNECT"] {
        let mut client = Client::connect(gateway.address, V5, "eager");
        let (wrong, expected) = match kind {
            "publishes" => (
                (1..4)
                    .flat_map(|id| publish(V5, 2, id, "eager", b"1"))
                    .collect(),
                0x93,
            ),
            "topic alias" => (
                packet(0x30, &[&text("")[..], &[3, 0x23, 0, 1]].concat()),
                0x94,
            ),
            _ => (connect(V5, "again"), 0x82),
        };
        client.send(&wrong);
        // It sends on before it looks.
        for id in 1..200 {
            client.send(&packet(PUBREL, &u16::to_be_bytes(id)));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(client.reason(), Some(expected), "{kind}");
    }
}
