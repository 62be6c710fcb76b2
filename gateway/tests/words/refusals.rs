//! Why events are refused, as each sender is told it: the words of the status, and when to come again.

use std::net::SocketAddr;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::mqtt::raw::{Hello, RawClient, publish};
use tidegate_tests::peer::failing_disk::FailingDisk;
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::{port, wait};

use crate::commands::post;

const REASON_STRING: u8 = 0x1f;
const QUOTA_EXCEEDED: u8 = 0x97;
/// CONNECT: request problem information 0, and the largest packet that is taken.
const NO_WORDS: [u8; 2] = [0x17, 0];
const SMALL_PACKETS: [u8; 5] = [0x27, 0, 0, 0, 40];

/// A gateway with an HTTP source, and an upstream that is not there.
fn gateway(more: &str) -> (Gateway, SocketAddr) {
    let (hooks, away) = (port::free(), port::free());
    let gateway = Gateway::new(&format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n\
         [upstreams.away]\ntype = \"mqtt\"\nurl = \"mqtt://{away}\"\n{more}"
    ));
    (gateway, hooks)
}

/// Posts until one is refused; the answer.
fn until_refused(hooks: SocketAddr) -> String {
    wait::find("a post is refused", || {
        let answer = post(hooks, "/topics/t", b"", &vec![b'x'; 100_000]);
        match answer.starts_with("HTTP/1.1 503 ") {
            true => Ok(answer),
            false => Err(answer),
        }
    })
}

/// A publish of MQTT 5 that is refused: the reason string of its PUBACK.
fn reason_string(gateway: &Gateway, client: &str, properties: &[u8]) -> Option<String> {
    let hello = Hello {
        properties: properties.to_vec(),
        ..Hello::new(5, client)
    };
    let mut client = RawClient::connect(gateway.address, &hello);
    client.send(&publish(5, 1, 9, "t", &[b'x'; 100_000]));
    let (first, body) = client.packet().expect("a PUBACK");
    assert_eq!((first, &body[..3]), (0x40, &[0, 9, QUOTA_EXCEEDED][..]));
    let properties = body.get(3..).filter(|properties| !properties.is_empty())?;
    // One byte of length is enough for the words: it says at most two.
    let at = 1 + usize::from(properties[0] & 0x80 != 0);
    assert_eq!(properties[at], REASON_STRING, "{body:?}");
    Some(String::from_utf8(properties[at + 3..].to_vec()).expect("text"))
}

