//! The command line, run as people run it: exit codes, words, and what programs read.

mod place;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::config::Api;
use tidegate::control::{ApiContext, Control};
use tidegate::event::committed_log::CommittedLog;
use tidegate::observe::Observe;
use tidegate::observe::intake::IntakeReport;
use tidegate::observe::status::{Books, UpstreamStatus};
use tidegate_store::{Store, Writer};
use tidegate_tests::wait;

use place::{CONFIG, Place, assert_code, command, commit, json, stderr, stdout};

#[test]
fn a_wrong_command_line_ends_with_2() {
    let place = Place::new();
    for wrong in [
        &["rnu"][..],
        &[],
        &["events"],
        &["events", "list", "--since", "soon"],
        &["check", "--format", "xml"],
    ] {
        assert_code(&place.run(wrong), 2);
    }
    let output = place.run(&["events", "list", "--topic", "a/#/b"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("`#`"), "{}", stderr(&output));
    assert_code(&place.run(&["--version"]), 0);
    assert_code(&place.run(&["events", "list", "--help"]), 0);
}

#[test]
fn a_good_configuration_is_fine_and_a_bad_one_ends_with_78() {
    let place = Place::new();
    let output = place.run(&["check"]);
    assert_code(&output, 0);
    assert_eq!(
        stdout(&output),
        "gateway.toml is fine: 1 source, 1 upstream, no rules\n"
    );
    place.write(
        "bad.toml",
        &CONFIG
            .replace("data_dir", "data_dri")
            .replace("mqtt-listener", "mqtt-listner"),
    );
    for command in ["check", "run", "status"] {
        let output = place.run(&[command, "--config", "bad.toml"]);
        assert_code(&output, 78);
        let said = stderr(&output);
        assert!(
            said.contains("unknown key `data_dri` in [gateway]"),
            "{said}"
        );
        assert!(said.contains("--> bad.toml:3:1"), "{said}");
        // Who asks a gateway need only know where its data lies.
        let is_all = command != "status";
        let source = said.contains("did you mean \"mqtt-listener\"?");
        assert_eq!(source, is_all, "{said}");
        assert_eq!(said.ends_with("2 errors\n"), is_all, "{said}");
        assert_eq!(said.contains("--data-dir DIR"), !is_all, "{said}");
    }
}

#[test]
fn findings_can_be_read_by_editors_and_programs() {
    let place = Place::new();
    place.write("bad.toml", &CONFIG.replace("data_dir", "data_dri"));
    let short = place.run(&["check", "--config", "bad.toml", "--format", "short"]);
    assert_code(&short, 78);
    assert_eq!(
        stdout(&short),
        "bad.toml:3:1: error: unknown key `data_dri` in [gateway] (did you mean `data_dir`?)\n"
    );
    let document = place.run(&["check", "--config", "bad.toml", "--format", "json"]);
    assert_code(&document, 78);
    let document = json(&document);
    assert_eq!(document["errors"], 1);
    let found = &document["diagnostics"][0];
    assert_eq!((&found["line"], &found["column"]), (&3.into(), &1.into()));
    assert_eq!(found["suggestion"]["replacement"], "data_dir");
}

#[test]
fn the_configuration_is_looked_for_in_known_places() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let output = command(elsewhere.path())
        .arg("check")
        .output()
        .expect("it runs");
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("no configuration: looked at $TIDEGATE_CONFIG, ./gateway.toml")
    );
    let named = place.folder.path().join("gateway.toml");
    let mut command = command(elsewhere.path());
    let output = command
        .arg("check")
        .env("TIDEGATE_CONFIG", &named)
        .output()
        .expect("it runs");
    assert_code(&output, 0);
    assert!(stdout(&output).contains(&named.display().to_string()));
    let output = place.run(&["check", "--config", "absent.toml"]);
    assert_code(&output, 78);
    assert!(stderr(&output).contains("cannot read absent.toml: no such file or directory"));
}

#[test]
fn completions_know_every_subcommand() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = place.run(&["completions", shell]);
        assert_code(&output, 0);
        for word in [
            "events", "store", "status", "follow", "verify", "backup", "restore",
        ] {
            assert!(stdout(&output).contains(word), "{shell} lacks {word}");
        }
    }
}

#[test]
fn without_a_gateway_the_store_it_left_is_read() {
    let place = Place::new();
    let output = place.run(&["status"]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).starts_with("tidegate: no gateway runs on data"),
        "{}",
        stderr(&output)
    );
    drop(place.fill(3));
    let output = place.run(&["events", "list"]);
    assert_code(&output, 0);
    assert!(stderr(&output).starts_with("no gateway runs: reading the store in data/store"));
    let listed = stdout(&output);
    let lines: Vec<&str> = listed.lines().collect();
    // Below each stand its topic and payload.
    assert_eq!(lines.len(), 7, "{listed}");
    assert!(
        lines[1].contains("e0") && lines[1].contains("delivered"),
        "{listed}"
    );
    assert!(
        lines[5].contains("e2") && lines[5].contains("waiting: cloud"),
        "{listed}"
    );
    let output = place.run(&["events", "follow"]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("there is nothing to follow"));
}

