//! The retain flag is taken, stored and sent on; that nobody gets retained messages here yet is said.

use tidegate_tests::mqtt::raw::{Hello, LEVELS, RawClient, V5, publish, subscribe};

use crate::{start, stored};

#[test]
fn a_retained_message_is_taken_and_stored_and_the_status_says_what_is_not_done_with_it() {
    let gateway = start("");
    for level in LEVELS {
        let topic = format!("kept/{level}");
        let mut client = RawClient::connect(gateway.address, &Hello::new(level, "sensor"));
        let refuses = client.connack.windows(2).any(|pair| pair == [0x25, 0]);
        assert!(!refuses, "Retain Available stays 1: {:?}", client.connack);
        let mut early = RawClient::connect(gateway.address, &Hello::new(level, "early"));
        early.send(&subscribe(level, 1, &topic, 1));
        assert_eq!(early.packet().expect("granted").0, 0x90);
        for (id, payload) in [(1, &b"1"[..]), (2, b"")] {
            let mut retained = publish(level, 1, id, &topic, payload);
            retained[0] |= 1;
            client.send(&retained);
            assert_eq!(client.packet(), Some((0x40, vec![0, id as u8])));
            assert_eq!(early.packet().expect("an event").0 & 0xf0, 0x30);
        }
        for event in stored(&gateway, &topic) {
            assert_eq!(event["event"]["retain"], "true", "{event}");
        }
        // Who subscribes later gets what comes later.
        let mut late = RawClient::connect(gateway.address, &Hello::new(level, "late"));
        late.send(&subscribe(level, 1, &topic, 1));
        assert_eq!(late.packet().expect("granted").0, 0x90);
        client.stored(level, &topic, b"live");
        let (_, body) = late.packet().expect("an event");
        assert!(body.ends_with(b"live"), "{body:?}");
    }
    let note = "retained messages are stored and sent on; new subscribers get none yet";
    let shown = gateway.ask(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("floor: {note}")), "{shown}");
    assert!(
        shown
            .lines()
            .filter(|line| line.contains(note))
            .all(|line| line.len() <= 80)
    );
    let notes = gateway.status()["sources"][0]["notes"].clone();
    assert_eq!(notes, serde_json::json!([note]));
    let readme = include_str!("../../../../gateway/README.md");
    assert!(
        readme.contains("get nothing retained yet"),
        "the README says so too"
    );
}

#[test]
fn a_retain_handling_that_is_none_is_refused() {
    let gateway = start("");
    for handling in 0..4 {
        let mut client = RawClient::connect(gateway.address, &Hello::new(V5, "reader"));
        client.send(&subscribe(V5, 1, "a", 1 | handling << 4));
        match handling {
            3 => assert_eq!(client.reason(), Some(0x82)),
            _ => assert_eq!(client.packet().expect("granted").0, 0x90),
        }
    }
}
