//! `[dead_letters] when_full = "refuse"`: what goes beyond a bound waits in the store and none is dropped, whichever bound it is
//! and whose. That is a trouble. Healthy events go on until the store is full; then no door takes one, and dropping letters
//! frees all of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer::webhook;
use tidegate_tests::wait::PATIENCE;
use tidegate_tests::{mqtt, port, wait};

const NUMBER: &str = "max = 60\nmax_size = \"16MiB\"";
const BYTES: &str = "max_size = \"48KiB\"";
const ODD: usize = 150;
const HEALTHY: usize = 20;
/// Bytes of a payload.
const SMALL: usize = 500;
const LARGE: usize = 4000;

/// Whose letters wait, beyond which bound.
struct Case {
    of: &'static str,
    bound: &'static str,
    rules: &'static str,
    /// Topic of what is set aside.
    topic: &'static str,
}

/// A gateway of a case, with an HTTP source at the address.
fn start(case: &Case) -> (Gateway, SocketAddr) {
    let http = port::free();
    let mut gateway = Gateway::new(&format!(
        "max_topic = \"8B\"\n\n\
         [sources.posts]\ntype = \"http\"\nlisten = \"{http}\"\n\n\
         [store]\nmax_size = \"3MiB\"\nkeep_for = \"0s\"\n\n\
         [dead_letters]\nwhen_full = \"refuse\"\n{}\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n\n\
         [upstreams.web]\ntype = \"http\"\nurl = \"{}\"\nrefusals_max = 1\nretry_max = \"1s\"\n",
        case.bound,
        webhook::that_refuses()
    ));
    let rules = format!(
        "rule keep {{ on \"fine\" send to archive }}\n{}",
        case.rules
    );
    gateway.write("rules/all.rules", &rules);
    gateway.start();
    (gateway, http)
}

fn payload(bytes: usize) -> String {
    format!("{{\"text\":\"{}\"}}", "x".repeat(bytes))
}

/// Connects with MQTT 5, or 3.1.1.
fn connect(gateway: &Gateway, v5: bool) -> TcpStream {
    if !v5 {
        return mqtt::connect(gateway.address, "healthy", true).expect("let in");
    }
    let mut stream = port::connect(gateway.address);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let connect = b"\0\x04MQTT\x05\x02\0\0\0\0\x02v5";
    stream
        .write_all(&mqtt::packet(0x10, connect))
        .expect("it reads");
    packet(&mut stream).expect("let in");
    stream
}

fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let (mut buffer, mut byte) = (Vec::new(), [0]);
    loop {
        if let Some(packet) = mqtt::take(&mut buffer) {
            return Some(packet);
        }
        match stream.read(&mut byte) {
            Ok(1) => buffer.push(byte[0]),
            _ => return None,
        }
    }
}

/// Publishes with QoS 1; whether the event was taken, else the reason if one was given.
fn publish(stream: &mut TcpStream, v5: bool, topic: &str, bytes: usize) -> Result<(), Option<u8>> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend([0, 1]);
    body.extend(v5.then_some(0));
    body.extend(payload(bytes).bytes());
    let _ = stream.write_all(&mqtt::packet(0x32, &body));
    match packet(stream) {
        Some((0x40, body)) => match body.get(2) {
            Some(reason @ 0x80..) => Err(Some(*reason)),
            _ => Ok(()),
        },
        _ => Err(None),
    }
}

