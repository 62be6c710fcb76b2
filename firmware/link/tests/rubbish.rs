//! Frames with a good checksum that no peer would send: numbers beyond anything, messages of wrong lengths or of unknown
//! numbers. Nothing is let go of or taken for it.

use tidegate_link::frame::{FRAME_SIZE_MAX, decode, encode};
use tidegate_link::message::{Hello, Level, Payload, Record, ToDevice, ToGateway};
use tidegate_link::schema::FIELD_COUNT_MAX;
use tidegate_link::{
    Body, DeviceLink, EventId, Field, HostLink, Identity, Incoming, Kind, RamRing, Schema,
    Sequence, Value,
};

const DEVICE: [u8; 8] = *b"node-001";
const SESSION: u16 = 5;
const FIELD: Field<'static> = Field {
    name: "open",
    unit: "",
    kind: Kind::Boolean,
};

/// A message as its own bytes, which are put into a frame as they are.
struct Raw<'a>(&'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for byte in self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

fn bytes(message: impl serde::Serialize) -> Vec<u8> {
    let mut buffer = [0; FRAME_SIZE_MAX];
    let size = encode(&message, &mut buffer).expect("fits").len();
    decode(&mut buffer[..size - 1]).expect("a frame").to_vec()
}

/// A node with a ring of `N` bytes that is welcomed, has made ten records, and has sent eight.
fn node<const N: usize>() -> DeviceLink<RamRing<N>> {
    let identity = Identity {
        device: DEVICE,
        firmware: "1.0.0",
        slot: 0,
        schema: Schema { fields: &[FIELD] },
    };
    let mut node = DeviceLink::new(identity, RamRing::new(1));
    for _ in 0..10 {
        node.record(0, &[Value::Boolean(true)]).expect("room");
    }
    assert_eq!(sent(&mut node).len(), 1);
    tell(&mut node, &bytes(welcome(DEVICE, 1, SESSION, 0)));
    assert_eq!(sent(&mut node).len(), 8);
    node
}

fn welcome(device: [u8; 8], boot: u32, session: u16, next: u32) -> ToDevice {
    let next = Sequence(next);
    ToDevice::Welcome {
        device,
        boot,
        session,
        next,
    }
}

fn ack(session: u16, next: u32) -> Vec<u8> {
    let next = Sequence(next);
    bytes(ToDevice::Ack { session, next })
}

fn tell<const N: usize>(node: &mut DeviceLink<RamRing<N>>, message: &[u8]) {
    let mut buffer = [0; FRAME_SIZE_MAX];
    node.receive(encode(&Raw(message), &mut buffer).expect("fits"), 0);
}

/// The numbers of the messages that the node sends at once.
fn sent<const N: usize>(node: &mut DeviceLink<RamRing<N>>) -> Vec<u8> {
    let (mut buffer, mut sent) = ([0; FRAME_SIZE_MAX], Vec::new());
    while let Some(size) = node.transmit(0, &mut buffer).map(<[u8]>::len) {
        sent.push(decode(&mut buffer[..size - 1]).expect("a frame")[0]);
    }
    sent
}

#[test]
fn a_node_lets_nothing_go_for_what_cannot_be() {
    let far = 1 << 31;
    let mut cases = vec![
        ("no message", vec![]),
        ("an unknown number", vec![7]),
        ("an unknown number of two bytes", vec![0x87, 1, 5, 3]),
        ("an ack that ends too early", vec![2, 5]),
        ("an ack that goes on", [ack(SESSION, 3), vec![0]].concat()),
        (
            "a number beyond its type",
            vec![2, 5, 0x83, 0x80, 0x80, 0x80, 0x10],
        ),
        ("a session beyond its type", vec![2, 0x85, 0x80, 4, 3]),
        ("an ack of no session", ack(0, 3)),
        ("an ack of another session", ack(SESSION + 1, 3)),
        ("an ack that says nothing new", ack(SESSION, 0)),
    ];
    for next in [9, 10, 11, far - 1, far, far + 1, far + 8, far + 9, u32::MAX] {
        cases.push(("an ack beyond what was sent", ack(SESSION, next)));
        let again = welcome(DEVICE, 1, SESSION, next);
        cases.push((
            "a welcome that comes again, with another number",
            bytes(again),
        ));
    }
    for (device, boot, session, next) in [
        (*b"node-002", 1, 6, 3),
        (DEVICE, 2, 6, 3),
        (DEVICE, 1, 0, 3),
        (DEVICE, 1, 6, 11),
        (DEVICE, 1, 6, far - 1),
    ] {
        let other = welcome(device, boot, session, next);
        cases.push(("a welcome that is not meant", bytes(other)));
    }
    for (what, message) in cases {
        let mut node = node::<512>();
        tell(&mut node, &message);
        assert_eq!(
            (node.held(), sent(&mut node)),
            (10, vec![]),
            "{what}: {message:?}"
        );
        tell(&mut node, &ack(SESSION, 3));
        assert_eq!(
            (node.held(), sent(&mut node).len()),
            (7, 2),
            "after {what}: {message:?}"
        );
    }
}