/// That every sender is told what the status says, and that it holds these words.
fn told_to_all(gateway: &Gateway, hooks: SocketAddr, words: &[&str]) {
    let answer = until_refused(hooks);
    assert!(
        answer.to_lowercase().contains("\r\nretry-after: 10\r\n"),
        "{answer}"
    );
    for word in [&["events are refused: "], words].concat() {
        assert!(answer.contains(word), "{word}: {answer}");
    }
    let said = reason_string(gateway, "reads", b"").expect("words");
    for word in [&["events are refused: "], words].concat() {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(reason_string(gateway, "declines", &NO_WORDS), None);
    assert_eq!(reason_string(gateway, "small", &SMALL_PACKETS), None);
    wait::find("the status says the same", || {
        let (answer, all) = (until_refused(hooks), troubles(gateway));
        let refused = all
            .iter()
            .find(|one| one.starts_with("events are refused: "));
        let is_same = |told: &&String| answer.contains(&serde_json::json!(told).to_string());
        match refused.filter(is_same) {
            Some(_) => Ok(()),
            None => Err(format!("{answer}\n{all:#?}")),
        }
    });
    // MQTT 3.1.1 has no words: the log has them.
    let mut old = RawClient::connect(gateway.address, &Hello::new(4, "old"));
    old.send(&publish(4, 1, 9, "t", &[b'x'; 100_000]));
    assert_eq!(old.until_closed(), []);
    gateway.wait_until("the log says why", || {
        let log = gateway.whole_log();
        let mut lines = log.lines().filter(|line| line.contains("made to send"));
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    });
}

#[test]
fn a_store_at_its_max_size_is_told_to_every_sender() {
    let (mut gateway, hooks) = gateway("[store]\nmax_size = \"1MiB\"\n");
    gateway.start();
    let words = [
        "the store is full: ",
        " MiB of 1.0 MiB; ",
        "larger `max_size`",
    ];
    told_to_all(&gateway, hooks, &words);
}

#[test]
fn a_disk_below_free_min_is_told_to_every_sender() {
    // One that sheds has given up all that it had by then.
    for when_full in ["refuse", "shed"] {
        let store = format!("[store]\nfree_min = \"4MiB\"\nwhen_full = \"{when_full}\"\n");
        let (mut gateway, hooks) = gateway(&store);
        let test = "a disk below free_min";
        let Some(mut disk) = SmallDisk::mount(gateway.path("data"), Kind::Tmpfs, 40, test) else {
            return;
        };
        gateway.start();
        disk.fill_but(3 << 20);
        let words = [
            "the disk has ",
            " MiB free, below the minimum of 4.0 MiB",
            "make room",
        ];
        told_to_all(&gateway, hooks, &words);
        disk.give_back();
        gateway.wait_until("it accepts again", || {
            post(hooks, "/topics/t", b"", b"x").starts_with("HTTP/1.1 200 ")
        });
    }
}

/// The system answers the store's writes with EIO, on the way of real messages.
#[test]
fn a_disk_that_fails_is_told_to_every_sender_and_loses_nothing_that_was_acknowledged() {
    let (mut gateway, hooks) = gateway("[store]\nfree_min = \"1MiB\"\n");
    let Some(disk) = FailingDisk::mount(&gateway.path("data"), "a disk that fails") else {
        return;
    };
    gateway.start();
    let mut stored = 0;
    for _ in 0..20 {
        let answer = post(hooks, "/topics/t", b"", b"before");
        stored += usize::from(answer.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(stored, 20);
    disk.fail();
    // What the store had written ahead of itself is still taken.
    let refused = wait::find("a post is refused", || {
        let answer = post(hooks, "/topics/t", b"", &vec![b'x'; 100_000]);
        stored += usize::from(answer.starts_with("HTTP/1.1 200 "));
        match answer.starts_with("HTTP/1.1 503 ") {
            true => Ok(answer),
            false => Err(answer),
        }
    });
    assert!(refused.contains("writing to the disk failed"), "{refused}");
    told_to_all(&gateway, hooks, &["Input/output error", "check the disk"]);
    let log = gateway.whole_log();
    assert!(!log.contains("panicked"), "{log}");
    gateway.kill();
    let _disk = disk.copied();
    gateway.start();
    gateway.wait_until("it accepts again", || {
        post(hooks, "/topics/t", b"", b"after").starts_with("HTTP/1.1 200 ")
    });
    let held = gateway.status()["books"]["waiting"].as_u64();
    let held = held.expect("a count") as usize;
    assert!(held > stored, "{held} of {stored} and one more are there");
}

#[test]
fn a_gateway_that_is_not_open_yet_or_any_more_says_when_to_come_again() {
    let api = port::free();
    let (mut gateway, _) = gateway(&format!(
        "[api]\nlisten = \"{api}\"\n[store]\nfree_min = \"1MiB\"\n"
    ));
    let test = "a gateway that waits for room";
    let Some(mut disk) = SmallDisk::mount(gateway.path("data"), Kind::Tmpfs, 48, test) else {
        return;
    };
    disk.fill_but(0);
    gateway.launch();
    let get = |path: &str| -> String {
        let got = std::process::Command::new("curl")
            .args(["-si", "-m", "60", &format!("http://{api}{path}")])
            .output();
        got.map(|got| String::from_utf8_lossy(&got.stdout).to_lowercase())
            .unwrap_or_default()
    };
    let mut answer = String::new();
    gateway.wait_until("it says what it waits for", || {
        answer = get("/readyz");
        answer.contains("waiting for room on the disk")
    });
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 2\r\n"), "{answer}");
    disk.give_back();
    gateway.await_listening();
    gateway.wait_until("it is ready", || {
        let answer = get("/readyz");
        answer.starts_with("http/1.1 200 ") && !answer.contains("retry-after")
    });
}
