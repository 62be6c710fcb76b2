//! Whatever is wrong with what the gateway is given is said in full, and harms nobody else:
//! configuration, data directory, rules, MQTT. The full disk has a file of its own, and an
//! upstream that is absent at the start is how `outage` and `crash` begin.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt;
use tidegate_tests::port;
use tidegate_tests::wait::PATIENCE;

const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";

/// Publishes with QoS 1 as `client` and waits for the PUBACK.
fn is_acknowledged(stream: &mut TcpStream, topic: &str) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut ack = [0; 4];
    stream.write_all(&mqtt::publish(topic, 7, b"1")).is_ok()
        && stream.read_exact(&mut ack).is_ok()
        && ack == [0x40, 2, 0, 7]
}

fn connect(gateway: &Gateway, client: &str) -> TcpStream {
    mqtt::connect(gateway.address, client, true).expect("it lets clients in")
}

/// Starts what must not start: its exit code, and what it says.
fn refused(gateway: &Gateway) -> (Option<i32>, String) {
    let ended = gateway.command().status().expect("tidegate starts");
    (ended.code(), gateway.log())
}

fn assert_says(said: &str, expected: &[&str]) {
    for words in expected {
        assert!(said.contains(words), "{words:?} is missing in\n{said}");
    }
}

#[test]
fn a_configuration_with_several_mistakes_ends_with_78_and_all_of_them() {
    let gateway = Gateway::new(
        "[store]\nkeep_foo = \"24h\"\ncommit_delay_max = \"5 parsecs\"\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\n\
         username = \"u\"\npassword_file = \"secret\"\nca_file = \"nowhere.pem\"\n",
    );
    gateway.write("secret", "hunter2\n");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(gateway.path("secret"), open).expect("permissions");
    let (code, said) = refused(&gateway);
    assert_eq!(code, Some(78), "{said}");
    assert_says(
        &said,
        &[
            "keep_foo",
            "keep_for",
            "5 parsecs",
            "secret",
            "nowhere.pem",
            "^",
        ],
    );
    assert!(!said.contains("hunter2"), "a secret was shown");
}

#[test]
fn a_second_gateway_on_the_same_data_directory_is_refused_and_the_first_unharmed() {
    let mut first = Gateway::new(ARCHIVE);
    first.start();
    let mut client = connect(&first, "sensor");
    assert!(is_acknowledged(&mut client, "a/b"));
    let second = Gateway::new(ARCHIVE);
    let config = second.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let data = format!("data_dir = {:?}", first.path("data"));
    std::fs::write(&config, text.replace("data_dir = \"data\"", &data)).expect("it is ours");
    let (code, said) = refused(&second);
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &["in use", &first.pid().to_string()]);
    assert!(is_acknowledged(&mut client, "a/b"), "the first is harmed");
}

/// A CONNECT of MQTT 5, which is told why its connection ends.
fn connect_5(address: SocketAddr) -> TcpStream {
    let mut stream = port::connect(address);
    stream.write_all(&connect_packet()).expect("it reads");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("CONNACK");
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).expect("CONNACK");
    assert_eq!((head[0], rest[1]), (0x20, 0), "not let in");
    stream
}

fn connect_packet() -> Vec<u8> {
    mqtt::packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02v5")
}

fn publish_5(topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic);
    body.extend([0, 9, 0]);
    body.extend(payload);
    mqtt::packet(0x32, &body)
}

/// The reason in the DISCONNECT that ends the connection; none if it just ends.
fn reason(mut stream: TcpStream, sent: &[u8]) -> Option<u8> {
    // The gateway may close before it has read everything.
    let _ = stream.write_all(sent);
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let hung = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!hung, "the connection stays open: {answer:?}");
    match answer.as_slice() {
        [0xe0, _, reason, ..] => Some(*reason),
        [] => None,
        other => panic!("no DISCONNECT: {other:?}"),
    }
}

