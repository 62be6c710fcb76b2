//! What `tidegate self check` says of other programs and packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tidegate_tests::gateway::{Gateway, binary};
use tidegate_tests::peer;

fn check(gateway: &Gateway, file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary::tidegate());
    command.args(["self", "check"]).arg(file).arg("--config");
    let config = gateway.path("gateway.toml");
    command.arg(config).args(more).output().expect("it runs")
}

/// Its exit code and what it says on standard output.
fn said(gateway: &Gateway, file: &Path) -> (i32, String) {
    let output = check(gateway, file, &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().expect("an exit code"), text)
}

/// The ids of what it finds.
fn ids(gateway: &Gateway, file: &Path) -> (Value, Vec<String>) {
    let output = check(gateway, file, &["--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("a list").iter();
    let ids = findings.map(|finding| finding["id"].as_str().expect("an id").to_owned());
    let ids = ids.collect();
    (report, ids)
}

fn gateway() -> Gateway {
    Gateway::new("[upstreams.archive]\ntype = \"file\"\npath = \"out.jsonl\"\n")
}

/// A program of a few lines.
fn compiled(gateway: &Gateway, name: &str, main: &str) -> PathBuf {
    let source = gateway.path(&format!("{name}.rs"));
    std::fs::write(&source, format!("fn main() {{ {main} }}")).expect("a source");
    let built = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .arg(&source)
        .arg("-o")
        .arg(gateway.path(name))
        .status();
    assert!(built.expect("rustc runs").success());
    gateway.path(name)
}

/// One that answers `self formats` with these of the store, and finds the configuration fine.
fn of_formats(gateway: &Gateway, name: &str, writes: u32, reads: &str) -> PathBuf {
    let answer = format!(
        r#"{{"version":"9.9.9","formats":{{"store":{{"writes":{writes},"reads":{reads}}},"record":{{"writes":2,"reads":[1,2]}},"dead_letter":{{"writes":2,"reads":[1,2]}}}}}}"#
    );
    let main = format!(
        "if std::env::args().nth(1).as_deref() == Some(\"self\") {{ print!(\"{{}}\", r#\"{answer}\"#); }}"
    );
    compiled(gateway, name, &main)
}

#[test]
fn the_same_program_would_do_and_changes_nothing() {
    let gateway = gateway();
    let (code, text) = said(&gateway, &binary::tidegate());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("store: writes 4, as now"), "{text}");
    assert!(
        text.contains("the configuration is valid under it"),
        "{text}"
    );
    let (report, ids) = ids(&gateway, &binary::tidegate());
    assert_eq!(report["configuration_valid"], true);
    assert!(ids.is_empty(), "{ids:?}");
    let left = std::fs::read_dir(gateway.path("data")).expect("a folder");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_configuration_that_is_not_valid_under_it_is_told_in_its_words() {
    let gateway = gateway();
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text + "\nwrong = 1\n").expect("a configuration");
    let (code, text) = said(&gateway, &binary::tidegate());
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("unknown key `wrong`"), "{text}");
}

#[test]
fn other_formats_are_told() {
    let mut gateway = gateway();
    let newer = of_formats(&gateway, "newer", 5, "[1,2,3,4,5]");
    let (code, text) = said(&gateway, &newer);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("store: writes 5, now 4"), "{text}");
    assert!(text.contains("tidegate store backup"), "{text}");
    let older = of_formats(&gateway, "older", 3, "[1,2,3]");
    gateway.start();
    let (code, text) = said(&gateway, &older);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot read what is here: store 4"), "{text}");
    assert_eq!(ids(&gateway, &older).1, ["cannot-open"]);
}

#[test]
fn what_is_no_program_for_this_machine_is_told() {
    let gateway = gateway();
    let program = std::fs::read(binary::tidegate()).expect("the program");
    let mut foreign = program[..4096].to_vec();
    foreign[18..20].copy_from_slice(&[0xb7, 0]);
    if cfg!(target_arch = "aarch64") {
        foreign[18..20].copy_from_slice(&[0x3e, 0]);
    }
    let cases: [(&str, &[u8], &str); 5] = [
        ("empty", b"", "it is empty"),
        ("script", b"#!/bin/sh\nsleep 1000\n", "no program of Linux"),
        ("half", &program[..program.len() / 2], "it is cut off"),
        ("head", &program[..20], "cut off within its head"),
        ("foreign", &foreign, "take the build for this machine"),
    ];
    for (name, bytes, words) in cases {
        let file = gateway.path(name);
        std::fs::write(&file, bytes).expect("a file");
        let (code, text) = said(&gateway, &file);
        assert_eq!(code, 1, "{name}: {text}");
        assert!(text.contains(words), "{name}: {text}");
    }
    for (file, words) in [
        ("/nowhere/tidegate", "No such file"),
        ("/", "no file"),
        ("/dev/zero", "no file"),
    ] {
        let (code, text) = said(&gateway, Path::new(file));
        assert_eq!(code, 1, "{file}: {text}");
        assert!(text.contains(words), "{file}: {text}");
    }
}

