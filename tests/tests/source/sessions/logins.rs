//! Whoever is not let in is named in the log, with its address, and no password ever is.

use std::io::{Read, Write};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::binary::password_hash;
use tidegate_tests::mqtt::raw::{Hello, LEVELS, RawClient, V5};
use tidegate_tests::port;

use crate::ARCHIVE;

/// Passwords that are right or wrong: in no log.
const PASSWORDS: [&str; 4] = ["open sesame", "curious", "wr0ng", "t0ken"];

fn login(level: u8, client: &str, user: Option<&str>, password: Option<&str>) -> Hello {
    Hello {
        user: user.map(str::to_owned),
        password: password.map(|it| it.as_bytes().to_vec()),
        ..Hello::new(level, client)
    }
}

/// User, password, and what the log says.
type Login = (Option<&'static str>, Option<&'static str>, &'static str);
const LOGINS: [Login; 9] = [
    (
        Some("press"),
        Some("wr0ng"),
        "the password of the user press is wrong",
    ),
    (
        Some("press"),
        Some("curious"),
        "the password of the user press is wrong",
    ),
    (
        Some("spy"),
        Some(""),
        "the password of the user spy is wrong",
    ),
    (Some("press"), None, "the user press gave no password"),
    (
        Some("oven"),
        Some("wr0ng"),
        "the user name \"oven\" is none of `users`",
    ),
    (
        Some("a\nb"),
        Some("wr0ng"),
        "the user name \"a\\nb\" is none of `users`",
    ),
    (
        Some("open sesame"),
        Some("press"),
        "user name and password are swapped",
    ),
    (
        Some("t0ken"),
        None,
        "a user name that is none of `users`, and no password",
    ),
    (None, None, "no user name and password were given"),
];

/// The lines of the log that tell of a login with these words.
fn lines(gateway: &Gateway, words: &str) -> Vec<String> {
    let log = gateway.whole_log();
    let told = log.lines().filter(|line| line.contains("login failed: "));
    let lines = told.filter(|line| line.contains(words));
    lines.map(str::to_owned).collect()
}

/// Waits until the log names who was not let in, and from where.
fn assert_told(gateway: &Gateway, words: &str) {
    gateway.wait_until(words, || !lines(gateway, words).is_empty());
    for line in lines(gateway, words) {
        assert!(line.contains("peer=127.0.0.1"), "{line}");
    }
}

/// A gateway with the users `press` and `spy` at its listener and at an HTTP source.
fn with_users() -> (Gateway, std::net::SocketAddr) {
    let hooks = port::free();
    let users = |source: &str| {
        format!(
            "[sources.{source}.users.press]\npassword_hash = \"{}\"\npublish = [\"plant/{{client}}/#\"]\n\
             [sources.{source}.users.spy]\npassword_hash = \"{}\"\n\n",
            password_hash("open sesame"),
            password_hash("curious")
        )
    };
    let http = format!("[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n");
    let mut gateway = Gateway::new(&format!(
        "{}{http}{}{ARCHIVE}",
        users("floor"),
        users("hooks")
    ));
    gateway.start();
    (gateway, hooks)
}

#[test]
fn who_is_not_let_in_is_named_with_its_address_and_without_its_password() {
    let (gateway, hooks) = with_users();
    let mut count = 0;
    for (user, password, expected) in LOGINS {
        for level in LEVELS {
            let mut client = RawClient::dial(gateway.address);
            client.send(&login(level, "device", user, password).packet());
            let answer = client.packet().expect("a CONNACK");
            assert_eq!(
                answer.1[1],
                if level == V5 { 0x86 } else { 4 },
                "{expected}"
            );
            count += 1;
        }
        if user.is_some_and(|user| !user.contains('\n')) && password.is_some() {
            let basic = format!(
                "{}:{}",
                user.unwrap_or_default(),
                password.unwrap_or_default()
            );
            let answer = post(hooks, &basic);
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            count += 1;
        }
        assert_told(&gateway, expected);
    }
    let counted = gateway.metric("tidegate_source_failed_logins_total", "");
    assert_eq!(counted, count, "each is counted");
    assert_no_password(&gateway);
}

#[test]
fn a_client_that_is_refused_after_its_login_is_named_too() {
    let (gateway, _) = with_users();
    for level in LEVELS {
        let refused = |hello: Hello, words: &str| {
            let mut client = RawClient::dial(gateway.address);
            client.send(&hello.packet());
            let answer = client.packet().expect("a CONNACK");
            assert_eq!(answer.1[1], if level == V5 { 0x87 } else { 5 }, "{words}");
            assert_told(&gateway, words);
        };
        let press = |client: &str| login(level, client, Some("press"), Some("open sesame"));
        refused(press("a/#"), "user press: ");
        let _own = RawClient::connect(gateway.address, &press("own"));
        let stolen = login(level, "own", Some("spy"), Some("curious"));
        refused(
            stolen,
            "user spy: the client id \"own\" is in use by another user",
        );
    }
    assert_no_password(&gateway);
}

#[test]
fn a_flood_of_logins_is_counted_and_not_written_out() {
    let (mut gateway, _) = with_users();
    for round in 0..200 {
        let mut client = RawClient::dial(gateway.address);
        // No password: nothing slow is computed.
        client.send(&login(V5, &format!("device-{round}"), Some("press"), None).packet());
        assert_eq!(client.packet().expect("a CONNACK").1[1], 0x86);
    }
    let words = "the user press gave no password";
    assert!(lines(&gateway, words).len() < 20, "{}", gateway.log());
    assert!(gateway.terminate().success());
    assert_eq!(gateway.said(&format!("login failed: {words}")), 200);
}

fn assert_no_password(gateway: &Gateway) {
    let status = gateway.ask(&["status"]).stdout;
    let events = format!("{:?}", gateway.events(&["--limit", "10000"]));
    let all = [
        gateway.whole_log(),
        String::from_utf8_lossy(&status).into_owned(),
        events,
    ];
    for password in PASSWORDS {
        assert!(
            all.iter().all(|text| !text.contains(password)),
            "{password}: {all:#?}"
        );
    }
}

/// Posts with a login; the answer.
fn post(address: std::net::SocketAddr, login: &str) -> String {
    let login = base64(login.as_bytes());
    let request = format!(
        "POST /topics/t HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {login}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1"
    );
    let mut stream = port::connect(address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).map(|group| {
        let mut bits = [0; 4];
        bits[1..1 + group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        let digit = |at: usize| match at <= group.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * at) & 0x3f) as usize]),
            false => '=',
        };
        (0..4).map(digit).collect::<String>()
    });
    groups.collect()
}
