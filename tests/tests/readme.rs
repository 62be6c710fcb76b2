//! The first gateway of the README, typed in as it stands there.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::binary::tidegate;
use tidegate_tests::mqtt;
use tidegate_tests::{port, wait};

const README: &str = include_str!("../../README.md");

/// The block in `language` that follows the words `after`.
fn block(language: &str, after: &str) -> &'static str {
    let (_, rest) = README.split_once(after).expect(after);
    let (_, rest) = rest
        .split_once(&format!("```{language}\n"))
        .expect(language);
    rest.split_once("```").expect("an end").0
}

/// The README's folder, on ports that are free here.
fn write(dir: &Path, listen: SocketAddr) {
    let config = block("toml", "`gateway.toml`:")
        .replace("127.0.0.1:1883", &listen.to_string())
        .replace("127.0.0.1:1884", &port::free().to_string());
    std::fs::create_dir_all(dir.join("rules")).expect("a folder");
    std::fs::write(dir.join("gateway.toml"), config).expect("a configuration");
    std::fs::write(
        dir.join("rules/plant.rules"),
        block("rules", "`rules/plant.rules`:"),
    )
    .expect("rules");
}

/// A line without its comment.
fn command(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// Runs a line of the README, where it starts with `mkdir` or `tidegate`.
fn carry_out(line: &str, dir: &Path) -> Output {
    let line = command(line).replace("tidegate", &tidegate().display().to_string());
    Command::new("sh")
        .args(["-c", &line])
        .current_dir(dir)
        .output()
        .expect("a shell")
}

/// Publishes with QoS 1 and waits for the acknowledgement.
fn publish(listen: SocketAddr, topic: &str, payload: &[u8]) {
    let mut stream = mqtt::connect(listen, "press7", true).expect("connects");
    stream
        .write_all(&mqtt::publish(topic, 1, payload))
        .expect("publishes");
    let mut bytes = Vec::new();
    let mut buffer = [0; 64];
    while mqtt::take(&mut bytes).is_none() {
        let count = stream.read(&mut buffer).expect("an answer");
        assert_ne!(count, 0, "closed instead of acknowledged");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// The lines of the archive, once there is one.
fn archive(dir: &Path) -> String {
    wait::find("something is archived", || {
        let text = std::fs::read_to_string(dir.join("archive.jsonl")).unwrap_or_default();
        match text.ends_with('\n') {
            true => Ok(text),
            false => Err(text),
        }
    })
}

/// The status, once the unmatched event is a dead letter.
fn settled(status: &str, dir: &Path) -> serde_json::Value {
    wait::find("one dead letter", || {
        let told = carry_out(&format!("{} --format json", command(status)), dir);
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
        match told["store"]["dead_letters"] == 1 {
            true => Ok(told),
            false => Err(told),
        }
    })
}

#[test]
fn the_first_gateway_of_the_readme_does_what_it_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let listen = port::free();
    write(dir.path(), listen);
    let commands: Vec<&str> = block("sh", "unmatched {").lines().collect();
    let [mkdir, check, run, status] = commands[..] else {
        panic!("the README shows other commands: {commands:?}");
    };
    assert!(run.starts_with("tidegate run "), "{run}");
    assert!(carry_out(mkdir, dir.path()).status.success());
    let checked = carry_out(check, dir.path());
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");

    let folder = dir.path().to_owned();
    let mut gateway = Gateway::configured(dir, listen);
    gateway.start();
    publish(listen, "plant/A/press7/temp", br#"{"temperature":121.5}"#);
    publish(listen, "plant/A/press7/noise", b"{}");
    let archived: serde_json::Value =
        serde_json::from_str(archive(&folder).lines().next().expect("a line")).expect("JSON");
    assert_eq!(archived["data"]["temperature"], 121.5);

    let told = settled(status, &folder);
    assert_eq!(told["books"]["accepted"], 2, "{told}");
    let waiting = told["upstreams"]
        .as_array()
        .and_then(|all| all.iter().find(|upstream| upstream["name"] == "cloud"))
        .map(|cloud| cloud["waiting"].clone());
    assert_eq!(waiting, Some(1.into()), "the alarm waits for its upstream");
    drop(gateway);
}

/// Every test that the README's promises name exists.
#[test]
fn every_promise_of_the_readme_names_a_test_that_exists() {
    let (_, promises) = README.split_once("## The promises").expect("promises");
    let promises = promises.split("\n## ").next().unwrap_or_default();
    let mut named = 0;
    for row in promises
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let test = row.rsplit('|').nth(1).expect("a last column").trim();
        for name in test.split('`').skip(1).step_by(2) {
            let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name);
            assert!(
                file.exists(),
                "{name} is named by the README and is not there"
            );
            named += 1;
        }
    }
    assert!(named >= 8, "the README names only {named} tests");
}