#[test]
fn a_program_that_hangs_floods_or_crashes_is_told() {
    let gateway = gateway();
    let cases = [
        ("hangs", "loop { std::thread::park() }", "gave no answer"),
        ("floods", "loop { println!(\"yes\") }", "was killed"),
        ("crashes", "std::process::abort()", "signal 6"),
        (
            "other",
            "println!(\"hello\")",
            "nothing that a tidegate says",
        ),
    ];
    for (name, main, words) in cases {
        let file = compiled(&gateway, name, main);
        let (code, text) = said(&gateway, &file);
        assert_eq!(code, 1, "{name}: {text}");
        assert!(text.contains(words), "{name}: {text}");
    }
    // None of it is left behind.
    let left = Command::new("pgrep")
        .args(["-f", "self formats --format json"])
        .output();
    assert!(left.expect("pgrep runs").stdout.is_empty());
}

#[test]
fn another_program_is_asked_as_the_owner_of_the_data_and_has_no_way_to_more() {
    if !rustix::process::geteuid().is_root() {
        return peer::skip("check", "this takes root");
    }
    let gateway = gateway();
    let data = gateway.path("data");
    std::os::unix::fs::chown(&data, Some(1), Some(1)).expect("root may");
    let main = "let status = std::fs::read_to_string(\"/proc/self/status\").unwrap(); \
                eprintln!(\"{}\", status.lines().filter(|l| l.starts_with(\"Uid\") || l.starts_with(\"NoNewPrivs\")).collect::<Vec<_>>().join(\" \").replace('\\t', \" \")); \
                std::process::exit(1)";
    let file = compiled(&gateway, "who", main);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(&file, mode).expect("it is ours");
    let (code, text) = said(&gateway, &file);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("Uid: 1 1 1 1 NoNewPrivs: 1"), "{text}");
}

/// A package of this name with these files.
fn package(gateway: &Gateway, name: &str, program: Option<&Path>) -> PathBuf {
    let tree = gateway.path("tree");
    let _ = std::fs::remove_dir_all(&tree);
    std::fs::create_dir_all(tree.join("DEBIAN")).expect("a folder");
    std::fs::create_dir_all(tree.join("usr/bin")).expect("a folder");
    let fields = format!(
        "Package: {name}\nVersion: 0.9.0-1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: none\n"
    );
    std::fs::write(tree.join("DEBIAN/control"), fields).expect("a file");
    // It must not run.
    let script = tree.join("DEBIAN/preinst");
    std::fs::write(
        &script,
        format!("#!/bin/sh\ntouch {}\n", gateway.path("ran").display()),
    )
    .expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("it is ours");
    if let Some(program) = program {
        std::fs::copy(program, tree.join("usr/bin/tidegate")).expect("a copy");
    }
    let file = gateway.path(&format!("{name}.deb"));
    let built = Command::new("dpkg-deb")
        .args(["-Zgzip", "-z1", "--root-owner-group", "-b"])
        .arg(&tree)
        .arg(&file)
        .output();
    let built = built.expect("dpkg-deb runs");
    assert!(built.status.success(), "{built:?}");
    file
}

#[test]
fn packages_are_opened_and_none_of_their_scripts_runs() {
    if peer::find("dpkg-deb", "packages_are_opened").is_none() {
        return;
    }
    let gateway = gateway();
    let program = of_formats(&gateway, "newer", 5, "[1,2,3,4,5]");
    let file = package(&gateway, "tidegate", Some(&program));
    let (code, text) = said(&gateway, &file);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("tidegate 9.9.9 (package 0.9.0-1)"), "{text}");
    assert!(!gateway.path("ran").exists());

    let whole = std::fs::read(&file).expect("a package");
    let half = gateway.path("half.deb");
    std::fs::write(&half, &whole[..whole.len() / 2]).expect("a file");
    let empty = gateway.path("empty.deb");
    std::fs::write(&empty, b"").expect("a file");
    let rubbish = gateway.path("rubbish.deb");
    std::fs::write(&rubbish, b"no package at all").expect("a file");
    let cases = [
        (half, "fetch it again"),
        (empty, "it is no package"),
        (rubbish, "it is no package"),
        (
            package(&gateway, "mosquitto", Some(&program)),
            "it is the package `mosquitto`",
        ),
        (
            package(&gateway, "tidegate", None),
            "there is no /usr/bin/tidegate in it",
        ),
    ];
    for (file, words) in cases {
        let (code, text) = said(&gateway, &file);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(words), "{text}");
    }
}
