//! What either half makes of messages that come at the wrong time, from the wrong side of a restart, or not at all.

use tidegate_link::device::{HELLO_MS, RETRANSMIT_MS_MIN};
use tidegate_link::frame::{FRAME_SIZE_MAX, decode, encode};
use tidegate_link::host::WELCOME_MS_MAX;
use tidegate_link::message::{Hello, Level, ToDevice, ToGateway};
use tidegate_link::{
    DeviceLink, DurableMark, EventId, Field, HostLink, Identity, Incoming, Kind, RamRing,
    ResumeError, Schema, Sequence, Value,
};

type Device = DeviceLink<RamRing<512>>;

const DEVICE: [u8; 8] = *b"node-001";
const FIELDS: &[Field<'static>] = &[
    Field {
        name: "temperature",
        unit: "Cel",
        kind: Kind::Integer { exponent: -1 },
    },
    Field {
        name: "open",
        unit: "",
        kind: Kind::Boolean,
    },
];

fn device(boot: u32) -> Device {
    let schema = Schema { fields: FIELDS };
    DeviceLink::new(
        Identity {
            device: DEVICE,
            firmware: "1.0.0",
            slot: 0,
            schema,
        },
        RamRing::new(boot),
    )
}

fn id(boot: u32, sequence: u32) -> EventId {
    EventId {
        device: DEVICE,
        boot,
        sequence: Sequence(sequence),
    }
}

fn tell(device: &mut Device, message: ToDevice, now_ms: u64) {
    let mut buffer = [0; FRAME_SIZE_MAX];
    device.receive(encode(&message, &mut buffer).expect("fits"), now_ms);
}

/// Everything the node sends at this moment: `Hello`, or the numbers of events.
fn sent(device: &mut Device, now_ms: u64) -> Vec<String> {
    let (mut buffer, mut sent) = ([0; FRAME_SIZE_MAX], Vec::new());
    while let Some(size) = device.transmit(now_ms, &mut buffer).map(<[u8]>::len) {
        let message = decode(&mut buffer[..size - 1]).expect("a frame");
        sent.push(match postcard::from_bytes(message).expect("a message") {
            ToGateway::Event { sequence, .. } => sequence.0.to_string(),
            ToGateway::Hello(hello) => format!("hello {}..{}", hello.oldest.0, hello.next.0),
            other => format!("{other:?}"),
        });
    }
    sent
}

fn welcomed(records: u32) -> Device {
    let mut device = device(1);
    for n in 0..records {
        device
            .record(0, &[Value::Integer(i64::from(n)), Value::Boolean(true)])
            .expect("room");
    }
    assert_eq!(sent(&mut device, 0).len(), 1);
    tell(
        &mut device,
        ToDevice::Welcome {
            device: DEVICE,
            boot: 1,
            session: 5,
            next: Sequence(0),
        },
        0,
    );
    device
}

/// Lets both send until neither has anything to say; returns what the host handed on, in words.
fn exchange(
    device: &mut Device,
    host: &mut HostLink,
    mark: Option<DurableMark>,
    now_ms: u64,
) -> Vec<String> {
    let (mut buffer, mut handed_on) = ([0; FRAME_SIZE_MAX], Vec::new());
    loop {
        let mut line = Vec::new();
        while let Some(frame) = device.transmit(now_ms, &mut buffer) {
            line.extend_from_slice(frame);
        }
        let mut bytes = &line[..];
        while let Some(incoming) = host.receive(&mut bytes, now_ms) {
            let hello = matches!(incoming, Incoming::Hello(_));
            handed_on.push(words(&incoming));
            if hello && let Err(error) = host.resume(mark, false, now_ms) {
                handed_on.push(format!("{error:?}"));
            }
        }
        line.clear();
        while let Some(frame) = host.transmit(now_ms, &mut buffer) {
            line.extend_from_slice(frame);
        }
        if line.is_empty() {
            return handed_on;
        }
        device.receive(&line, now_ms);
    }
}

