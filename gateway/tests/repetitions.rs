//! What is a repetition, and what only bears an id that is known: at every door, and again after a kill.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::port;
use tidegate_tests::wait::PATIENCE;

/// Where events of a case are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// A listener by MQTT 5 or 3.1.1, without and with `id_field = "seq"`.
    Listener5,
    Counted5,
    Counted311,
    /// A broker with a source of MQTT 5 with `publisher = "{1}"`, and one of 3.1.1 with `id_field`.
    Broker5,
    Broker311,
    /// An HTTP source, without and with `id_field = "seq"`.
    Http,
    CountedHttp,
}

/// One event: who, where below the topic of the case (with `/`), user properties or headers, payload.
type Sent = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// A case: what is sent, the ids and the senders' ids of what is stored (`*` is an id of ours), and whether all of it is a
/// repetition when it is sent again.
type Case = (
    Door,
    &'static str,
    &'static [Sent],
    &'static [&'static str],
    bool,
);

const PLAIN: &[(&str, &str)] = &[("id", "sensor-7")];
const CE5: &[(&str, &str)] = &[("specversion", "1.0"), ("id", "5#")];
const OF_S: &[(&str, &str)] = &[
    ("ce-specversion", "1.0"),
    ("ce-source", "s"),
    ("ce-id", "5#"),
    ("ce-type", "t"),
];
const OTHER_TYPE: &[(&str, &str)] = &[("specversion", "1.0"), ("id", "5#"), ("type", "alarm")];
const OTHER_SUBJECT: &[(&str, &str)] = &[("specversion", "1.0"), ("id", "5#"), ("subject", "x")];
const OTHER_SOURCE: &[(&str, &str)] = &[("specversion", "1.0"), ("id", "5#"), ("source", "x")];
const PREFIXED: &[(&str, &str)] = &[("ce_id", "p#")];
const SEQ1: &[(&str, &str)] = &[("seq", "1#")];

