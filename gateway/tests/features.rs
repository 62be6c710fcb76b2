//! A program that lacks a feature says how to get it, wherever it is asked for.
//!
//! `cargo test -p tidegate --no-default-features --test features`
#![cfg(not(any(feature = "serial", feature = "http", feature = "demo")))]

use std::process::{Command, Output};

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs")
}

fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let all = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{all}");
    for words in words {
        assert!(all.contains(words), "{words} in\n{all}");
    }
}

#[test]
fn a_configuration_that_wants_what_was_not_built_is_told_the_command_that_builds_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("gateway.toml");
    for (section, lacks, features) in [
        (
            "[sources.line]\ntype = \"serial\"\nport = \"/dev/ttyUSB0\"",
            "serial ports",
            "serial",
        ),
        (
            "[sources.line]\ntype = \"lines\"\nport = \"/dev/ttyUSB0\"",
            "serial ports",
            "serial",
        ),
        (
            "[upstreams.hook]\ntype = \"http\"\nurl = \"https://localhost/\"",
            "the http upstream",
            "http",
        ),
    ] {
        let text = format!("[gateway]\nid = \"a\"\ndata_dir = \"data\"\n\n{section}\n");
        std::fs::write(&config, text).expect("a configuration");
        let path = config.to_str().expect("a path");
        let command = format!(
            "cargo build --release -p tidegate --no-default-features --features {features}`"
        );
        for subcommand in ["check", "run"] {
            let lacks = format!("this tidegate was built without {lacks}");
            let output = tidegate(&[subcommand, "--config", path]);
            assert_says(&output, 78, &[&lacks, &command]);
        }
    }
}

#[test]
fn the_demo_says_how_to_get_it() {
    let words = [
        "this tidegate was built without the demo",
        "`cargo build --release -p tidegate --no-default-features --features demo`",
    ];
    assert_says(&tidegate(&["demo", "--for", "10s"]), 1, &words);
    assert_says(&tidegate(&["demo"]), 1, &words);
}