/// Posts an event; the status of the answer.
fn post(http: SocketAddr, topic: &str) -> String {
    let mut stream = wait::find("the HTTP source listens", || TcpStream::connect(http));
    let payload = payload(LARGE);
    let sent = format!(
        "POST /topics/{topic} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{payload}",
        payload.len()
    );
    let _ = stream.write_all(sent.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// How the three doors answer a healthy event: MQTT 3.1.1, MQTT 5, HTTP.
fn doors(gateway: &Gateway, http: SocketAddr) -> [String; 3] {
    let by_mqtt = |v5| match publish(&mut connect(gateway, v5), v5, "fine", LARGE) {
        Ok(()) => "taken".to_owned(),
        Err(None) => "closed".to_owned(),
        Err(Some(reason)) => format!("{reason:#x}"),
    };
    [by_mqtt(false), by_mqtt(true), post(http, "fine")]
}

fn count(value: &Value) -> usize {
    value.as_u64().expect("a count") as usize
}

fn is_told(gateway: &Gateway, of: &str, words: &str) -> bool {
    let status = gateway.status();
    let troubles = status["troubles"].as_array().into_iter().flatten();
    let mut troubles = troubles.filter_map(Value::as_str);
    troubles.any(|line| line.starts_with(of) && line.contains(words))
}

/// Both bounds.
fn run(of: &'static str, rules: &'static str, topic: &'static str) {
    for bound in [NUMBER, BYTES] {
        println!("{of}, {bound}");
        check(&Case {
            of,
            bound,
            rules,
            topic,
        });
    }
}

#[test]
fn letters_of_a_rule_wait_are_told_and_go_on_when_some_are_dropped() {
    let rule = "rule s { on \"odd\" send to dead_letter reason \"no\" }\n";
    run("rule s", rule, "odd");
}

#[test]
fn letters_of_a_declaration_wait_are_told_and_go_on_when_some_are_dropped() {
    let breach =
        "event bad { topic \"odd\"\n check int required }\nrule r { on bad send to archive }\n";
    run("event bad", breach, "odd");
}

#[test]
fn letters_of_an_upstream_wait_are_told_and_go_on_when_some_are_dropped() {
    run("upstream web", "rule w { on \"odd\" send to web }\n", "odd");
}

#[test]
fn letters_of_a_source_wait_are_told_and_go_on_when_some_are_dropped() {
    run("source floor", "", "a/long/topic");
}

#[test]
fn a_letter_that_never_fits_is_told_at_check_and_while_it_waits() {
    let webhook = webhook::that_refuses();
    for (more, bound) in [("max_size = \"8KiB\"", "8 KiB"), ("", "32 KiB")] {
        let mut gateway = Gateway::new(&format!(
            "[store]\nmax_size = \"1MiB\"\n\n[dead_letters]\nwhen_full = \"refuse\"\n{more}\n\n\
             [upstreams.web]\ntype = \"http\"\nurl = \"{webhook}\"\nrefusals_max = 1\n"
        ));
        let checked = gateway.ask(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned()
            + &String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{said}");
        let warned =
            "warning: [sources.floor] takes payloads of 256KiB, and all dead letters may have";
        assert!(said.contains(warned), "{said}");
        gateway.start();
        let mut sensor = mqtt::connect(gateway.address, "odd", true).expect("let in");
        publish(&mut sensor, false, "odd", 40 << 10).expect("acknowledged");
        gateway.wait_until("it is told that it never fits", || {
            is_told(
                &gateway,
                "upstream web",
                &format!("all of them may have {bound}"),
            ) && is_told(&gateway, "upstream web", "it waits for ever")
        });
        assert_eq!(gateway.status()["books"]["waiting"], 1, "{}", gateway.log());
    }
}

fn check(case: &Case) {
    let (gateway, http) = start(case);
    let delivered = || gateway.metric("tidegate_upstream_delivered_total", "\"archive\"") as usize;
    let mut odd = 0;
    let mut sensor = mqtt::connect(gateway.address, "odd", true).expect("let in");
    while odd < ODD {
        publish(&mut sensor, false, case.topic, SMALL).expect("acknowledged");
        odd += 1;
    }
    gateway.wait_until("it is a trouble", || is_told(&gateway, case.of, "waits"));
    for v5 in [false, true] {
        let mut sensor = connect(&gateway, v5);
        for _ in 0..HEALTHY {
            publish(&mut sensor, v5, "fine", SMALL).expect("acknowledged");
        }
    }
    assert_eq!(post(http, "fine"), "200", "{}", case.of);
    gateway.wait_until("healthy events go on", || delivered() == 2 * HEALTHY + 1);
    let status = gateway.status();
    let held = count(&status["store"]["dead_letters"]);
    let waiting = count(&status["books"]["waiting"]);
    assert_eq!(held + waiting, odd, "{}: {}", case.of, status["books"]);
    let is_number = case.bound == NUMBER;
    assert!(
        held > 10 && waiting > 10 && (held == 60 || !is_number),
        "{held}"
    );

    while publish(&mut sensor, false, case.topic, LARGE).is_ok() {
        odd += 1;
    }
    // Small ones fit for a while where a large one does not.
    let expected = ["closed", "0x97", "503"];
    wait::find("no door takes one", || {
        let answers = doors(&gateway, http);
        (answers == expected)
            .then_some(())
            .ok_or_else(|| format!("{answers:?}"))
    });
    assert!(
        is_told(&gateway, "", "events are refused"),
        "{}",
        gateway.log()
    );
    freed(case, &gateway, http, odd);
}

/// Letters are dropped until none waits: every door is open again, and all odd ones were letters.
fn freed(case: &Case, gateway: &Gateway, http: SocketAddr, odd: usize) {
    let mut dropped = 0;
    wait::find("dropping letters frees the store", || {
        let said = gateway.ask(&["dead-letters", "drop", "--all", "--yes", "--format", "json"]);
        let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        dropped += count(&said["done"]);
        let books = &gateway.status()["books"];
        (books["waiting"] == 0 && books["difference"] == 0)
            .then_some(())
            .ok_or_else(|| books.to_string())
    });
    let status = gateway.status();
    let books = &status["books"];
    let held = count(&status["store"]["dead_letters"]);
    assert_eq!(dropped + held, odd, "{}: {books}", case.of);
    assert_eq!(books["dead_lettered"], odd, "{}: {books}", case.of);
    assert_eq!(books["letters_dropped"], 0, "{}: {books}", case.of);
    assert_eq!(books["difference"], 0, "{}: {books}", case.of);
    gateway.wait_until("the trouble is over", || {
        !is_told(gateway, case.of, "waits")
    });
    let answers = doors(gateway, http);
    assert_eq!(answers, ["taken", "taken", "200"], "{}", case.of);
}