#[test]
fn a_ring_that_dropped_more_than_was_sent_lets_nothing_go_for_an_ack_of_that() {
    for next in (0..=130).chain((0..=130).map(|n| n + (1 << 31))) {
        let mut node = node::<256>();
        for _ in 0..100 {
            node.record(0, &[Value::Boolean(true)]).expect("room");
        }
        let held = node.held();
        assert!(held < 100, "the ring has no room for more");
        tell(&mut node, &ack(SESSION, next));
        assert_eq!(node.held(), held, "{next}");
    }
}

#[test]
fn a_refusal_beyond_what_was_sent_holds_and_lets_nothing_go() {
    let mut node = node::<512>();
    tell(
        &mut node,
        &bytes(ToDevice::Refuse {
            session: SESSION,
            next: Sequence(9),
            retry_ms: u32::MAX,
        }),
    );
    assert_eq!((node.held(), sent(&mut node)), (10, vec![]));
    assert_eq!(
        node.next_deadline(),
        Some(60_000),
        "no longer than a minute"
    );
}

fn hello(next: u32, oldest: u32) -> ToGateway<'static> {
    ToGateway::Hello(Hello {
        device: DEVICE,
        boot: 1,
        session: SESSION,
        firmware: "",
        slot: 0,
        schema: 9,
        window: 8,
        next: Sequence(next),
        oldest: Sequence(oldest),
        lost: 0,
    })
}

fn event(sequence: u32, record: &[u8]) -> Vec<u8> {
    bytes(ToGateway::Event {
        session: SESSION,
        sequence: Sequence(sequence),
        record,
    })
}

/// What the gateway's half hands on for a message, in words.
fn hears(host: &mut HostLink, message: &[u8]) -> Option<String> {
    let mut buffer = [0; FRAME_SIZE_MAX];
    let mut frame = encode(&Raw(message), &mut buffer).expect("fits");
    host.receive(&mut frame, 0)
        .map(|incoming| format!("{incoming:?}"))
}

/// A gateway's half that has the node in its session and expects record 0.
fn gateway() -> HostLink {
    let mut host = HostLink::new(1);
    assert!(hears(&mut host, &bytes(hello(0, 0))).is_some());
    host.resume_in(SESSION, None, true, 0)
        .expect("somebody is there");
    host
}

#[test]
fn the_gateway_takes_nothing_of_what_it_cannot_read_whole() {
    let whole = event(0, &[1, 2]);
    let log = bytes(ToGateway::Log {
        level: Level::Debug,
        text: "on",
    });
    let cases = [
        ("no message", vec![]),
        ("an unknown number", vec![5]),
        (
            "an event that ends too early",
            whole[..whole.len() - 1].to_vec(),
        ),
        ("an event that goes on", [&whole[..], &[0]].concat()),
        (
            "a record longer than the frame",
            vec![1, 5, 0, 0xff, 0xff, 0x7f],
        ),
        ("an unknown level", vec![4, 4, 0]),
        ("a text that is none", vec![4, 0, 1, 0xff]),
        ("a log line that goes on", [&log[..], &[0]].concat()),
        ("an unknown kind", vec![3, 9, 0, 1, 1, b'a', 0, 3]),
    ];
    for (what, message) in cases {
        let mut host = gateway();
        let frames = host.counters().frames;
        assert_eq!(hears(&mut host, &message), None, "{what}");
        assert_eq!(
            (host.counters().unknown, host.counters().frames),
            (1, frames),
            "{what}"
        );
        assert!(hears(&mut host, &whole).is_some(), "after {what}");
    }
}

#[test]
fn a_node_whose_numbers_cannot_be_is_turned_away_and_reports_no_gap() {
    for (next, oldest) in [(5, 6), (0, 1), (5, 1 << 30), (u32::MAX, 3)] {
        let mut host = gateway();
        let heard = hears(&mut host, &bytes(hello(next, oldest))).expect("it is told");
        assert!(heard.starts_with("BootReused"), "{next}, {oldest}: {heard}");
        assert_eq!(hears(&mut host, &event(0, &[])), None, "{next}, {oldest}");
        let again = hears(&mut host, &bytes(hello(next, oldest))).expect("it is told");
        assert!(again.starts_with("Hello"), "{next}, {oldest}: {again}");
        assert!(host.resume(None, true, 0).is_err(), "{next}, {oldest}");
        assert_eq!(host.counters().lost, 0);
    }
}