/// What the gateway counted as refused input.
fn refusals(gateway: &Gateway) -> u64 {
    gateway.metric("tidegate_source_malformed_total", "")
}

#[test]
fn malformed_mqtt_is_closed_with_its_reason_counted_and_felt_by_nobody_else() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.start();
    let mut bystander = connect(&gateway, "bystander");
    let cases: [(&str, Vec<u8>, u8); 6] = [
        ("CONNECT twice", connect_packet(), 0x82),
        ("a + in a topic", publish_5(b"a/+/b", b"1"), 0x90),
        ("a # in a topic", publish_5(b"a/#", b"1"), 0x90),
        ("no topic", publish_5(b"", b"1"), 0x82),
        (
            "a topic that is no UTF-8",
            publish_5(b"a/\xff\xfe", b"1"),
            0x81,
        ),
        (
            "five bytes of length",
            vec![0x32, 0xff, 0xff, 0xff, 0xff, 1],
            0x81,
        ),
    ];
    let count = cases.len() as u64;
    for (what, sent, expected) in cases {
        let told = reason(connect_5(gateway.address), &sent);
        assert_eq!(told, Some(expected), "{what}");
        assert!(is_acknowledged(&mut bystander, "a/b"), "after {what}");
    }
    gateway.wait_until("every refusal is counted", || refusals(&gateway) == count);
}

#[test]
fn a_first_packet_that_is_no_connect_closes_the_connection_unanswered() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.start();
    let mut bystander = connect(&gateway, "bystander");
    // The second begins like a PUBACK, the last one claims 256 MiB: nothing of it is waited for.
    for sent in [
        mqtt::publish("a/b", 1, b"1"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x10, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let stream = port::connect(gateway.address);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(reason(stream, &sent), None, "{sent:?}");
        assert!(is_acknowledged(&mut bystander, "a/b"), "after {sent:?}");
    }
}

const GOOD: &str = "rule all {\n  on \"#\"\n  send to archive\n}\n";
const BAD: &str = "rule one {\n  on \"a/#/b\"\n  send to archive\n}\n\n\
                   rule two {\n  on \"a/b\"\n  send to archiv\n}\n\n\
                   rule three {\n  on \"a/b\"\n  wen temperature > 1\n  send to archive\n}\n";

#[test]
fn rules_with_three_mistakes_keep_a_gateway_from_starting_and_all_three_are_shown() {
    let gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/bad.rules", BAD);
    let (code, said) = refused(&gateway);
    assert_eq!(code, Some(78), "{said}");
    assert_says(
        &said,
        &["bad.rules:2:", "bad.rules:8:", "bad.rules:13:", "archive"],
    );
    assert_says(&said, &["3 errors"]);
}

#[test]
fn rules_with_mistakes_leave_the_last_good_ones_in_force_and_are_told() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/a.rules", GOOD);
    gateway.start();
    gateway.write("rules/bad.rules", BAD);
    gateway.wait_until("the log tells", || gateway.log().contains("bad.rules:13"));
    let status = gateway.ask(&["status"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_says(&said, &["bad.rules:2", "bad.rules:8", "bad.rules:13"]);
    let listed = || {
        let events = gateway.ask(&["events", "list"]).stdout;
        String::from_utf8_lossy(&events).contains("rules/refused")
    };
    gateway.wait_until("an event tells", listed);
    let mut client = connect(&gateway, "sensor");
    assert!(is_acknowledged(&mut client, "after/the/mistakes"));
    let archived = || {
        let text = std::fs::read_to_string(gateway.path("archive.jsonl"));
        text.is_ok_and(|text| text.contains("after/the/mistakes"))
    };
    gateway.wait_until("the old rules still send", archived);
    std::fs::remove_file(gateway.path("rules/bad.rules")).expect("it is ours");
    let mended = || {
        let status = gateway.ask(&["status"]).stdout;
        !String::from_utf8_lossy(&status).contains("bad.rules")
    };
    gateway.wait_until("the mistakes are forgotten", mended);
}
