//! Texts that a protocol does not carry: encoded where its binding says how, else a dead letter at once that names the
//! character; nothing else waits for it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::broker::{Answer, Broker};
use tidegate_tests::{port, wait};

const RULES: &str = "event by_topic { topic \"by/topic\" tail text }\n\
    rule tails { on by_topic\n send to five topic \"a/{tail}\"\n send to old topic \"a/{tail}\"\n send to hook topic \"a/{tail}\" }\n\
    rule all { on \"plain\" send to five send to old send to hook }\n";

/// A webhook that takes everything: the heads of what was posted.
fn webhook() -> (SocketAddr, Arc<Mutex<Vec<Vec<String>>>>) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let heads = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let all = Arc::clone(&all);
            std::thread::spawn(move || take(stream, &all));
        }
    });
    (address, heads)
}

fn take(stream: TcpStream, all: &Mutex<Vec<Vec<String>>>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        input.read_exact(&mut vec![0; length]).ok()?;
        all.lock().ok()?.push(head);
        out.write_all(b"HTTP/1.1 204 x\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
    }
}

/// Posts a structured event.
fn post(address: SocketAddr, event: &Value) {
    let body = event.to_string();
    let mut stream = port::connect(address);
    let head = format!(
        "POST /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/cloudevents+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all((head + &body).as_bytes())
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{event}: {answer}");
}

fn percent_encoded(text: &str) -> String {
    let byte = |b: u8| match b {
        b'"' | b'%' => format!("%{b:02X}"),
        0x21..=0x7e => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Upstream, topic and reason of each dead letter, by the id of its event.
fn letters(gateway: &Gateway) -> BTreeSet<(String, String, String)> {
    let all = gateway.dead_letters();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter()
        .map(|letter| {
            let id = text(&letter["event"]["event"]["id"]);
            (text(&letter["upstream"]), id, text(&letter["reason"]))
        })
        .collect()
}

/// What no topic may be is found by the rule that makes it.
const NO_TOPIC: &str = "not a valid topic to send to";
const BY_RULE: &[&str] = &["dead_letter"];

/// A text in a place, and the upstreams that do not carry it there.
struct Case {
    place: &'static str,
    text: String,
    says: String,
    dead: &'static [&'static str],
}

impl Case {
    fn new(place: &'static str, text: &str, says: &str, dead: &'static [&'static str]) -> Case {
        Case {
            place,
            text: text.to_owned(),
            says: says.to_owned(),
            dead,
        }
    }

    fn value(&self) -> String {
        format!("v{}w", self.text)
    }

    fn event(&self, id: &str) -> Value {
        let mut event = json!({"specversion": "1.0", "id": id, "source": "s", "type": "t", "topic": "plain",
            "datacontenttype": "text/plain", "data": "x"});
        match self.place {
            "topic" => {
                event["topic"] = "by/topic".into();
                event["datacontenttype"] = "application/json".into();
                event["data"] = json!({ "tail": self.value() });
            }
            place => event[place] = self.value().into(),
        }
        event
    }

    /// The header that the webhook gets.
    fn header(&self) -> Option<String> {
        let value = match self.place {
            "datacontenttype" => return None,
            "topic" => format!("a/{}", self.value()),
            _ => self.value(),
        };
        let carried = !self.dead.contains(&"hook") && self.dead != BY_RULE;
        carried.then(|| format!("ce-{}: {}", self.place, percent_encoded(&value)))
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for text in [
        "\0",
        "\u{1}",
        "\n",
        "\r",
        "\u{1f}",
        "\u{7f}",
        "\u{80}",
        "\u{85}",
        "\u{9f}",
        "\u{fdd0}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{1fffe}",
        "\u{10ffff}",
    ] {
        let says = format!("U+{:04X}", u32::from(text.chars().next().expect("one")));
        let (says_topic, dead) = match text {
            "\0" => (NO_TOPIC, BY_RULE),
            _ => (&*says, &["five", "old"][..]),
        };
        cases.push(Case::new("topic", text, says_topic, dead));
        for place in ["subject", "dataschema", "myextension"] {
            cases.push(Case::new(place, text, &says, &["five"]));
        }
        let dead: &[&str] = match text.chars().all(char::is_control) {
            true => &["five", "hook"],
            false => &["five"],
        };
        cases.push(Case::new("datacontenttype", text, &says, dead));
    }
    for text in ["+", "#"] {
        cases.push(Case::new("topic", text, NO_TOPIC, BY_RULE));
    }
    let long = "x".repeat(70_000);
    cases.push(Case::new("topic", &long, NO_TOPIC, BY_RULE));
    for text in ["grün", "\u{a0}", "\u{fffd}", "日本 🌡"] {
        cases.push(Case::new("topic", text, "", &[]));
        cases.push(Case::new("subject", text, "", &[]));
    }
    cases
}

#[test]
fn what_a_protocol_does_not_carry_is_encoded_or_a_dead_letter_at_once() {
    let five = Broker::start(&[], |_| Answer::Reason(0));
    let old = Broker::start(&[], |_| Answer::Reason(0));
    let (hook, heads) = webhook();
    let door = port::free();
    let mqtt = |name: &str, address: SocketAddr, version: &str| {
        format!(
            "[upstreams.{name}]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\nversion = \"{version}\"\n"
        )
    };
    let mut gateway = Gateway::new(&format!(
        "[sources.door]\ntype = \"http\"\nlisten = \"{door}\"\n\n{}{}[upstreams.hook]\ntype = \"http\"\nurl = \"http://{hook}/in\"\n",
        mqtt("five", five.address, "5"),
        mqtt("old", old.address, "3.1.1")
    ));
    gateway.write("rules/all.rules", RULES);
    gateway.start();
    let cases = cases();
    for (number, case) in cases.iter().enumerate() {
        post(door, &case.event(&format!("e{number}")));
    }
    let dead: usize = cases.iter().map(|case| case.dead.len()).sum();
    let by_rule = cases.iter().filter(|case| case.dead == BY_RULE).count();
    wait::for_count("dead letters", dead, || letters(&gateway).len());
    wait::until("all else is delivered", || {
        let names = ["five", "old", "hook"];
        let delivered = names.map(|name| gateway.metric("tidegate_upstream_delivered", name));
        delivered.iter().sum::<u64>() as usize >= 3 * (cases.len() - by_rule) - (dead - by_rule)
    });
    let letters = letters(&gateway);
    assert_eq!(letters.len(), dead);
    let heads = heads.lock().expect("it runs");
    for (number, case) in cases.iter().enumerate() {
        let id = format!("e{number}");
        for upstream in case.dead {
            let found = letters
                .iter()
                .find(|letter| letter.0 == *upstream && letter.1 == id);
            let reason = found.map(|letter| letter.2.as_str()).unwrap_or_default();
            assert!(
                reason.contains(&case.says),
                "{upstream}, {}: {reason:?}",
                case.place
            );
        }
        if let Some(header) = case.header() {
            assert!(
                heads.iter().flatten().any(|line| *line == header),
                "{header:.60}"
            );
        }
    }
    for name in ["five", "old", "hook"] {
        assert_eq!(
            gateway.metric("tidegate_upstream_disconnects", name),
            0,
            "{name}"
        );
        assert_eq!(
            gateway.metric("tidegate_upstream_retried", name),
            0,
            "{name}"
        );
    }
    assert_eq!((five.seen().connections, old.seen().connections), (1, 1));
}