#[test]
fn a_record_that_goes_on_is_kept_whole() {
    let payload = Payload::Readings {
        schema: 9,
        values: &[1],
    };
    let uptime_ms = 70;
    let record = bytes(Record { uptime_ms, payload });
    for (more, is_read) in [(&[][..], true), (&[0], false), (&[1, 2, 3], false)] {
        let record = [&record[..], more].concat();
        let (mut host, mut buffer) = (gateway(), [0; FRAME_SIZE_MAX]);
        let event = event(0, &record);
        let mut frame = encode(&Raw(&event), &mut buffer).expect("fits");
        let incoming = host.receive(&mut frame, 0);
        let Some(Incoming::Event { body, .. }) = incoming else {
            panic!("{more:?}: {incoming:?}");
        };
        match body {
            Body::Readings { values, .. } => assert!(is_read && values == [1], "{more:?}"),
            Body::Unreadable(bytes) => assert!(!is_read && bytes == record, "{more:?}"),
        }
    }
}

#[test]
fn a_field_that_a_newer_node_describes_stops_no_node() {
    // Key, index, count, name, unit, and what follows.
    let field = |key, index, rest: &[u8]| [&[3, key, index, 2, 1, b'a', 0], rest].concat();
    let cases = [
        ("an unknown kind", field(9, 0, &[3]), true),
        ("one with more to it", field(9, 0, &[0x83, 1, 7, 7]), true),
        ("a known kind with more to it", field(9, 0, &[0, 7]), true),
        ("nothing but key and index", vec![3, 9, 0], true),
        ("another field", field(9, 1, &[3]), false),
        ("another schema", field(8, 0, &[3]), false),
        ("another message", vec![9, 9, 0, 1, 1, b'a', 0, 3], false),
        ("no index", vec![3, 9], false),
    ];
    for (what, message, is_told) in cases {
        let mut host = HostLink::new(1);
        assert!(hears(&mut host, &bytes(hello(0, 0))).is_some());
        host.resume_in(SESSION, None, false, 0)
            .expect("somebody is there");
        let told = hears(&mut host, &message);
        let expected = is_told.then_some("SchemaUnreadable { key: 9 }");
        assert_eq!(told.as_deref(), expected, "{what}");
        assert_eq!(host.is_running(), is_told, "{what}");
        let event = hears(&mut host, &event(0, &[]));
        assert_eq!(event.is_some(), is_told, "{what}");
    }
}

#[test]
fn a_schema_that_is_too_long_or_that_nobody_knows_stops_no_node() {
    for (count, further) in [(0, 0), (1, 0), (2, 1), (32, 31), (33, 0), (u8::MAX, 0)] {
        assert_eq!(FIELD_COUNT_MAX, 32);
        let mut host = HostLink::new(1);
        assert!(hears(&mut host, &bytes(hello(0, 0))).is_some());
        host.resume(None, false, 0).expect("somebody is there");
        for index in 0..=further {
            assert!(
                !host.is_running(),
                "{count}: field {index} is still to come"
            );
            let field = bytes(ToGateway::SchemaField {
                key: 9,
                index,
                count,
                field: FIELD,
            });
            assert!(hears(&mut host, &field).is_some(), "{count}: field {index}");
        }
        assert!(host.is_running(), "{count}");
    }
}

#[test]
fn who_does_not_hear_is_known_by_what_it_says_again() {
    let mut buffer = [0; FRAME_SIZE_MAX];
    let mut tell = |host: &mut HostLink, message: &[u8], now_ms| {
        let mut frame = encode(&Raw(message), &mut buffer).expect("fits");
        host.receive(&mut frame, now_ms);
    };
    let mut host = HostLink::new(1);
    tell(&mut host, &bytes(hello(2, 0)), 1_000);
    host.resume_in(SESSION, None, false, 1_000)
        .expect("somebody is there");
    tell(&mut host, &bytes(hello(2, 0)), 5_000);
    assert_eq!(host.unheard_ms(6_000), Some(1_000));
    let field = bytes(ToGateway::SchemaField {
        key: 9,
        index: 0,
        count: 2,
        field: FIELD,
    });
    tell(&mut host, &field, 7_000);
    assert_eq!(host.unheard_ms(8_000), Some(7_000), "it does answer");
    host = gateway();
    assert_eq!(host.unheard_ms(8_000), None);
    for now_ms in [9_000, 10_000] {
        tell(&mut host, &event(0, &[]), now_ms);
    }
    assert_eq!(host.unheard_ms(10_000), None, "it is not stored yet");
    host.acknowledge(EventId {
        device: DEVICE,
        boot: 1,
        sequence: Sequence(0),
    });
    for now_ms in [11_000, 16_000, 21_000] {
        tell(&mut host, &event(0, &[]), now_ms);
    }
    assert_eq!(host.unheard_ms(22_000), Some(11_000));
    assert_eq!(host.unheard_ms(31_000), None, "it has nothing to say");
    tell(&mut host, &event(0, &[]), 31_000);
    assert_eq!(host.unheard_ms(31_000), Some(31_000));
    tell(&mut host, &event(1, &[]), 32_000);
    assert_eq!(host.unheard_ms(32_000), None, "it goes on");
}
