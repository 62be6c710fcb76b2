//! The first gateway of the README, typed in as it stands there.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tidegate_tests::binary::tidegate;
use tidegate_tests::gateway::free_port;
use tidegate_tests::wire;

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
        .replace("127.0.0.1:1884", &free_port().to_string());
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

/// A running gateway that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(dir: &Path, listen: SocketAddr) -> Running {
        let child = Command::new(tidegate())
            .args(["run", "--config", "gateway.toml"])
            .current_dir(dir)
            .stderr(Stdio::null())
            .spawn()
            .expect("tidegate starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(listen).is_err() {
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Publishes with QoS 1 and waits for the acknowledgement.
fn publish(listen: SocketAddr, topic: &str, payload: &[u8]) {
    let mut stream = wire::connect(listen, "press7", true).expect("connects");
    stream
        .write_all(&wire::publish(topic, 1, payload))
        .expect("publishes");
    let mut bytes = Vec::new();
    let mut buffer = [0; 64];
    while wire::take(&mut bytes).is_none() {
        let count = stream.read(&mut buffer).expect("an answer");
        assert_ne!(count, 0, "closed instead of acknowledged");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// The lines of the archive, once there is one.
fn archive(dir: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(dir.join("archive.jsonl")).unwrap_or_default();
        if text.ends_with('\n') {
            return text;
        }
        assert!(Instant::now() < deadline, "nothing was archived");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The status, once the unmatched event is a dead letter.
fn settled(status: &str, dir: &Path) -> serde_json::Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = carry_out(&format!("{} --format json", command(status)), dir);
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
        if told["store"]["dead_letters"] == 1 {
            return told;
        }
        assert!(Instant::now() < deadline, "no dead letter: {told}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_first_gateway_of_the_readme_does_what_it_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let listen = free_port();
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

    let gateway = Running::start(dir.path(), listen);
    publish(listen, "plant/A/press7/temp", br#"{"temperature":121.5}"#);
    publish(listen, "plant/A/press7/noise", b"{}");
    let archived: serde_json::Value =
        serde_json::from_str(archive(dir.path()).lines().next().expect("a line")).expect("JSON");
    assert_eq!(archived["data"]["temperature"], 121.5);

    let told = settled(status, dir.path());
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
