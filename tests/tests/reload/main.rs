//! SIGHUP: what the configuration says now is taken over while all else goes on, and what it cannot be changes
//! nothing.

mod asked;
mod delivery;
mod hour;
mod places;
mod signals;
mod table;

use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, wait};

const ONE: &str = "[upstreams.one]\ntype = \"file\"\npath = \"one.jsonl\"\n";

/// Replaces a part of the configuration.
fn edit(gateway: &Gateway, from: &str, to: &str) {
    let path = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("a configuration");
}

/// Adds to the configuration.
fn add(gateway: &Gateway, more: &str) {
    let path = gateway.path("gateway.toml");
    let mut file = std::fs::File::options()
        .append(true)
        .open(path)
        .expect("a configuration");
    file.write_all(more.as_bytes()).expect("a configuration");
}

/// How often the configuration was taken or refused.
fn answers(gateway: &Gateway) -> usize {
    let log = gateway.whole_log();
    let said = |words| log.matches(words).count();
    said("configuration read again") + said("configuration refused")
}

/// Has the configuration read again, and waits until it is taken or refused.
fn reload(gateway: &Gateway) {
    let before = answers(gateway);
    gateway.signal("HUP");
    gateway.wait_until("it says what became of it", || answers(gateway) > before);
}

/// The status, which can be asked for whatever the configuration says.
fn asked(gateway: &Gateway) -> Value {
    asked_at(gateway, "/status")
}

/// What the control socket says there.
fn asked_at(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.control(path);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The names under `sources` or `upstreams` of the status.
fn names(status: &Value, of: &str) -> Vec<String> {
    let all = status[of].as_array().into_iter().flatten();
    all.filter_map(|one| one["name"].as_str().map(str::to_owned))
        .collect()
}

/// Publishes over a connection that stands, and waits for the acknowledgement.
fn publish(stream: &mut TcpStream, topic: &str) {
    mqtt::publish_acknowledged(stream, topic, 7, b"{}");
}

/// Waits until a file of the gateway holds these words.
fn arrives(gateway: &Gateway, file: &str, words: &str) {
    let path = gateway.path(file);
    wait::find(&format!("{words} in {file}"), || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        match text.contains(words) {
            true => Ok(()),
            false => Err(format!("{text}\n{}", gateway.log())),
        }
    });
}
