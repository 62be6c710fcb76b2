//! Who was not let in: each of the first ones is told, then their count.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::binary;
use tidegate_tests::mqtt::packet;
use tidegate_tests::{port, wait};

use super::{ARCHIVE, audited, next};

/// Wrong bearer tokens in a row.
const FLOOD: u64 = 3_000;
const TOKEN: &str = "Authorization: Bearer 0123456789abcdef0123456789";

/// A CONNECT of MQTT 3.1.1 with a login, which is refused.
fn connect(address: SocketAddr, user: Option<&str>, password: Option<&str>) {
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    let mut flags = 2;
    flags |= user.map_or(0, |_| 0x80) | password.map_or(0, |_| 0x40);
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 60];
    text(&mut body, "press");
    user.iter().for_each(|user| text(&mut body, user));
    password
        .iter()
        .for_each(|password| text(&mut body, password));
    let mut stream = port::connect(address);
    stream.write_all(&packet(0x10, &body)).expect("it reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("a CONNACK");
    assert_ne!(answer[3], 0, "it is let in");
}

/// Posts with these logins over one connection; none is let in.
fn post(address: SocketAddr, login: &str, times: u64) {
    // It comes up beside the listener that the harness waits for.
    let stream = wait::find("it listens", || TcpStream::connect(address));
    let mut answers = std::io::BufReader::new(stream.try_clone().expect("a stream"));
    let mut stream = stream;
    for _ in 0..times {
        let request =
            format!("POST /topics/t HTTP/1.1\r\nHost: x\r\n{login}\r\nContent-Length: 1\r\n\r\n1");
        stream.write_all(request.as_bytes()).expect("it reads");
        let answer = answer(&mut answers);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

/// One answer with its body.
fn answer(stream: &mut impl std::io::BufRead) -> String {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("an answer");
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    head
}

/// A visit, the source, the user where that is told, and a word of why.
type Case<'a> = (&'a dyn Fn(), &'a str, Value, &'a str);

/// A gateway with a user `press` at an MQTT listener and at an HTTP source.
fn gateway() -> (Gateway, SocketAddr) {
    let (hooks, hash) = (port::free(), binary::password_hash("open sesame"));
    let users = |source: &str, hash: &str| {
        format!("[sources.{source}.users.press]\n{hash}\npublish = [\"#\"]\n\n")
    };
    let hash = format!("password_hash = \"{hash}\"");
    let bearer = format!("bearer_hash = \"{}\"\npublish = [\"#\"]", "ab".repeat(32));
    let config = format!(
        "{}[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n{}[sources.hooks.users.oven]\n{bearer}\n\n{ARCHIVE}",
        users("floor", &hash),
        users("hooks", &hash)
    );
    (Gateway::new(&config), hooks)
}

#[test]
fn number_9_each_refused_login() {
    let (mut gateway, hooks) = gateway();
    gateway.start();
    let floor = gateway.address;
    let basic = |login: &str| format!("Authorization: Basic {login}");
    // `press:wrong` and `s3cret:x`.
    let (wrong, strange) = (basic("cHJlc3M6d3Jvbmc="), basic("czNjcmV0Ong="));
    let cases: [Case<'_>; 7] = [
        (
            &|| connect(floor, Some("press"), Some("0pen sesame")),
            "floor",
            json!("press"),
            "password",
        ),
        (
            &|| connect(floor, Some("s3cret"), Some("x")),
            "floor",
            Value::Null,
            "none of `users`",
        ),
        (
            &|| connect(floor, Some("press"), None),
            "floor",
            json!("press"),
            "no password",
        ),
        (
            &|| connect(floor, None, None),
            "floor",
            Value::Null,
            "were given",
        ),
        (
            &|| post(hooks, &wrong, 1),
            "hooks",
            json!("press"),
            "password",
        ),
        (
            &|| post(hooks, &strange, 1),
            "hooks",
            Value::Null,
            "none of `users`",
        ),
        (
            &|| post(hooks, TOKEN, 1),
            "hooks",
            Value::Null,
            "bearer token",
        ),
    ];
    check(&gateway, &cases);
    let all = format!("{:?}{}", gateway.events(&[]), gateway.whole_log());
    for secret in ["0123456789abcdef", "0pen sesame"] {
        assert!(!all.contains(secret), "{secret}");
    }
    let line = "login failed: the password of the user press is wrong";
    let log = gateway.whole_log();
    let told = log
        .lines()
        .find(|told| told.contains(line))
        .expect("a line");
    assert!(
        told.contains("peer=127.0.0.1") && told.contains("user=\"press\""),
        "{told}"
    );
}

/// Each visit is told, at its source, with the user where that is known, and with why.
fn check(gateway: &Gateway, cases: &[Case<'_>]) {
    for (before, (visit, source, user, word)) in cases.iter().enumerate() {
        visit();
        let told = next(gateway, "login", before);
        let data = &told["data"];
        assert_eq!(told["subject"], *source);
        let who = json!({ "by": "client", "address": "127.0.0.1", "user": user });
        assert_eq!(data["who"], who, "{told:#}");
        assert_eq!(
            (&data["action"], &data["count"]),
            (&json!("refused"), &json!(1))
        );
        let why = data["why"].as_str().expect("a word");
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn number_9_a_flood_of_wrong_logins_fills_neither_log_nor_store() {
    let (mut gateway, hooks) = gateway();
    gateway.start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| post(hooks, TOKEN, FLOOD / 4));
        }
    });
    assert_eq!(
        gateway.metric("tidegate_source_failed_logins_total", "hooks"),
        FLOOD
    );
    let first = wait::find("the first ones", || {
        let all = audited(&gateway, "login");
        let enough = all.len() >= 8;
        enough.then_some(all).ok_or_else(|| gateway.log())
    });
    assert!(
        first.iter().take(8).all(|told| told["data"]["count"] == 1),
        "{first:#?}"
    );
    // What was only counted is told at an orderly end, if not before.
    assert!(gateway.terminate().success());
    let all: Vec<_> = gateway.events(&["--topic", "$tidegate/audit/login", "--limit", "1000"]);
    let counts = all
        .iter()
        .map(|told| told["event"]["data"]["count"].as_u64());
    let sum: u64 = counts.map(|count| count.expect("a count")).sum();
    assert_eq!(sum, FLOOD, "none is forgotten");
    assert!(all.len() <= 14, "{} events of {FLOOD} refusals", all.len());
    let log = gateway.whole_log();
    let lines = log
        .lines()
        .filter(|line| line.contains("bearer token"))
        .count();
    assert!(lines <= 20, "{lines} lines of {FLOOD} refusals");
}
