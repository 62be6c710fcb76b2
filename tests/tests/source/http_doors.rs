//! What comes over HTTP compressed, half, with a token or from another gateway, at the real program.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, port, wait};

/// A gateway with an HTTP source `hooks`; `more` are further keys of it and what follows.
fn with_hooks(more: &str) -> (Gateway, SocketAddr) {
    let hooks = port::free();
    let source = format!("[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n{more}");
    (Gateway::new(&source), hooks)
}

/// Posts to `path`; the answer with its head.
fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = match headers.contains("Transfer-Encoding") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{length}{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("a head");
    // The other end may answer and close before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn bare(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", body.len());
    [size.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

/// Without its last bytes.
fn torn(body: Vec<u8>, bytes: usize) -> Vec<u8> {
    body[..body.len() - bytes].to_vec()
}

fn followed(body: Vec<u8>) -> Vec<u8> {
    [&body[..], b"more"].concat()
}

/// With another check sum of what it holds.
fn damaged(mut body: Vec<u8>, from_end: usize) -> Vec<u8> {
    let place = body.len() - from_end;
    body[place] ^= 1;
    body
}

const TEXT: &[u8] = br#"{"celsius": 21.50, "note": "aaaaaaaaaaaaaaaaaaaa"}"#;
const GZIP: &str = "Content-Encoding: gzip\r\n";
const DEFLATE: &str = "Content-Encoding: deflate\r\n";
const STRUCTURED: &str = "Content-Type: application/cloudevents+json\r\n";
const BATCH: &str = "Content-Type: application/cloudevents-batch+json\r\n";

/// Headers, the body, the status, and a part of the answer.
type Encoded = (String, Vec<u8>, u16, &'static str);

fn decoded_bodies() -> Vec<Encoded> {
    let event = |id| {
        let start = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","data":"#);
        [start.as_bytes(), TEXT, b"}"].concat()
    };
    let batch = [b"[", &event("b")[..], b",", &event("c")[..], b"]"].concat();
    let two_members = [gzip(&TEXT[..7]), gzip(&TEXT[7..])].concat();
    let content = |coding: &str| format!("Content-Encoding: {coding}\r\n");
    let transfer = |coding: &str| format!("Transfer-Encoding: {coding}\r\n");
    let both = format!("{}{}", content("deflate"), transfer("gzip, chunked"));
    let lines = format!("{GZIP}{DEFLATE}");
    let one = "\"stored\":1";
    [
        (content("gzip"), gzip(TEXT), one),
        (content("x-gzip"), gzip(TEXT), one),
        (content("GZip"), gzip(TEXT), one),
        (content("identity, gzip"), gzip(TEXT), one),
        (content("gzip"), two_members, one),
        (content("deflate"), zlib(TEXT), one),
        (content("deflate"), bare(TEXT), one),
        (content("gzip, deflate"), zlib(&gzip(TEXT)), one),
        (lines, zlib(&gzip(TEXT)), one),
        (content("identity"), TEXT.to_vec(), one),
        (transfer("chunked"), chunked(TEXT), one),
        (transfer("gzip, chunked"), chunked(&gzip(TEXT)), one),
        (transfer("deflate,chunked"), chunked(&zlib(TEXT)), one),
        (both, chunked(&gzip(&zlib(TEXT))), one),
        (format!("{GZIP}{STRUCTURED}"), gzip(&event("a")), one),
        (format!("{GZIP}{BATCH}"), gzip(&batch), "\"stored\":2"),
    ]
    .map(|(headers, body, said)| (headers, body, 200, said))
    .into()
}

fn refused_bodies() -> Vec<Encoded> {
    let zeros = vec![0; 10_000_000];
    let noise: Vec<u8> = (0..1024).map(|_| fastrand::u8(..)).collect();
    let transfer = "Transfer-Encoding: gzip, chunked\r\n";
    let of = |headers: &str, body, status, what| (headers.to_owned(), body, status, what);
    vec![
        of(GZIP, torn(gzip(TEXT), 1), 400, "no gzip from end to end"),
        of(GZIP, torn(gzip(TEXT), 20), 400, "no gzip"),
        of(GZIP, followed(gzip(TEXT)), 400, "no gzip"),
        of(GZIP, damaged(gzip(TEXT), 8), 400, "no gzip"),
        of(GZIP, TEXT.to_vec(), 400, "no gzip"),
        of(GZIP, Vec::new(), 400, "no gzip"),
        of(DEFLATE, torn(zlib(TEXT), 1), 400, "no deflate from end"),
        of(DEFLATE, torn(bare(TEXT), 1), 400, "no deflate"),
        of(DEFLATE, followed(zlib(TEXT)), 400, "something follows"),
        of(DEFLATE, followed(bare(TEXT)), 400, "something follows"),
        of(DEFLATE, damaged(zlib(TEXT), 1), 400, "no deflate"),
        of(DEFLATE, Vec::new(), 400, "no deflate"),
        of(transfer, chunked(TEXT), 400, "no gzip"),
        of(GZIP, gzip(&zeros), 413, "over 1024 bytes"),
        of(DEFLATE, zlib(&zeros), 413, "over 1024 bytes"),
        of(DEFLATE, bare(&zeros), 413, "over 1024 bytes"),
        of(transfer, chunked(&gzip(&zeros)), 413, "over 1024"),
        of(
            "Content-Encoding: gzip, gzip\r\n",
            gzip(&gzip(&zeros)),
            413,
            "over 1024",
        ),
        of(GZIP, gzip(&[&noise[..], b"x"].concat()), 413, "over 1024"),
        of(GZIP, vec![0; 4096], 413, "over 1024"),
        of("Content-Encoding: br\r\n", TEXT.to_vec(), 415, "gzip"),
        of("Content-Encoding: zstd\r\n", TEXT.to_vec(), 415, "zstd"),
        of(
            "Transfer-Encoding: compress, chunked\r\n",
            chunked(TEXT),
            501,
            "Transfer-Encoding: compress",
        ),
        of(
            "Content-Encoding: gzip,gzip,gzip,gzip,gzip\r\n",
            gzip(TEXT),
            400,
            "more than 4 times",
        ),
    ]
}

#[test]
fn a_compressed_body_is_the_payload_that_its_sender_had_within_the_limit() {
    let (mut gateway, hooks) = with_hooks("max_payload = \"1KiB\"\n");
    gateway.start();
    let cases = decoded_bodies().into_iter().chain(refused_bodies());
    let mut stored = 0;
    for (number, (headers, body, status, what)) in (0..).zip(cases) {
        let path = match headers.contains("cloudevents") {
            true => "/events".to_owned(),
            false => format!("/topics/case/{number}"),
        };
        let answer = post(hooks, &path, &headers, &body);
        let expected = format!("HTTP/1.1 {status}");
        assert!(
            answer.starts_with(&expected) && answer.contains(what),
            "case {number}: {headers}{what}\n{answer}"
        );
        stored += if status == 200 { 1 } else { 0 };
    }
    // The batch has two.
    let listed = gateway.events(&["--source", "plant-a/hooks", "--limit", "1000"]);
    let of_cloudevents = gateway.events(&["--source", "s"]);
    assert_eq!(listed.len() + of_cloudevents.len(), stored + 1);
    let sent: serde_json::Value = serde_json::from_slice(TEXT).expect("JSON");
    for event in listed.iter().chain(&of_cloudevents) {
        assert_eq!(event["event"]["data"], sent, "{event}");
    }
    // What does not shrink may fill the limit.
    let full: Vec<u8> = (0..1024).map(|_| fastrand::u8(..)).collect();
    let answer = post(hooks, "/topics/full", GZIP, &gzip(&full));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// What each of the connections of one address sends, and then no more.
const HALVES: &[&str] = &[
    "",
    "POST /topics/a",
    "POST /topics/a HTTP/1.1\r\nHost: h\r\nX-Half",
    "POST /topics/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n12",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Type: application/cloudevents-batch+json\r\nContent-Length: 4000000\r\n\r\n[",
    "POST /topics/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n1234",
];

/// Posts one event from another address of this machine; the status.
const FROM_ELSEWHERE: &str = "import http.client, sys
c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), source_address=('127.0.0.2', 0))
c.request('POST', '/topics/elsewhere', b'1')
print(c.getresponse().status)
";

#[test]
fn connections_of_one_address_that_send_half_do_not_shut_others_out() {
    for half in HALVES {
        // Fewer than this address opens, more than it may hold.
        let (mut gateway, hooks) = with_hooks("max_connections = 80\n");
        gateway.start();
        let held: Vec<TcpStream> = (0..120)
            .map(|_| {
                let mut stream = TcpStream::connect(hooks).expect("it listens");
                // One that is turned away may be closed already.
                let _ = stream.write_all(half.as_bytes());
                stream
            })
            .collect();
        gateway.wait_until("the rest is turned away", || {
            let turned = gateway.metric(
                "tidegate_source_malformed_total",
                "connections of one address",
            );
            turned >= 56
        });
        let elsewhere = Command::new("python3")
            .args(["-c", FROM_ELSEWHERE, &hooks.port().to_string()])
            .output()
            .expect("python3 runs");
        let status = String::from_utf8_lossy(&elsewhere.stdout);
        let why = String::from_utf8_lossy(&elsewhere.stderr);
        assert_eq!(status.trim(), "200", "{half:?}\n{why}");
        drop(held);
    }
}

#[test]
fn a_head_that_does_not_end_ends_its_connection() {
    let (mut gateway, hooks) = with_hooks("");
    gateway.start();
    let senders = HALVES[..3].iter().map(|half| {
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(hooks).expect("it listens");
            stream.write_all(half.as_bytes()).expect("a part");
            let waits = std::time::Duration::from_millis(200);
            stream.set_read_timeout(Some(waits)).expect("a limit");
            let mut drip = 0;
            // A byte now and then does not keep it open.
            wait::until("the connection ends", || {
                drip += 1;
                let sent = half.is_empty() || stream.write_all(b"x").is_ok();
                !sent || matches!(stream.read(&mut [0; 256]), Ok(_))
            });
            drip
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        assert!(sender.join().expect("a sender") > 1);
    }
}

const TOKEN: &str = "press-7.0123456789abcdef~+/==";
/// Its SHA-256 is the one of the user `oven`.
const OVEN: &str = "oven-0123456789abcdef";

/// Users in a gateway's folder, whose tokens are `TOKEN` and `OVEN`.
fn users(gateway: &Gateway) -> String {
    let file = gateway.path("press.token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let mut sum = Command::new("sh");
    sum.args(["-c", &format!("printf %s {OVEN} | sha256sum")]);
    let sum = sum.output().expect("sha256sum runs").stdout;
    let sum = String::from_utf8_lossy(&sum[..64]).to_uppercase();
    let password = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$c1mJp0zQ6s0oZcJd0tO0kz8n9mZ1m6f2b5l8uV0Yx3A";
    format!(
        "users = {{ press = {{ bearer_file = \"press.token\", publish = [\"hall/#\"] }}, \
         oven = {{ bearer_hash = \"{sum}\", password_hash = \"{password}\", publish = [\"oven\"] }}, \
         lamp = {{ password_hash = \"{password}\", publish = [\"#\"] }} }}\n"
    )
}

/// A gateway with those users, and `more` in front of them.
fn with_users(more: &str) -> (Gateway, SocketAddr) {
    let (gateway, hooks) = with_hooks("");
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let text = format!("{text}{more}{}", users(&gateway));
    std::fs::write(&config, text).expect("a configuration");
    (gateway, hooks)
}

#[test]
fn a_bearer_token_is_the_login_of_its_user_alone() {
    let (mut gateway, hooks) = with_users("");
    gateway.start();
    for (path, login, status, publisher) in [
        ("/topics/hall/7", format!("Bearer {TOKEN}"), 200, "press"),
        ("/topics/hall/7", format!("bearer  {TOKEN} "), 200, "press"),
        ("/topics/oven", format!("BEARER {OVEN}"), 200, "oven"),
        ("/topics/oven", format!("Bearer {TOKEN}"), 403, ""),
        ("/topics/hall/7", format!("Bearer {OVEN}"), 403, ""),
        ("/topics/hall/7", format!("Bearer {TOKEN}x"), 401, ""),
        ("/topics/hall/7", "Bearer ".to_owned(), 401, ""),
        ("/topics/hall/7", format!("Token {TOKEN}"), 401, ""),
        ("/topics/hall/7", TOKEN.to_owned(), 401, ""),
        // `press:` and `press:` with the token: a user without a password has none, not an empty one.
        ("/topics/hall/7", "Basic cHJlc3M6".to_owned(), 401, ""),
    ] {
        let headers = format!("Authorization: {login}\r\n");
        let answer = post(hooks, path, &headers, b"1");
        let expected = format!("HTTP/1.1 {status}");
        assert!(
            answer.starts_with(&expected),
            "{path} {login} {publisher}\n{answer}"
        );
        for challenge in ["basic realm", "bearer realm"] {
            let challenge = format!("www-authenticate: {challenge}");
            let is_asked = answer.to_lowercase().contains(&challenge);
            assert_eq!(is_asked, status == 401, "{login}\n{answer}");
        }
    }
    let log = gateway.whole_log();
    assert!(log.contains("the bearer token is of none of"), "{log}");
    assert!(
        log.contains("127.0.0.1") && !log.contains("0123456789abcdef"),
        "{log}"
    );
}

/// Keys of a user `x`, the mode and text of the file `x.token`, and what `check` says.
const BAD_TOKENS: &[(&str, u32, &str, &str)] = &[
    (
        "bearer_file = \"x.token\"",
        0o644,
        TOKEN,
        "open to everyone",
    ),
    (
        "bearer_file = \"x.token\"",
        0o600,
        "short",
        "shorter than 16",
    ),
    ("bearer_file = \"x.token\"", 0o600, "", "is empty"),
    (
        "bearer_file = \"x.token\"",
        0o600,
        "0123456789abcdef\nsecond",
        "U+000A",
    ),
    (
        "bearer_file = \"x.token\"",
        0o600,
        "\u{feff}0123456789abcdef",
        "U+FEFF",
    ),
    (
        "bearer_file = \"x.token\"",
        0o600,
        TOKEN,
        "the same bearer token",
    ),
    ("bearer_file = \"none.token\"", 0o600, "", "cannot read"),
    ("bearer_hash = \"abc\"", 0o600, "", "64 hexadecimal digits"),
    (
        "bearer_hash = \"abc\", bearer_file = \"x.token\"",
        0o600,
        TOKEN,
        "say the same thing twice",
    ),
];

#[test]
fn a_token_that_cannot_work_is_told_by_check() {
    for (keys, mode, text, what) in BAD_TOKENS {
        let (gateway, _) = with_users("");
        gateway.write("x.token", text);
        let permissions = std::fs::Permissions::from_mode(*mode);
        std::fs::set_permissions(gateway.path("x.token"), permissions).expect("its mode");
        let config = gateway.path("gateway.toml");
        let before = std::fs::read_to_string(&config).expect("a configuration");
        let after = before.replace("lamp = {", &format!("x = {{ {keys} }}, lamp = {{"));
        std::fs::write(&config, after).expect("a configuration");
        let checked = gateway.ask(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(!checked.status.success(), "{keys} {text:?}");
        assert!(said.contains(what), "{keys} {text:?}: {what}\n{said}");
        assert!(!said.contains("0123456789abcdef"), "{said}");
    }
}

#[test]
fn a_listener_of_mqtt_takes_no_token() {
    let (gateway, _) = with_hooks("");
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let users = "type = \"mqtt-listener\"\nusers = { x = { bearer_hash = \"abc\" } }";
    let text = text.replace("type = \"mqtt-listener\"", users);
    std::fs::write(&config, text).expect("a configuration");
    let said = gateway.ask(&["check"]);
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("unknown key `bearer_hash`"), "{said}");
}

/// Headers and bodies of events as CloudEvents allows them, and a text that the central shows of each.
fn events_on_the_way() -> Vec<(String, String, &'static str)> {
    let event = "ce-specversion: 1.0\r\nce-source: s\r\nce-type: t\r\n";
    let with = |headers: &str| format!("{event}{headers}\r\n");
    let many: String = (0..32).map(|n| format!("ce-x{n}: v\r\n")).collect();
    let long_id = "i".repeat(1024);
    let document = |more: &str| {
        format!(r#"{{"specversion":"1.0","id":"j{more}","source":"s","type":"t","data":1}}"#)
    };
    let id = |id: &str| format!("{event}ce-id: {id}\r\n");
    vec![
        (String::new(), "1".into(), "\"data\":1"),
        ("Content-Type: \r\n".into(), "21,5 C".into(), "21,5 C"),
        (format!("{}{many}", id("many")), "2".into(), "\"x31\":\"v\""),
        (id(&long_id), "3".into(), "\"data\":3"),
        (
            with("ce-id: name\r\nce-averylongnameofanattribute2: v"),
            "4".into(),
            "\"averylongnameofanattribute2\":\"v\"",
        ),
        (
            with("ce-id: nano\r\nce-time: 2026-01-02T03:04:05.123456789012Z"),
            "5".into(),
            "2026-01-02T03:04:05.123",
        ),
        (
            with("ce-id: quoted\r\nce-subject: \"a \\\"b\\\" %E2%82%AC\""),
            "6".into(),
            r#""subject":"a \"b\" €""#,
        ),
        (
            with("ce-id: lone\r\nce-subject: 5%22 \"x\" y"),
            "7".into(),
            r#""subject":"5\" \"x\" y""#,
        ),
        (
            with("ce-id: none\r\nce-note: "),
            "8".into(),
            "\"note\":\"\"",
        ),
        (
            with("ce-id: mixed\r\nCE-Publisher: "),
            "9".into(),
            "\"data\":9",
        ),
        (
            STRUCTURED.into(),
            document("1\",\"publisher\":\"\",\"note\":\""),
            "\"id\":\"j1",
        ),
        (
            STRUCTURED.into(),
            document("2\",\"averylongnameofanattribute2\":\"w"),
            "\"averylongnameofanattribute2\":\"w\"",
        ),
        (
            STRUCTURED.into(),
            document("3\",\"time\":\"2026-01-02t03:04:06.000000000000z"),
            "2026-01-02T03:04:06",
        ),
    ]
}

const RULES: &str = "rule all { on \"#\" send to central }\n\
    rule derived { on \"#\" send to central topic \"derived/all\" key \"k\" }\n";

#[test]
fn a_gateway_takes_whatever_another_one_sends() {
    for lane in ["", "format = \"structured\"\n", "batch_max = 7\n"] {
        let (mut central, door) = with_hooks("");
        central.start();
        let upstream = format!(
            "\n[upstreams.central]\ntype = \"http\"\nurl = \"http://{door}/events\"\n{lane}"
        );
        let (mut edge, hooks) = with_hooks(&upstream);
        edge.write("rules/all.rules", RULES);
        let config = edge.path("gateway.toml");
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let deep = "type = \"mqtt-listener\"\nmax_topic_levels = 200\nmax_topic = \"2000B\"";
        let text = text
            .replace("\"plant-a\"", "\"plant-b\"")
            .replace("type = \"mqtt-listener\"", deep);
        std::fs::write(&config, text).expect("a configuration");
        edge.start();
        let events = events_on_the_way();
        for (headers, body, what) in &events {
            let answer = post(hooks, "/events", headers, body.as_bytes());
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "{headers}{what}\n{answer}"
            );
        }
        let topic = vec!["level"; 200].join("/");
        let mut device = mqtt::connect(edge.address, "deep", true).expect("let in");
        mqtt::publish_acknowledged(&mut device, &topic, 1, b"10");
        let sent = 2 * (events.len() + 1);
        let mut listed = Vec::new();
        wait::find("everything arrives", || {
            listed = central.events(&["--limit", "10000"]);
            listed.retain(|event| event["topic"].as_str().is_none_or(|t| !t.starts_with('$')));
            let letters = edge.dead_letters();
            assert!(letters.is_empty(), "{lane}: {letters:?}");
            (listed.len() == sent).then_some(()).ok_or(listed.len())
        });
        for (_, _, what) in &events {
            let shows = |event: &&serde_json::Value| event.to_string().contains(what);
            assert_eq!(
                listed.iter().filter(shows).count().min(2),
                2,
                "{lane} {what}"
            );
        }
    }
}