#[test]
fn events_are_found_by_topic_source_type_and_id() {
    let place = Place::new();
    drop(place.fill(6));
    let ids = |arguments: &[&str]| {
        let output = place.run(&[&["events", "list", "--format", "json"], arguments].concat());
        assert_code(&output, 0);
        let events = json(&output);
        let ids = events.as_array().expect("a list").iter();
        ids.map(|event| event["event"]["id"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--topic", "plant/1/#"]), ["e1", "e3", "e5"]);
    assert_eq!(ids(&["--limit", "2"]), ["e4", "e5"]);
    assert_eq!(ids(&["--source", "floor", "--type", "reading"]).len(), 6);
    let output = place.run(&["events", "list", "--source", "other"]);
    assert_code(&output, 1);
    let said = stderr(&output);
    assert!(
        said.contains("there is no source `other`; known: floor"),
        "{said}"
    );
    let output = place.run(&["events", "show", "e3"]);
    assert_code(&output, 0);
    let shown = stdout(&output);
    for part in [
        "plant-a/floor",
        "plant/1/temp",
        "press-7",
        "  {\"t\":3}\n",
        "to cloud: waiting",
        "hot",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let output = place.run(&["events", "show", "e99"]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("no event `e99` is held"));
}

#[test]
fn a_sound_store_verifies_and_a_damaged_one_ends_with_1() {
    let place = Place::new();
    drop(place.fill(5));
    let output = place.run(&["store", "verify"]);
    assert_code(&output, 0);
    assert!(
        stdout(&output).starts_with("5 events"),
        "{}",
        stdout(&output)
    );
    let output = place.run(&["store", "status", "--format", "json"]);
    assert_code(&output, 0);
    let report = json(&output);
    assert_eq!(report["store"]["events"], 5);
    assert_eq!(report["lanes"][0]["waiting"], 4);
    damage(&place.data_dir().join("store/generations"));
    let output = place.run(&["store", "verify", "--format", "json"]);
    assert_code(&output, 1);
    let verified = json(&output);
    assert_eq!(verified["sound"], false);
    let damage = verified["damage"][0].as_str().unwrap_or_default();
    assert!(damage.contains("cannot be read"), "{damage}");
}

/// Changes one byte of a payload on disk.
fn damage(generations: &Path) {
    let mut damaged = 0;
    for generation in std::fs::read_dir(generations)
        .expect("generations")
        .flatten()
    {
        let path = generation.path().join("db");
        let Ok(mut bytes) = std::fs::read(&path) else {
            continue;
        };
        let payload = b"{\"t\":3}";
        let places = bytes.windows(payload.len()).enumerate();
        let places: Vec<_> = places
            .filter(|(_, found)| found == payload)
            .map(|(at, _)| at)
            .collect();
        for at in places {
            bytes[at + 5] = b'4';
            damaged += 1;
        }
        std::fs::write(&path, bytes).expect("the damaged file");
    }
    assert!(damaged > 0, "nothing to damage");
}

/// Serves the control socket for `place` while `ask` runs.
fn while_running(place: &Place, ask: impl FnOnce(&mut Writer, &Store, &CommittedLog)) {
    let (mut writer, store) = place.fill(3);
    let log = CommittedLog::new(store.clone());
    let context = ApiContext::new("plant-a", Instant::now(), Arc::new(Observe::default()))
        .with_store(store.clone(), place.data_dir().join("store"))
        .with_log(log.clone())
        .with_intake(|_| IntakeReport {
            books: Books {
                accepted: 3,
                ..Books::default()
            },
            last_beat: Some(Duration::ZERO),
            refusing: false,
            refused_because: String::new(),
        })
        .with_upstream("cloud", |_| UpstreamStatus {
            name: "cloud".into(),
            kind: "file".into(),
            state: "down".into(),
            last_error: Some("no space \x1b[2J left".into()),
            waiting: 2,
            routed: 3,
            delivered: 1,
            ..UpstreamStatus::default()
        });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let api = Api::default();
    let data_dir = place.data_dir();
    let control = Control::bind(&data_dir, None, &api, Arc::new(context));
    let control = runtime.block_on(control).expect("the socket");
    let served = runtime.spawn(control.run(stopped));
    ask(&mut writer, &store, &log);
    stop.send_replace(true);
    runtime
        .block_on(served)
        .expect("no panic")
        .expect("no error");
    assert!(!place.data_dir().join("tidegate.sock").exists());
}

#[test]
fn the_running_gateway_is_asked() {
    let place = Place::new();
    while_running(&place, |_, _, _| {
        let output = place.run(&["status"]);
        assert_code(&output, 0);
        let said = stdout(&output);
        assert!(said.starts_with("gateway plant-a runs tidegate "), "{said}");
        assert!(
            said.contains("! upstream cloud is down: no space"),
            "{said}"
        );
        assert!(!said.contains('\x1b'), "{said}");
        assert!(said.contains("the books balance"), "{said}");
        let status = json(&place.run(&["status", "--format", "json"]));
        assert_eq!(status["books"]["accepted"], 3);
        let output = place.run(&["events", "list", "--topic", "plant/0/+"]);
        assert_eq!(stdout(&output).lines().count(), 5, "{}", stdout(&output));
        assert_eq!(stderr(&output), "");
        let output = place.run(&["store", "verify"]);
        assert_code(&output, 0);
        let output = place.run(&["events", "show", "e/1"]);
        assert!(
            stderr(&output).contains("no event `e/1` is held"),
            "{}",
            stderr(&output)
        );
    });
}

#[test]
fn a_backup_is_made_while_the_gateway_runs_and_restored_when_it_does_not() {
    let place = Place::new();
    while_running(&place, |_, _, _| {
        let output = place.run(&["store", "backup", "copy"]);
        assert_code(&output, 0);
        let said = stdout(&output);
        assert!(said.starts_with("backed up 3 events"), "{said}");
        let output = place.run(&["store", "backup", "copy"]);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("copy is not empty"));
        let output = place.run(&["store", "restore", "copy"]);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("a gateway runs at"));
    });
    let output = place.run(&["store", "restore", "copy"]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("store is not empty"),
        "{}",
        stderr(&output)
    );
    std::fs::remove_dir_all(place.data_dir()).expect("the machine is lost");
    let output = place.run(&["store", "restore", "copy", "--format", "json"]);
    assert_code(&output, 0);
    assert_eq!(json(&output)["records"], 3);
    let output = place.run(&["store", "backup", "again"]);
    assert_code(&output, 0);
    let listed = place.run(&["events", "list", "--topic", "plant/0/+"]);
    assert_eq!(stdout(&listed).lines().count(), 5, "{}", stdout(&listed));
    let report = json(&place.run(&["store", "status", "--format", "json"]));
    assert_eq!(report["lanes"][0]["waiting"], 2, "cursors are in it too");
}

#[test]
fn followed_events_come_as_they_are_committed() {
    let place = Place::new();
    while_running(&place, |writer, store, log| {
        let mut follow = command(place.folder.path());
        follow.args([
            "events",
            "follow",
            "--topic",
            "plant/1/#",
            "--format",
            "json",
        ]);
        follow.stdout(std::process::Stdio::piped());
        let mut follow = follow.spawn().expect("it runs");
        wait::until("somebody follows", || log.is_followed());
        for number in 0..2 {
            let committed = commit(writer, store, number);
            log.committed(committed.first, committed.last + 1, &[]);
        }
        let mut line = String::new();
        let output = follow.stdout.take().expect("a pipe");
        let mut output = std::io::BufReader::new(output);
        std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
        let followed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(followed["event"]["id"], "e1");
        follow.kill().expect("it was running");
        let _ = follow.wait();
    });
}

#[test]
fn everything_that_is_wrong_is_shown_at_once() {
    let place = Place::new();
    let rules = place.folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a folder");
    place.write(
        "rules/a.rules",
        "rule a { on \"t\" send to clod }\nrule b { on \"t\" when v >> 1 send to cloud }\n",
    );
    let with_rules = CONFIG.replace("data_dir = ", "rules = \"rules\"\ndata_dir = ");
    // No TOML, a key twice, an unknown key, a value out of range; and in the rules an unknown upstream and a slip.
    let text = with_rules
        .replace("listen = ", "x = = 1\nlisten = \"127.0.0.1:1\"\nlisten = ")
        .replace("path = ", "inflight = 0\npaht = 1\npath = ");
    place.write("bad.toml", &text);
    let said = |arguments: &[&str]| {
        let output = place.run(&[arguments, &["--config", "bad.toml"]].concat());
        assert_code(&output, 78);
        stderr(&output) + &stdout(&output)
    };
    let all = [
        "duplicate key; the first one is in line ",
        "unknown key `paht` in [upstreams.cloud]",
        "`inflight` is out of range: 0",
        "clod",
    ];
    for command in [
        &["check"][..],
        &["rules", "check"],
        &["check", "--format", "short"],
        &["check", "--format", "json"],
    ] {
        let said = said(command);
        for words in all {
            assert!(said.contains(words), "{command:?}: {words} in {said}");
        }
        assert!(
            !said.contains("lacks the key"),
            "nothing follows from what was left out: {said}"
        );
    }
    let errors: serde_json::Value = {
        let output = place.run(&["check", "--config", "bad.toml", "--format", "json"]);
        json(&output)
    };
    assert!(errors["errors"].as_u64() >= Some(6), "{errors}");
}
