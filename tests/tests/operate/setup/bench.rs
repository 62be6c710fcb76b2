//! `tidegate bench`: figures of this machine, in time, with nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::gateway::user::{OtherUser, may_change};
use tidegate_tests::gateway::{Gateway, binary};
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::{mqtt, wait};

use super::disk::LoopDisk;
use super::{run, said, text};

/// What it says of a folder, as JSON.
fn measured(folder: &Path, more: &[&str]) -> Value {
    let words = ["bench", "--format", "json", "--data-dir", text(folder)];
    let output = run(&[&words, more].concat());
    let (code, told) = said(&output);
    assert_eq!(code, Some(0), "{told}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn started(folder: &Path) -> Child {
    Command::new(binary::tidegate())
        .args(["bench", "--for", "100s", "--data-dir", text(folder)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tidegate runs")
}

/// Folders that benches have in a folder.
fn scratches(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| text(path).contains("tidegate-bench-"))
        .collect()
}

/// Processes whose command line names a folder.
fn processes(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("a folder").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines
        .filter(|line| line.contains(text(folder)) && line.contains("end-with-input"))
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn it_says_what_was_agreed_on_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = measured(
        folder.path(),
        &["--for", "8s", "--rate", "100", "--endurance", "1TiB"],
    );
    for figure in [
        &found["sync"]["p50_ms"],
        &found["sync"]["p99_ms"],
        &found["events_per_s"]["1"],
        &found["events_per_s"]["10"],
        &found["events_per_s"]["100"],
        &found["bytes_per_event"],
        &found["rules_per_s"],
        &found["lifetime"]["bytes_per_day"],
    ] {
        assert!(number(figure) > 0.0, "{found:#}");
    }
    assert!(
        number(&found["sync"]["p99_ms"]) >= number(&found["sync"]["p50_ms"]),
        "{found:#}"
    );
    // Alone, an event costs at least a page of the disk.
    assert!(number(&found["bytes_per_event"]) > 1_000.0, "{found:#}");
    let per_day = number(&found["lifetime"]["bytes_per_day"]);
    let days = number(&found["lifetime"]["days"]);
    assert!(
        (days * per_day / (1u64 << 40) as f64 - 1.0).abs() < 0.01,
        "{found:#}"
    );
    // At that rate a disk of 1 TiB lasts for weeks, and a delay saves most of what is written.
    assert_ne!(found["commit_delay"], "0ms", "{found:#}");
    let with = &found["lifetime"]["with_commit_delay"];
    assert!(number(&with["days"]) > 1.5 * days, "{found:#}");
    assert_eq!(found["few_samples"], true, "{found:#}");
    assert_eq!(scratches(folder.path()), Vec::<PathBuf>::new());
    // What it proposes is taken.
    let config = folder.path().join("gateway.toml");
    let delay = [&found["commit_delay"], &found["commit_delay_max"]];
    let toml = format!(
        "[gateway]\nid = \"a\"\ndata_dir = \"data\"\n[store]\ncommit_delay = {}\ncommit_delay_max = {}\n\
         [upstreams.a]\ntype = \"file\"\npath = \"a.jsonl\"\n",
        delay[0], delay[1]
    );
    fs::write(&config, toml).expect("room");
    let (code, told) = said(&run(&["check", "--config", text(&config)]));
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn memory_is_told_from_a_disk() {
    let test = "memory_is_told_from_a_disk";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_disk) = SmallDisk::mount(folder.path().to_owned(), Kind::Tmpfs, 300, test) else {
        return;
    };
    let found = measured(folder.path(), &["--for", "5s"]);
    assert_eq!(found["medium"], "memory", "{found:#}");
    assert_eq!(found["commit_delay"], "0ms", "{found:#}");
    assert_eq!(number(&found["bytes_per_event"]), 0.0, "{found:#}");
    assert_eq!(found["lifetime"]["days_per_tb"], Value::Null, "{found:#}");
}

#[test]
fn a_slow_disk_is_measured_in_time_and_told_as_slow() {
    let test = "a_slow_disk_is_measured_in_time_and_told_as_slow";
    let Some(disk) = LoopDisk::mount("", test) else {
        return;
    };
    if !disk.throttle(200, test) {
        return;
    }
    let began = Instant::now();
    let found = measured(&disk.path(), &["--for", "20s"]);
    assert!(
        began.elapsed() < Duration::from_secs(120),
        "{:?}",
        began.elapsed()
    );
    assert!(number(&found["sync"]["mean_ms"]) >= 5.0, "{found:#}");
    assert_ne!(found["commit_delay"], "0ms", "{found:#}");
    let one = number(&found["events_per_s"]["1"]);
    assert!(
        one < 20_000.0,
        "at most 200 commits of 100 events: {found:#}"
    );
    assert_eq!(scratches(&disk.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_sync_that_reaches_no_disk_is_told() {
    let Some(disk) = LoopDisk::mount(",nobarrier", "a_sync_that_reaches_no_disk_is_told") else {
        return;
    };
    let found = measured(&disk.path(), &["--for", "5s"]);
    let warnings = found["warnings"].to_string();
    assert!(warnings.contains("nobarrier"), "{found:#}");
}

#[test]
fn ended_or_killed_it_leaves_nothing_for_long() {
    let folder = tempfile::tempdir().expect("a folder");
    for signal in ["TERM", "INT", "HUP"] {
        let mut bench = started(folder.path());
        wait::until("it measures", || !processes(folder.path()).is_empty());
        let told = Command::new("kill")
            .args([format!("-{signal}"), bench.id().to_string()])
            .status();
        assert!(told.expect("kill runs").success());
        let ended = bench.wait().expect("it ends");
        assert_eq!(ended.code(), Some(1), "{signal}");
        assert_eq!(scratches(folder.path()), Vec::<PathBuf>::new(), "{signal}");
        wait::until("its gateway is gone", || {
            processes(folder.path()).is_empty()
        });
    }
    let mut bench = started(folder.path());
    wait::until("it measures", || !processes(folder.path()).is_empty());
    let (code, told) = said(&run(&[
        "bench",
        "--for",
        "5s",
        "--data-dir",
        text(folder.path()),
    ]));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another bench"), "{told}");
    bench.kill().expect("it runs");
    bench.wait().expect("it ends");
    wait::until("its gateway is gone", || {
        processes(folder.path()).is_empty()
    });
    assert_eq!(scratches(folder.path()).len(), 1);
    measured(folder.path(), &["--for", "5s"]);
    assert_eq!(scratches(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn what_keeps_it_from_measuring_is_told() {
    let test = "what_keeps_it_from_measuring_is_told";
    for wrong in ["101s", "4s", "1h", "soon"] {
        let (code, told) = said(&run(&["bench", "--for", wrong]));
        assert_eq!(code, Some(2), "{wrong}: {told}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let told_of = |folder: &Path| {
        let (code, told) = said(&run(&["bench", "--for", "5s", "--data-dir", text(folder)]));
        assert_eq!(code, Some(1), "{told}");
        told
    };
    assert!(told_of(&missing).contains("mkdir -p"));
    if may_change(test) {
        let words = OtherUser::named("nobody", None).words();
        let (setpriv, rest) = words.split_first().expect("words");
        let output = Command::new(setpriv)
            .args(rest)
            .arg(binary::tidegate())
            .args(["bench", "--for", "5s", "--data-dir", text(folder.path())])
            .output();
        let (code, told) = said(&output.expect("setpriv runs"));
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("sudo"), "{told}");
    }
    if let Some(mut disk) = SmallDisk::mount(folder.path().to_owned(), Kind::Tmpfs, 200, test) {
        disk.fill_but(20 << 20);
        let told = told_of(folder.path());
        assert!(
            told.contains("free") && told.contains("make room"),
            "{told}"
        );
    }
    if let Some(disk) = LoopDisk::mount("", test) {
        let again = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(disk.path())
            .status();
        assert!(again.expect("mount runs").success());
        assert!(told_of(&disk.path()).contains("remount,rw"));
    }
}

#[test]
fn the_store_of_a_gateway_that_runs_there_is_not_touched() {
    let mut gateway = Gateway::new("");
    gateway.start();
    let mut stream = mqtt::connect(gateway.address, "press", true).expect("it listens");
    mqtt::publish_acknowledged(&mut stream, "hall/1", 1, b"{}");
    let config = gateway.path("gateway.toml");
    let (code, told) = said(&run(&["bench", "--for", "5s", "--config", text(&config)]));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(text(&gateway.path("data"))), "{told}");
    mqtt::publish_acknowledged(&mut stream, "hall/2", 2, b"{}");
    let topics = gateway.events(&["--topic", "hall/#"]);
    assert_eq!(topics.len(), 2, "{topics:?}");
    assert_eq!(gateway.events(&["--topic", "bench/#"]).len(), 0);
    assert_eq!(scratches(&gateway.path("data")), Vec::<PathBuf>::new());
}