const CASES: &[Case] = &[
    (
        Door::Listener5,
        "a plain property id",
        &[
            ("a", "", PLAIN, "21"),
            ("a", "", PLAIN, "22"),
            ("a", "", PLAIN, "21"),
        ],
        &["*sensor-7", "*sensor-7", "*sensor-7"],
        false,
    ),
    (
        Door::Listener5,
        "the same again",
        &[("a", "", CE5, "1"), ("a", "", CE5, "1")],
        &["5#"],
        true,
    ),
    (
        Door::Listener5,
        "two topics",
        &[("a", "/x", CE5, "1"), ("a", "/y", CE5, "1")],
        &["5#", "*5#"],
        true,
    ),
    (
        Door::Listener5,
        "other data, both twice",
        &[
            ("a", "", CE5, "1"),
            ("a", "", CE5, "2"),
            ("a", "", CE5, "2"),
            ("a", "", CE5, "1"),
        ],
        &["5#", "*5#"],
        true,
    ),
    (
        Door::Listener5,
        "another type",
        &[("a", "", CE5, "1"), ("a", "", OTHER_TYPE, "1")],
        &["5#", "*5#"],
        true,
    ),
    (
        Door::Listener5,
        "another subject",
        &[("a", "", CE5, "1"), ("a", "", OTHER_SUBJECT, "1")],
        &["5#", "*5#"],
        true,
    ),
    (
        Door::Listener5,
        "another source",
        &[("a", "", CE5, "1"), ("a", "", OTHER_SOURCE, "1")],
        &["5#", "5#"],
        true,
    ),
    (
        Door::Listener5,
        "two clients that count alike",
        &[("a", "", CE5, "1"), ("b", "", CE5, "1")],
        &["5#", "*5#"],
        true,
    ),
    (
        Door::Listener5,
        "one event by two clients",
        &[("a", "", OF_S, "1"), ("b", "", OF_S, "1")],
        &["5#"],
        true,
    ),
    (
        Door::Listener5,
        "a prefix speaks CloudEvents",
        &[("a", "", PREFIXED, "1"), ("a", "", PREFIXED, "1")],
        &["p#"],
        true,
    ),
    (
        Door::Listener5,
        "a number nobody named",
        &[("a", "", SEQ1, "1"), ("a", "", SEQ1, "1")],
        &["*", "*"],
        false,
    ),
    (
        Door::Counted5,
        "a named property",
        &[
            ("a", "", SEQ1, "1"),
            ("a", "", SEQ1, "1"),
            ("a", "", SEQ1, "2"),
        ],
        &["1#", "*1#"],
        true,
    ),
    (
        Door::Counted5,
        "a named member",
        &[
            ("a", "", &[], r#"{"seq":2#}"#),
            ("a", "", &[], r#"{"seq":2#}"#),
        ],
        &["2#"],
        true,
    ),
    (
        Door::Counted311,
        "a named member by 3.1.1",
        &[
            ("a", "", &[], r#"{"seq":3#}"#),
            ("a", "", &[], r#"{"seq":3#}"#),
            ("a", "", &[], r#"{"seq":3#,"v":1}"#),
        ],
        &["3#", "*3#"],
        true,
    ),
    (
        Door::Counted311,
        "no such member",
        &[("a", "", &[], "{}"), ("a", "", &[], "{}")],
        &["*", "*"],
        false,
    ),
    (
        Door::Broker5,
        "two devices behind a broker",
        &[
            ("a", "/press7", CE5, "1"),
            ("a", "/press8", CE5, "1"),
            ("a", "/press7", CE5, "1"),
        ],
        &["5#", "*5#"],
        true,
    ),
    (
        Door::Broker5,
        "a plain id behind a broker",
        &[("a", "/p", PLAIN, "1"), ("a", "/p", PLAIN, "1")],
        &["*sensor-7", "*sensor-7"],
        false,
    ),
    (
        Door::Broker311,
        "two that count behind a broker",
        &[
            ("a", "/p", &[], r#"{"seq":1#}"#),
            ("a", "/q", &[], r#"{"seq":1#}"#),
            ("a", "/p", &[], r#"{"seq":1#}"#),
        ],
        &["1#", "*1#"],
        true,
    ),
    (
        Door::Http,
        "ce-id on two topics",
        &[
            ("", "/x", &[("ce-id", "5#")], "1"),
            ("", "/y", &[("ce-id", "5#")], "1"),
            ("", "/y", &[("ce-id", "5#")], "1"),
        ],
        &["5#", "*5#"],
        true,
    ),
    (
        Door::Http,
        "a header that is no attribute",
        &[
            ("", "", &[("id", "5#")], "1"),
            ("", "", &[("id", "5#")], "1"),
        ],
        &["*", "*"],
        false,
    ),
    (
        Door::Http,
        "a batch",
        &[("", "", &[], "batch")],
        &["b#", "*b#", "c#"],
        true,
    ),
    (
        Door::CountedHttp,
        "a named header",
        &[
            ("", "", SEQ1, "1"),
            ("", "", SEQ1, "1"),
            ("", "", SEQ1, "2"),
        ],
        &["1#", "*1#"],
        true,
    ),
    (
        Door::CountedHttp,
        "a named member in a body",
        &[
            ("", "", &[], r#"{"seq":9#}"#),
            ("", "", &[], r#"{"seq":9#}"#),
        ],
        &["9#"],
        true,
    ),
];

/// The addresses behind the doors.
struct Doors {
    listener: SocketAddr,
    counted: SocketAddr,
    http: SocketAddr,
    counted_http: SocketAddr,
    broker: SocketAddr,
}

/// The text of a case: `#` is its number, so that each has ids of its own.
fn of_case(text: &str, number: usize) -> String {
    text.replace('#', &number.to_string())
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 16_384, "two bytes of length");
    let length = [(body.len() & 0x7f) as u8 | 0x80, (body.len() >> 7) as u8];
    [&[first], &length[..], body].concat()
}

fn answer(stream: &mut TcpStream) -> u8 {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("an answer");
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body).expect("a whole answer");
    head[0]
}

/// Publishes at QoS 1 until it is acknowledged.
fn publish(
    address: SocketAddr,
    level: u8,
    place: (&str, usize),
    (client, below, user, data): Sent,
) {
    let (topic, number) = place;
    let data = of_case(data, number);
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let connect = [
        &text("MQTT"),
        &[level, 2, 0, 60][..],
        properties,
        &text(client),
    ]
    .concat();
    stream.write_all(&packet(0x10, &connect)).expect("it reads");
    assert_eq!(answer(&mut stream), 0x20);
    let user: Vec<u8> = user
        .iter()
        .flat_map(|(name, value)| [vec![0x26], text(name), text(&of_case(value, number))].concat())
        .collect();
    assert!(user.len() < 128 && (level == 5 || user.is_empty()));
    let properties = if level == 5 {
        [vec![user.len() as u8], user].concat()
    } else {
        user
    };
    let topic = text(&format!("{topic}{below}"));
    let body = [topic, vec![0, 7], properties, data.into_bytes()].concat();
    stream.write_all(&packet(0x32, &body)).expect("it reads");
    assert_eq!(answer(&mut stream), 0x40);
}

fn post(address: SocketAddr, (topic, number): (&str, usize), (_, below, headers, data): Sent) {
    let (path, kind, body) = match data {
        "batch" => {
            let event = |(id, data): (&str, u8)| {
                let id = of_case(id, number);
                format!(
                    r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","topic":"{topic}","data":{data}}}"#
                )
            };
            let all = [("b#", 1), ("b#", 2), ("b#", 1), ("c#", 1)];
            (
                "/events".to_owned(),
                "application/cloudevents-batch+json",
                format!("[{}]", all.map(event).join(",")),
            )
        }
        data => (
            format!("/topics/{topic}{below}"),
            "application/json",
            of_case(data, number),
        ),
    };
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", of_case(value, number)))
        .collect();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// How many events the gateway took or recognised since its start.
fn settled(gateway: &Gateway) -> u64 {
    gateway.metric("tidegate_events_accepted_total", "")
        + gateway.metric("tidegate_events_duplicate_total", "")
}

fn send(gateway: &Gateway, doors: &Doors, number: usize, (door, _, sent, _, _): Case) {
    let topic = topic(number, door);
    let topic = (topic.as_str(), number);
    for one in sent {
        let before = settled(gateway);
        match door {
            Door::Listener5 => publish(doors.listener, 5, topic, *one),
            Door::Counted5 => publish(doors.counted, 5, topic, *one),
            Door::Counted311 => publish(doors.counted, 4, topic, *one),
            Door::Broker5 => publish(doors.broker, 5, topic, *one),
            Door::Broker311 => publish(doors.broker, 4, topic, *one),
            Door::Http => post(doors.http, topic, *one),
            Door::CountedHttp => post(doors.counted_http, topic, *one),
        }
        if matches!(door, Door::Broker5 | Door::Broker311) {
            gateway.wait_until("the source gets it", || settled(gateway) > before);
        }
    }
}

/// The topic of a case; for a broker its first level says which source subscribes.
fn topic(number: usize, door: Door) -> String {
    match door {
        Door::Broker5 => format!("five{number}"),
        Door::Broker311 => format!("old/{number}"),
        _ => format!("case/{number}"),
    }
}

/// The stored events of a case: `id`, or `*` and the sender's id.
fn stored(gateway: &Gateway, topic: &str) -> Vec<String> {
    let events = gateway.events(&["--limit", "1000", "--topic", &format!("{topic}/#")]);
    let id = |event: &Value| {
        let event = &event["event"];
        let id = event["id"].as_str().expect("an id");
        let of_sender = event["senderid"].as_str().unwrap_or_default();
        let is_ours = id.len() > 17 && id.as_bytes()[16] == b'-';
        if is_ours {
            format!("*{of_sender}")
        } else {
            format!("{id}{of_sender}")
        }
    };
    events.iter().map(id).collect()
}

#[test]
fn only_the_same_content_under_the_same_id_is_a_repetition() {
    let Some(mut broker) = Mosquitto::new("repetitions") else {
        return;
    };
    broker.start();
    let (counted, http, counted_http) = (port::free(), port::free(), port::free());
    let at = format!("url = \"mqtt://{}\"", broker.address);
    let topics: Vec<String> = (0..CASES.len()).map(|n| format!("\"five{n}/#\"")).collect();
    let topics = topics.join(",");
    let mut gateway = Gateway::new(&format!(
        "[sources.counted]\ntype = \"mqtt-listener\"\nlisten = \"{counted}\"\nid_field = \"seq\"\n\
         [sources.hooks]\ntype = \"http\"\nlisten = \"{http}\"\n\
         [sources.counting]\ntype = \"http\"\nlisten = \"{counted_http}\"\nid_field = \"seq\"\n\
         [sources.five]\ntype = \"mqtt\"\n{at}\ntopics = [{topics}]\npublisher = \"{{1}}\"\n\
         [sources.old]\ntype = \"mqtt\"\nversion = \"3.1.1\"\n{at}\ntopics = [\"old/#\"]\nid_field = \"seq\"\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n"
    ));
    gateway.start();
    let doors = Doors {
        listener: gateway.address,
        counted,
        http,
        counted_http,
        broker: broker.address,
    };
    let ready = |gateway: &Gateway| {
        gateway.wait_until("the sources subscribe", || {
            gateway.whole_log().matches("subscribed").count() >= 2
        });
    };
    ready(&gateway);
    for (number, case) in CASES.iter().enumerate() {
        send(&gateway, &doors, number, *case);
        check(&gateway, number, *case, 1);
    }
    let reused = CASES.iter().flat_map(|case| case.3);
    let reused = reused.filter(|id| id.starts_with('*') && id.ends_with('#'));
    let counted = gateway.metric("tidegate_events_id_reused_total", "");
    assert_eq!(counted, reused.count() as u64);
    let log = gateway.whole_log();
    for source in ["floor", "counted", "hooks", "counting", "old", "five"] {
        let told = log.lines().filter(|line| {
            line.contains(&format!("source {source}\"")) && line.contains("come under one id")
        });
        let expected = usize::from(source != "five");
        assert_eq!(told.count(), expected, "told of {source}:\n{log}");
    }
    gateway.kill();
    gateway.start();
    for (number, case) in CASES.iter().enumerate() {
        send(&gateway, &doors, number, *case);
        check(&gateway, number, *case, if case.4 { 1 } else { 2 });
    }
}

/// What is stored of a case, after so many rounds whose events are not repetitions.
fn check(gateway: &Gateway, number: usize, (door, name, _, ids, _): Case, rounds: usize) {
    let expected: Vec<String> = ids.iter().map(|id| of_case(id, number)).collect();
    let found = stored(gateway, &topic(number, door));
    assert_eq!(found, vec![expected; rounds].concat(), "{door:?}: {name}");
}
