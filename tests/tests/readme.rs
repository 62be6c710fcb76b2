//! The first gateway of the README, pasted into a shell as it stands there.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tidegate_tests::gateway::binary::tidegate;
use tidegate_tests::{peer, port};

const README: &str = include_str!("../../README.md");

/// The block in `language` that follows the words `after`.
fn block(language: &str, after: &str) -> &'static str {
    let (_, rest) = README.split_once(after).expect(after);
    let (_, rest) = rest
        .split_once(&format!("```{language}\n"))
        .expect(language);
    rest.split_once("```").expect("an end").0
}

/// A folder as that of the README: its `cargo` has built the program already.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let release = dir.path().join("target/release");
    std::fs::create_dir_all(&release).expect("a folder");
    std::os::unix::fs::symlink(tidegate(), release.join("tidegate")).expect("a link");
    let tools = dir.path().join("tools");
    std::fs::create_dir(&tools).expect("a folder");
    let cargo = tools.join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\n[ \"$*\" = 'build --release' ]\n").expect("a file");
    let runs = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&cargo, runs).expect("its mode");
    dir
}

/// Runs `script` in `dir`, with a network of its own where that can be had: there the README's ports are free.
fn paste(script: &str, dir: &Path) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}:/usr/sbin", dir.join("tools").display());
    let alone = "ip link set lo up && exec bash -e pasted.sh";
    let is_alone = Command::new("unshare")
        .args([
            "-n",
            "--",
            "sh",
            "-c",
            "PATH=$PATH:/usr/sbin ip link set lo up",
        ])
        .output()
        .is_ok_and(|output| output.status.success());
    let (program, arguments, script) = match is_alone {
        true => (
            "unshare",
            vec!["-n", "--", "sh", "-c", alone],
            script.to_owned(),
        ),
        false => ("bash", vec!["-e", "pasted.sh"], on_free_ports(script)),
    };
    std::fs::write(dir.join("pasted.sh"), script).expect("a script");
    Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("PATH", path)
        .env_remove("TIDEGATE_CONFIG")
        .env_remove("RUST_LOG")
        .output()
        .expect("a shell")
}

fn on_free_ports(script: &str) -> String {
    let mut script = script.to_owned();
    for address in ["127.0.0.1:1883", "127.0.0.1:8080"] {
        if TcpListener::bind(address).is_err() {
            script = script.replace(address, &port::free().to_string());
        }
    }
    script
}

#[test]
fn the_first_gateway_of_the_readme_does_what_it_says() {
    if peer::find("curl", "the first gateway of the README").is_none() {
        return;
    }
    let script = block("sh", "## A first gateway");
    let dir = folder();
    let output = paste(script, dir.path());
    let said = String::from_utf8_lossy(&output.stdout);
    let log = std::fs::read_to_string(dir.path().join("first-gateway/gateway.log"));
    let log = log.unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}\n{log}");
    // What the README says of a command stands in what it prints.
    for line in script
        .lines()
        .filter(|line| line.starts_with("tidegate check"))
    {
        let (_, comment) = line.split_once('#').expect("a comment");
        assert!(said.contains(comment.trim()), "{comment} in {said}");
    }
    for words in [
        "{\"stored\":1}\n{\"stored\":1}\n",
        r#""severity":"critical""#,
        r#""temperature": 121.5"#,
        "no rule for this topic",
        "gateway plant-a runs tidegate",
        "2 accepted",
        "1 dead letter",
        "the books balance",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    for line in said.lines().filter(|line| !line.starts_with(['{', ' '])) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(log.contains("stopped"), "{log}");
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
