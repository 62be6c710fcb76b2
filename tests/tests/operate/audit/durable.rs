//! A change is answered once its event is on disk: a kill right behind the answer loses none and tells none twice. What a full
//! store does not take is kept beside it, told as a trouble, and comes into the log when there is room.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::gateway::{End, Gateway};
use tidegate_tests::wait::PATIENCE;
use tidegate_tests::{port, wait};

use super::{ARCHIVE, RULES, audited, done, next, publish, sha256, shown, write_secret};

fn ids(gateway: &Gateway) -> Vec<String> {
    let letters = gateway.dead_letters();
    let ids = letters.iter().filter_map(|letter| letter["id"].as_str());
    ids.map(str::to_owned).collect()
}

fn subjects(gateway: &Gateway, kind: &str) -> Vec<Value> {
    let all = audited(gateway, kind);
    all.into_iter().map(|one| one["subject"].clone()).collect()
}

#[test]
fn number_9_a_kill_right_behind_a_change_loses_no_event() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/a.rules", RULES);
    gateway.start();
    let topics = ["bad/1", "bad/2", "bad/3", "bad/4", "bad/5", "bad/6"];
    publish(&gateway, &topics);
    wait::until("six dead letters", || gateway.dead_letters().len() == 6);
    let ids = ids(&gateway);
    for id in &ids {
        done(&gateway, &["dead-letters", "drop", id]);
        gateway.end(End::Killed);
        gateway.start();
    }
    let told = subjects(&gateway, "dead_letters");
    assert_eq!(told, ids, "each once, in their order");
    // What is read from files is said to be in force, in the log, once that is on disk.
    let config = shown(&gateway, "gateway.toml");
    for number in 1..=4 {
        let before = sha256(&[&config]);
        let text = std::fs::read_to_string(&config).expect("a configuration");
        std::fs::write(&config, format!("{text}# {number}\n")).expect("written");
        gateway.signal("HUP");
        gateway.wait_until("it is said to be in force", || {
            gateway
                .whole_log()
                .matches("configuration read again")
                .count()
                >= number
        });
        gateway.end(End::Killed);
        gateway.start();
        let change = next(&gateway, "configuration", number - 1);
        assert_eq!(change["data"]["before"], before);
        assert_eq!(change["data"]["after"], sha256(&[&config]));
    }
    for number in 1..=4 {
        let rule = format!("rule more {{ on \"more/{number}\" send to archive }}\n");
        gateway.write("rules/b.rules", &rule);
        let says = format!("audit: rules {} changed", shown(&gateway, "rules"));
        gateway.wait_until("it is said to be in force", || {
            gateway.whole_log().matches(&says).count() >= number
        });
        gateway.end(End::Killed);
        gateway.start();
        next(&gateway, "rules", number - 1);
    }
}

/// Posts bytes; whether they were stored.
fn posted(http: SocketAddr, bytes: usize) -> bool {
    let mut stream = wait::find("the HTTP source listens", || TcpStream::connect(http));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let body = "x".repeat(bytes);
    let head = "POST /topics/fill HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: text/plain\r\n";
    let request = format!("{head}Content-Length: {bytes}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.starts_with("HTTP/1.1 200")
}

fn waits(gateway: &Gateway) -> Option<String> {
    let all = troubles(gateway);
    let told =
        |line: &&String| line.starts_with("audit: ") && line.contains("not in the event log");
    all.iter().find(told).cloned()
}

#[test]
fn number_9_what_a_full_store_does_not_take_is_kept_beside_it() {
    let (http, away) = (port::free(), port::free());
    let mut gateway = Gateway::new(&format!(
        "[sources.posts]\ntype = \"http\"\nlisten = \"{http}\"\n\n\
         [store]\nmax_size = \"2MiB\"\nkeep_for = \"0s\"\n\n{ARCHIVE}\
         [upstreams.away]\ntype = \"http\"\nurl = \"http://{away}/in\"\n"
    ));
    let rules = format!("{RULES}rule rest {{ on \"fill/#\" send to away }}\n");
    gateway.write("rules/a.rules", &rules);
    gateway.start();
    publish(&gateway, &["bad/1", "bad/2", "bad/3"]);
    wait::until("three dead letters", || gateway.dead_letters().len() == 3);
    let ids = ids(&gateway);
    for bytes in [16_000, 2_000, 200, 1] {
        wait::until("the store is full", || !posted(http, bytes));
    }
    done(&gateway, &["dead-letters", "drop", &ids[0]]);
    done(&gateway, &["dead-letters", "drop", &ids[1]]);
    let told = wait::find("the changes wait", || waits(&gateway).ok_or(gateway.log()));
    assert!(told.contains("changes are"), "{told}");
    for end in [End::Killed, End::Terminated] {
        gateway.end(end);
        gateway.start();
        wait::until("the changes wait still", || waits(&gateway).is_some());
        assert_eq!(subjects(&gateway, "dead_letters").len(), 0);
    }
    gateway.terminate();
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text.replace("2MiB", "64MiB")).expect("written");
    gateway.start();
    let both = &ids[..2];
    wait::until("both are told", || {
        subjects(&gateway, "dead_letters") == both
    });
    wait::until("nothing waits", || waits(&gateway).is_none());
    gateway.end(End::Killed);
    gateway.start();
    assert_eq!(subjects(&gateway, "dead_letters"), both, "each once");
}

#[test]
fn number_9_a_secret_from_the_environment() {
    let cloud = |word: &str| {
        format!(
            "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\nuser = \"a\"\n{word}\n\
             client_id = \"${{SITE}}\"\n"
        )
    };
    let password = "password = \"${CLOUD_PASSWORD}\"";
    let mut gateway = Gateway::new(&format!("{ARCHIVE}{}", cloud(password)));
    gateway.variable("SITE", "north");
    // What it holds from one start to the next, and whether that is a change.
    let starts = [
        ("1234", false),
        ("1234", false),
        ("4321", true),
        ("4321", false),
        ("", true),
        ("1234", true),
    ];
    let mut changes = 0;
    for (secret, is_change) in starts {
        gateway.variable("CLOUD_PASSWORD", secret);
        gateway.start();
        if is_change {
            let change = next(&gateway, "secret", changes);
            changes += 1;
            assert_eq!(change["subject"], "${CLOUD_PASSWORD}");
            let data = &change["data"];
            assert!(data["before"].is_string() && data["after"].is_string());
            assert_ne!(data["before"], data["after"]);
            write_secret(&gateway, "guess", secret);
            let guess = sha256(&[&shown(&gateway, "guess")]);
            assert_ne!(data["after"], guess, "a weak one cannot be tried out");
        }
        // Another change after it shows that none is still to come.
        publish(&gateway, &["t"]);
        assert_eq!(audited(&gateway, "secret").len(), changes, "{secret:?}");
        gateway.end(End::Terminated);
    }
    gateway.variable("SITE", "south");
    gateway.start();
    assert_eq!(next(&gateway, "secret", changes)["subject"], "${SITE}");
    let all = gateway.events(&["--limit", "1000"]);
    let text = format!("{all:?}{}", gateway.whole_log());
    for secret in ["1234", "4321"] {
        assert!(!text.contains(&format!("\"{secret}\"")), "{text}");
    }
}