fn words(incoming: &Incoming<'_>) -> String {
    match incoming {
        Incoming::Hello(_) => "hello".into(),
        Incoming::Event { id, .. } => id.sequence.0.to_string(),
        Incoming::Gap { last, count } => format!("gap of {count} up to {}", last.sequence.0),
        Incoming::Time { uptime_ms, .. } => format!("time {uptime_ms}"),
        Incoming::SchemaField { field, .. } => field.name.into(),
        Incoming::SchemaUnreadable { key } => format!("schema {key} unreadable"),
        Incoming::Log { level, text } => format!("{level:?}: {text}"),
        Incoming::BootReused(_) => "boot reused".into(),
    }
}

#[test]
fn a_node_sends_nothing_but_hello_until_it_is_welcome() {
    let mut device = device(1);
    device.record(0, &[Value::Boolean(true)]).expect("room");
    assert_eq!(sent(&mut device, 0), ["hello 0..1"]);
    assert!(sent(&mut device, HELLO_MS - 1).is_empty());
    assert_eq!(sent(&mut device, HELLO_MS), ["hello 0..1"]);
    for (who, boot) in [(*b"node-002", 1), (DEVICE, 2)] {
        tell(
            &mut device,
            ToDevice::Welcome {
                device: who,
                boot,
                session: 5,
                next: Sequence(0),
            },
            HELLO_MS,
        );
        assert!(!device.is_welcome(), "a welcome for another node or boot");
    }
}

#[test]
fn a_window_leaves_and_leaves_again_when_no_ack_comes() {
    let mut device = welcomed(10);
    let window: Vec<_> = (0..8).map(|n| n.to_string()).collect();
    assert_eq!(sent(&mut device, 0), window);
    assert!(sent(&mut device, RETRANSMIT_MS_MIN - 1).is_empty());
    assert_eq!(sent(&mut device, RETRANSMIT_MS_MIN), window);
    assert_eq!(device.counters().retransmits, 8);
}

#[test]
fn an_ack_of_another_session_or_of_what_was_not_sent_releases_nothing() {
    let mut device = welcomed(10);
    sent(&mut device, 0);
    tell(
        &mut device,
        ToDevice::Ack {
            session: 4,
            next: Sequence(3),
        },
        1,
    );
    tell(
        &mut device,
        ToDevice::Ack {
            session: 5,
            next: Sequence(9),
        },
        1,
    );
    assert_eq!(device.held(), 10);
    tell(
        &mut device,
        ToDevice::Ack {
            session: 5,
            next: Sequence(3),
        },
        1,
    );
    assert_eq!(device.held(), 7);
    assert_eq!(sent(&mut device, 1), ["8", "9"]);
}

#[test]
fn a_refused_node_holds_and_then_offers_again_what_is_not_durable() {
    let mut device = welcomed(4);
    sent(&mut device, 0);
    tell(
        &mut device,
        ToDevice::Refuse {
            session: 5,
            next: Sequence(1),
            retry_ms: 900,
        },
        10,
    );
    assert!(sent(&mut device, 909).is_empty());
    assert_eq!(sent(&mut device, 910), ["1", "2", "3"]);
}

#[test]
fn the_schema_and_the_clock_come_before_the_first_event() {
    let (mut device, mut host) = (device(1), HostLink::new(1));
    device.log(Level::Info, "started");
    device
        .record(3, &[Value::Integer(215), Value::Boolean(false)])
        .expect("room");
    let handed_on = exchange(&mut device, &mut host, None, 20);
    let expected = [
        "hello",
        "Info: started",
        "temperature",
        "open",
        "time 20",
        "0",
    ];
    assert_eq!(handed_on, expected);
}

#[test]
fn what_is_durable_is_not_handed_on_again() {
    let (mut device, mut host) = (welcomed(5), HostLink::new(1));
    let handed_on = exchange(
        &mut device,
        &mut host,
        Some(DurableMark(id(1, 2))),
        HELLO_MS,
    );
    assert_eq!(handed_on[4..], ["3", "4"]);
}

#[test]
fn a_boot_id_used_twice_is_turned_away() {
    let (mut device, mut host) = (welcomed(5), HostLink::new(1));
    let handed_on = exchange(
        &mut device,
        &mut host,
        Some(DurableMark(id(1, 50))),
        HELLO_MS,
    );
    assert_eq!(handed_on, ["hello", "BootReused"]);
    assert_eq!(
        host.resume(None, true, HELLO_MS),
        Err(ResumeError::NobodyThere)
    );
}

