//! A rule fires on what its fields say, through whichever door the payload comes and whatever little its content type
//! says; and where it does not fire, the status tells why.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};
use tidegate_link::message::{Payload, Record};
use tidegate_link::schema::write_values;
use tidegate_link::{
    DeviceLink, FRAME_SIZE_MAX, Field, Identity, Kind, RamRing, Ring, Schema, Value,
};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::node::{pseudo_terminal, raw_line};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{mqtt, peer, port, wait};

const RULES: &str = "rule hot { on \"+/hot/+\" when payload.v > 80 send to archive }\n\
                     rule cold { on \"+/hot/+\" when payload.v < 0 send to archive }\n";

/// A content type, a payload, and whether the rule fires.
type Case = (Option<&'static str>, &'static [u8], bool);

const HOT: &[u8] = br#"{"v": 98}"#;
const BOM: &[u8] = b"\xef\xbb\xbf{\"v\": 98}";

const CASES: [Case; 32] = [
    (None, HOT, true),
    (Some("application/json"), HOT, true),
    (Some("application/json; charset=utf-8"), HOT, true),
    (
        Some("application/json;charset=ISO-8859-1"),
        b"{\"unit\": \"\xb0C\", \"v\": 98}",
        true,
    ),
    (Some("APPLICATION/JSON"), HOT, true),
    (Some("application/vnd.x+json"), HOT, true),
    (Some("application/vnd.x+JSON; version=2"), HOT, true),
    (Some("text/json"), HOT, true),
    (Some("application/x-www-form-urlencoded"), HOT, true),
    (
        Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8"),
        HOT,
        true,
    ),
    (Some("text/plain"), HOT, true),
    (
        Some("text/plain; charset=utf-8"),
        b"\r\n {\"v\": 98}\n",
        true,
    ),
    (Some("application/octet-stream"), HOT, true),
    (Some("json"), HOT, true),
    (Some("JSON"), HOT, true),
    (None, BOM, true),
    (Some("application/json"), BOM, true),
    (Some("text/plain"), BOM, true),
    (None, br#"{"name": "\ud800", "v": 98}"#, true),
    (None, br#"{"v": 98, "far": 1e400}"#, true),
    (
        None,
        br#"{"v": 98, "far": -1e999, "n": 123456789012345678901234567890}"#,
        true,
    ),
    (
        None,
        b"{\"v\": 98, \"odd\": NaN, \"odder\": -Infinity}",
        true,
    ),
    (
        Some("application/json"),
        b"{\"text\": \"two\nlines\", \"v\": 98}",
        true,
    ),
    (None, br#"{"v": 1, "v": 98}"#, true),
    (None, br#"{"v": "98"}"#, false),
    (None, br#"{"v": 1e400}"#, false),
    (None, br#"{"w": 98}"#, false),
    (Some("application/cbor"), b"\xa1\x61v\x18\x62", false),
    (Some("text/csv"), b"v\n98\n", false),
    (Some("application/x-www-form-urlencoded"), b"v=98", false),
    (Some("application/json"), b"{v: 98}", false),
    (None, b"ON", false),
];

/// Sends a case under a topic and returns when it is acknowledged.
type Door<'a> = &'a dyn Fn(&str, Option<&str>, &[u8]);

fn over_mqtt_3(address: SocketAddr, topic: &str, payload: &[u8]) {
    let mut stream = mqtt::connect(address, "three", true).expect("let in");
    mqtt::publish_acknowledged(&mut stream, topic, 1, payload);
}

/// With MQTT 5, by a client of others.
fn over_mqtt_5(address: SocketAddr, topic: &str, kind: Option<&str>, payload: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), payload).expect("written");
    let mut publish = Command::new("mosquitto_pub");
    publish.args([
        "-V",
        "5",
        "-q",
        "1",
        "-h",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
    ]);
    publish.args(["-t", topic, "-f"]).arg(file.path());
    if let Some(kind) = kind {
        publish.args(["-D", "publish", "content-type", kind]);
    }
    let output = publish.output().expect("mosquitto_pub runs");
    assert!(output.status.success(), "{topic}: {output:?}");
}

fn over_http(address: SocketAddr, topic: &str, headers: &str, payload: &[u8]) -> String {
    let mut stream = wait::find("the HTTP source listens", || TcpStream::connect(address));
    let head = format!(
        "POST /topics/{topic} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        payload.len()
    );
    stream
        .write_all(&[head.as_bytes(), payload].concat())
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn report(gateway: &Gateway) -> Json {
    let asked = gateway.ask(&["status", "--rules", "--format", "json"]);
    serde_json::from_slice(&asked.stdout).unwrap_or_default()
}

/// Payloads are not looked at: some hold what a value of JSON cannot.
fn delivered(gateway: &Gateway) -> BTreeSet<String> {
    #[derive(serde::Deserialize)]
    struct Line {
        topic: String,
    }
    let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
    let lines = text.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.map(|line| line.topic).collect()
}

/// A gateway with a source of every kind, and rules.
fn gateway(broker: &Mosquitto, http: SocketAddr, device: &Path) -> Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("a folder");
    std::fs::write(folder.path().join("rules/all.rules"), RULES).expect("written");
    let more = format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{http}\"\n\n\
         [sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\ntopics = [\"source/#\"]\n\n\
         [sources.bench]\ntype = \"lines\"\nport = \"{}\"\nformat = \"json\"\ntopic = \"lines/hot/x\"\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n",
        broker.address,
        device.display()
    );
    let mut gateway = Gateway::new_in(folder, &more);
    let text = std::fs::read_to_string(gateway.path("gateway.toml")).expect("a configuration");
    let text = text.replace("[gateway]\n", "[gateway]\nrules = \"rules\"\n");
    gateway.write("gateway.toml", &text);
    gateway.start();
    wait::until("all sources are up", || {
        let up = |name: &&str| gateway.metric("tidegate_source_up", name) == 1;
        ["plant", "bench", "hooks"].iter().all(up)
    });
    gateway
}

/// Sends every case through every door that can carry it; gives the topics at which the rule fires and how many were
/// sent.
fn send_all(doors: &[(&str, Door<'_>)]) -> (BTreeSet<String>, u64) {
    let (mut expected, mut sent) = (BTreeSet::new(), 0);
    for (at, (kind, payload, fires)) in CASES.iter().enumerate() {
        for (door, send) in doors {
            if kind.is_some() && *door == "three" {
                continue;
            }
            let topic = format!("{door}/hot/{at}");
            send(&topic, *kind, payload);
            sent += 1;
            expected.extend(fires.then_some(topic));
        }
    }
    (expected, sent)
}

#[test]
fn a_rule_fires_through_every_door_and_the_status_tells_why_it_did_not() {
    let test = "payload_doors";
    let (Some(mut broker), Some(_)) = (Mosquitto::new(test), peer::find("mosquitto_pub", test))
    else {
        return;
    };
    broker.start();
    let http = port::free();
    let (mut line, device) = pseudo_terminal().expect("a pseudo-terminal");
    let gateway = gateway(&broker, http, &device);
    let floor = gateway.address;
    let three = |topic: &str, _: Option<&str>, payload: &[u8]| over_mqtt_3(floor, topic, payload);
    let five = |topic: &str, kind: Option<&str>, payload: &[u8]| {
        over_mqtt_5(floor, topic, kind, payload);
    };
    let source = |topic: &str, kind: Option<&str>, payload: &[u8]| {
        over_mqtt_5(broker.address, topic, kind, payload);
    };
    let post = |topic: &str, kind: Option<&str>, payload: &[u8]| {
        let header = kind.map(|kind| format!("Content-Type: {kind}\r\n"));
        let answer = over_http(http, topic, &header.unwrap_or_default(), payload);
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{topic} {kind:?}: {answer}"
        );
    };
    let (mut expected, sent) = send_all(&[
        ("three", &three),
        ("five", &five),
        ("source", &source),
        ("http", &post),
    ]);
    post("http/hot/empty", Some(""), HOT);
    // What comes before the first end of a line is no reading.
    line.write_all(b"\n{\"name\": \"\\ud800\", \"far\": 1e400, \"v\": 98}\n")
        .expect("it reads");
    expected.extend(["http/hot/empty".to_owned(), "lines/hot/x".to_owned()]);
    let sent = sent + 2;

    wait::until("every event was seen by the rules", || {
        let report = report(&gateway);
        let mut rules = report["rules"].as_array().into_iter().flatten();
        rules.any(|rule| rule["rule"] == "hot" && rule["in"] == sent)
    });
    wait::until("what fires is delivered", || {
        delivered(&gateway).len() >= expected.len()
    });
    assert_eq!(delivered(&gateway), expected);
    let report = report(&gateway);
    the_rules_tell_why(&gateway, &report, expected.len() as u64, sent);
    the_payloads_are_told(&gateway, &report);

    let answer = over_http(http, "http/hot/br", "Content-Encoding: br\r\n", b"\x1b\x03");
    assert!(
        answer.starts_with("HTTP/1.1 415 ") && answer.contains(": br "),
        "{answer}"
    );
    let head = answer.to_lowercase();
    assert!(
        head.contains("accept-encoding: gzip, deflate, identity"),
        "{answer}"
    );
}

/// What became of the cases above at each rule.
fn the_rules_tell_why(gateway: &Gateway, report: &Json, fired: u64, sent: u64) {
    let hot = &report["rules"][0];
    assert_eq!(hot["passed"], fired);
    assert_eq!(hot["sent"], json!({ "archive": fired }));
    let last_fired = hot["last_fired"].as_str().expect("it fired");
    assert!(last_fired.ends_with('Z'), "{hot}");
    let undefined = hot["undefined"].as_object().expect("by name");
    let (name, count) = undefined.iter().next().expect("something");
    assert!(undefined.len() == 1 && name.contains('v'), "{hot}");
    let counted = gateway.metric("tidegate_rule_undefined_total", "rule=\"hot\"");
    assert_eq!(*count, counted);
    let of = |member: &str| hot[member].as_u64().expect("a count");
    assert_eq!(fired + counted + of("errors") + of("false"), sent);
    assert_eq!(of("held") + of("limited") + of("late"), 0);
    assert_eq!(report["rules"][1]["last_fired"], Json::Null);
    let asked = gateway.ask(&["status", "--rules"]);
    let text = String::from_utf8_lossy(&asked.stdout);
    for words in [
        "RULE",
        "UNDEFINED",
        "PAYLOADS WITHOUT FIELDS",
        "text/csv",
        "never",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(
        text.find("cold") < text.find("hot"),
        "the silent one first: {text}"
    );
}

/// Where payloads came from that have no fields, and of what type they are.
fn the_payloads_are_told(gateway: &Gateway, report: &Json) {
    let unread = report["unread"].as_array().expect("a list");
    let of = |source: &str, kind: Json| {
        let same = |of: &&Json| of["source"] == source && of["content_type"] == kind;
        let count = |of: &Json, why: &str| of[why].as_u64().unwrap_or(0);
        let found = unread.iter().find(same);
        found.map_or((0, 0), |of| (count(of, "not_json"), count(of, "other")))
    };
    for source in ["plant-a/floor", "plant-a/plant", "plant-a/hooks"] {
        assert_eq!(of(source, json!("application/json")), (1, 0), "{source}");
        for kind in [
            "application/cbor",
            "text/csv",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(of(source, json!(kind)), (0, 1), "{source} {kind}");
        }
        assert!(of(source, Json::Null).1 >= 1, "{source}");
    }
    let counted = gateway.metric("tidegate_payloads_without_fields_total", "plant-a/hooks");
    assert_eq!(counted, 5);
}

/// What a node brings over the framed link.
enum Brought {
    /// `v` in tenths, a float and a switch.
    Readings(i64, f32, bool),
    /// Readings of a schema that nobody knows.
    Foreign(&'static [u8]),
    /// Readings whose values are not those of their schema.
    Misfit(&'static [u8]),
    /// Bytes that are no record.
    Bytes(&'static [u8]),
}
use Brought::{Bytes, Foreign, Misfit, Readings};

const ON_THE_LINK: [(Brought, bool); 18] = [
    (Readings(980, 0.5, true), true),
    (Readings(801, f32::NAN, false), true),
    (Readings(800, f32::MAX, true), false),
    (Readings(i64::MAX, f32::INFINITY, true), true),
    (Readings(0, -0.0, false), false),
    (Readings(-1, 98.0, true), true),
    (Foreign(HOT), false),
    (Foreign(b""), false),
    (Misfit(b""), false),
    (Misfit(HOT), false),
    (Misfit(b"\xa8\x0f"), false),
    (Bytes(HOT), false),
    (Bytes(BOM), false),
    (Bytes(b"{\"v\": 98"), false),
    (Bytes(b"v=98"), false),
    (Bytes(b"ON"), false),
    (Bytes(b"\xff\xfe\x00\xd8"), false),
    (Bytes(b""), false),
];

const LINK_SCHEMA: Schema = Schema {
    fields: &[
        Field {
            name: "v",
            unit: "Cel",
            kind: Kind::Integer { exponent: -1 },
        },
        Field {
            name: "load",
            unit: "",
            kind: Kind::Float,
        },
        Field {
            name: "on",
            unit: "",
            kind: Kind::Boolean,
        },
    ],
};

/// The bytes of it in a node's ring.
fn record(brought: &Brought) -> Vec<u8> {
    let mut buffer = [0; 64];
    let (schema, values) = match brought {
        Bytes(bytes) => return bytes.to_vec(),
        Foreign(values) => (LINK_SCHEMA.key() ^ 1, *values),
        Misfit(values) => (LINK_SCHEMA.key(), *values),
        Readings(v, load, on) => {
            let values = [Value::Integer(*v), Value::Float(*load), Value::Boolean(*on)];
            let size = write_values(&values, &mut buffer).expect("room");
            (LINK_SCHEMA.key(), &buffer[..size])
        }
    };
    let payload = Payload::Readings { schema, values };
    let uptime_ms = 7;
    let mut record = [0; 64];
    let record = postcard::to_slice(&Record { uptime_ms, payload }, &mut record);
    record.expect("room").to_vec()
}

/// A node that brings everything, until it is acknowledged.
fn over_the_link(port: &mut std::fs::File) {
    let mut ring = RamRing::<4096>::new(3);
    for (brought, _) in &ON_THE_LINK {
        assert_eq!(ring.push(&record(brought)), Ok(0));
    }
    let identity = Identity {
        device: *b"node-001",
        firmware: "1.0.0",
        slot: 0,
        schema: LINK_SCHEMA,
    };
    let mut link = DeviceLink::new(identity, ring);
    let (began, mut heard) = (std::time::Instant::now(), [0; 512]);
    wait::until("the node's records are acknowledged", || {
        let now_ms = began.elapsed().as_millis() as u64;
        if let Ok(count) = port.read(&mut heard) {
            link.receive(&heard[..count], now_ms);
        }
        let mut frame = [0; FRAME_SIZE_MAX];
        while let Some(bytes) = link.transmit(now_ms, &mut frame) {
            // What the line does not take is sent again.
            let _ = port.write(bytes);
        }
        link.held() == 0
    });
}

#[test]
fn a_rule_fires_on_readings_of_the_serial_link_and_the_status_tells_of_what_is_none() {
    let (mut port, device) = pseudo_terminal().expect("a pseudo-terminal");
    let _line = raw_line(&device);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("a folder");
    std::fs::write(folder.path().join("rules/all.rules"), RULES).expect("written");
    let mut gateway = Gateway::new_in(
        folder,
        &format!(
            "[sources.bench]\ntype = \"serial\"\nport = \"{}\"\ntopic = \"link/hot/{{device}}\"\n\n\
             [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n",
            device.display()
        ),
    );
    let text = std::fs::read_to_string(gateway.path("gateway.toml")).expect("a configuration");
    let text = text.replace("[gateway]\n", "[gateway]\nrules = \"rules\"\n");
    gateway.write("gateway.toml", &text);
    gateway.start();
    over_the_link(&mut port);
    let id = |at: usize| format!("node-001-3-{at}");
    let all = ON_THE_LINK.iter().enumerate();
    let fires = all.clone().filter(|(_, (_, fires))| *fires);
    let expected: BTreeSet<String> = fires.map(|(at, _)| id(at)).collect();
    let sent = || -> BTreeSet<String> {
        let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Json>(line).ok());
        let ids = lines.filter_map(|line| Some(line["id"].as_str()?.to_owned()));
        ids.collect()
    };
    wait::until("what fires is delivered", || sent().len() >= expected.len());
    assert_eq!(sent(), expected);
    let report = report(&gateway);
    assert_eq!(report["rules"][0]["in"], ON_THE_LINK.len());
    let unread = all
        .filter(|(_, (brought, _))| !matches!(brought, Readings(..)))
        .count();
    let told = report["unread"].as_array().expect("a list").iter();
    let told: Vec<_> = told
        .map(|of| (&of["source"], &of["content_type"], &of["other"]))
        .collect();
    let (source, kind) = (
        json!("plant-a/bench"),
        json!("application/vnd.tidegate.readings"),
    );
    assert_eq!(told, [(&source, &kind, &json!(unread))]);
    let counted = gateway.metric("tidegate_payloads_without_fields_total", "plant-a/bench");
    assert_eq!(counted, unread as u64);
}