#[test]
fn an_ack_for_another_boot_or_for_what_was_not_handed_on_is_ignored() {
    let (mut device, mut host) = (device(2), HostLink::new(1));
    device.record(0, &[Value::Boolean(true)]).expect("room");
    exchange(&mut device, &mut host, None, 0);
    host.acknowledge(id(1, 0));
    host.acknowledge(id(2, 1));
    exchange(&mut device, &mut host, None, 1);
    assert_eq!(device.held(), 1);
    host.acknowledge(id(2, 0));
    exchange(&mut device, &mut host, None, 1);
    assert_eq!(device.held(), 0);
}

#[test]
fn a_welcome_that_comes_again_changes_nothing() {
    let mut device = welcomed(10);
    assert_eq!(sent(&mut device, 0).len(), 8);
    let again = ToDevice::Welcome {
        device: DEVICE,
        boot: 1,
        session: 5,
        next: Sequence(0),
    };
    tell(&mut device, again, 1);
    assert!(sent(&mut device, 1).is_empty(), "they are on the way");
    let refuse = ToDevice::Refuse {
        session: 5,
        next: Sequence(0),
        retry_ms: 900,
    };
    tell(&mut device, refuse, 10);
    tell(&mut device, again, 11);
    assert!(sent(&mut device, 899).is_empty(), "it is told to hold");
}

/// Everything the gateway's half sends at this moment.
fn asked(host: &mut HostLink, now_ms: u64) -> Vec<ToDevice> {
    let (mut buffer, mut asked) = ([0; FRAME_SIZE_MAX], Vec::new());
    while let Some(size) = host.transmit(now_ms, &mut buffer).map(<[u8]>::len) {
        let message = decode(&mut buffer[..size - 1]).expect("a frame");
        asked.push(postcard::from_bytes(message).expect("a message"));
    }
    asked
}

/// Puts a message of a node into the gateway's half; whether it hands something on.
fn hears(host: &mut HostLink, message: ToGateway<'_>, now_ms: u64) -> bool {
    let mut buffer = [0; FRAME_SIZE_MAX];
    let mut bytes = encode(&message, &mut buffer).expect("fits");
    host.receive(&mut bytes, now_ms).is_some()
}

#[test]
fn an_event_of_another_session_makes_the_gateway_ask_who_is_there() {
    let (mut device, mut host) = (device(1), HostLink::new(1));
    device
        .record(0, &[Value::Integer(1), Value::Boolean(true)])
        .expect("room");
    exchange(&mut device, &mut host, None, 0);
    assert!(asked(&mut host, 100).is_empty());
    let foreign = ToGateway::Event {
        session: 77,
        sequence: Sequence(1),
        record: &[],
    };
    for _ in 0..50 {
        assert!(!hears(&mut host, foreign, 2_000), "it is not taken");
        assert!(asked(&mut host, 2_000).len() <= 1);
    }
    assert!(!hears(&mut host, foreign, 3_500));
    assert_eq!(asked(&mut host, 3_500), [ToDevice::Discover]);
}

fn hello(session: u16) -> ToGateway<'static> {
    ToGateway::Hello(Hello {
        device: DEVICE,
        boot: 1,
        session,
        firmware: "",
        slot: 0,
        schema: 0,
        window: 8,
        next: Sequence(4),
        oldest: Sequence(4),
        lost: 0,
    })
}

/// The welcomes among what it sends, and the token of its question for the clock.
fn welcomes(host: &mut HostLink, now_ms: u64) -> (usize, Option<u16>) {
    let asked = asked(host, now_ms);
    let token = asked.iter().find_map(|message| match message {
        ToDevice::TimeRequest { token } => Some(*token),
        _ => None,
    });
    let is_welcome = |message: &&ToDevice| matches!(message, ToDevice::Welcome { .. });
    (asked.iter().filter(is_welcome).count(), token)
}

#[test]
fn a_node_stays_in_the_session_that_its_events_are_stored_in_and_any_other_gets_a_new_one() {
    let stored = Some(DurableMark(id(1, 3)));
    let mut sessions = Vec::new();
    for (at, (claimed, mark)) in [(0, None), (900, stored), (0, stored), (900, None)]
        .into_iter()
        .enumerate()
    {
        let mut host = HostLink::new(40 + at as u16);
        assert!(hears(&mut host, hello(claimed), 0));
        host.resume(mark, true, 0).expect("somebody is there");
        sessions.push(host.session());
        let stays = claimed != 0 && mark.is_some();
        assert_eq!(welcomes(&mut host, 0).0, usize::from(!stays));
        // Somebody says hello in no session: the welcome got lost, or it is another node.
        let at_ms = if stays { 1 } else { WELCOME_MS_MAX };
        assert!(hears(&mut host, hello(0), at_ms));
        host.resume(mark, true, at_ms).expect("somebody is there");
        assert_ne!(host.session(), sessions[at]);
    }
    assert_eq!(sessions[1], 900);
    assert!(sessions[0] != sessions[2] && sessions[3] != 900);
}

#[test]
fn a_hello_that_left_before_the_welcome_came_changes_nothing() {
    let time = |token| ToGateway::TimeReply {
        token,
        boot: 1,
        uptime_ms: 9,
    };
    for claimed in [0, 900] {
        let mut host = HostLink::new(40);
        assert!(hears(&mut host, hello(claimed), 0));
        host.resume(None, true, 0).expect("somebody is there");
        let (count, token) = welcomes(&mut host, 0);
        assert_eq!(count, 1);
        let token = token.expect("it asks for the clock behind the welcome");
        for now_ms in [1, 1_000, 4_000] {
            for session in [0, 900, 901] {
                assert!(!hears(&mut host, hello(session), now_ms), "{session}");
            }
            assert_eq!(welcomes(&mut host, now_ms).0, 0);
        }
        // An answer to another question says nothing.
        assert!(!hears(&mut host, time(token.wrapping_sub(1)), 4_001));
        assert!(!hears(&mut host, hello(claimed), 4_002));
        assert!(hears(&mut host, time(token), 4_003), "asked three times");
        assert!(hears(&mut host, hello(claimed), 4_004), "it got lost");
    }
}

#[test]
fn a_clock_that_answers_late_is_heard() {
    let mut host = HostLink::new(40);
    assert!(hears(&mut host, hello(0), 0));
    host.ask_clock(0);
    let mut tokens = Vec::new();
    for now_ms in (0..4_000).step_by(100) {
        tokens.extend(welcomes(&mut host, now_ms).1);
    }
    assert!(tokens.len() > 2, "{tokens:?}");
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "it is one question: {tokens:?}");
    let answer = ToGateway::TimeReply {
        token: tokens[0],
        boot: 2,
        uptime_ms: 9,
    };
    assert!(hears(&mut host, answer, 4_000));
    assert!(!hears(&mut host, answer, 4_500), "once");
}

#[test]
fn what_is_missing_is_told_once_the_node_is_in_the_session_and_before_what_it_brings() {
    let mut host = HostLink::new(40);
    assert!(hears(&mut host, hello(0), 0));
    let mark = Some(DurableMark(id(1, 1)));
    host.resume(mark, true, 0).expect("somebody is there");
    let session = host.session();
    asked(&mut host, 0);
    let event = ToGateway::Event {
        session,
        sequence: Sequence(4),
        record: &[],
    };
    let log = ToGateway::Log {
        level: Level::Info,
        text: "on",
    };
    let mut line = Vec::new();
    let mut buffer = [0; FRAME_SIZE_MAX];
    for message in [log, hello(0), event, event] {
        line.extend_from_slice(encode(&message, &mut buffer).expect("fits"));
    }
    let (mut bytes, mut handed_on) = (&line[..], Vec::new());
    while let Some(incoming) = host.receive(&mut bytes, 1) {
        handed_on.push(words(&incoming));
    }
    assert_eq!(handed_on, ["Info: on", "gap of 2 up to 3", "4"]);
    assert_eq!(host.counters().duplicates, 1);
}
