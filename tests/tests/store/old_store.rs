//! Stores that programs before wrote: opened, listed, sent again and drained by this one, and told to be of this one. They
//! were written with `TIDEGATE_WRITE_FIXTURE=FOLDER TIDEGATE_BIN=PROGRAM cargo test -p tidegate-tests --test old_store` and
//! are never made again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer::webhook;
use tidegate_tests::{mqtt, wait};

const EVENTS: usize = 10;
const RULES: &str = "rule keep { on \"odd\" set maker = 0 send to cloud }\n\
    rule r1 { on \"odd\" set maker = 1 send to web }\n\
    rule r2 { on \"odd\" set maker = 2 send to web topic \"made/2\" }\n\
    rule r3 { on \"odd\" send to web }\n\
    rule aside { on \"odd\" send to dead_letter reason \"as the rule says\" }\n";

/// A store with records of version 1, and with this many dead letters for each event that `web` refused.
struct OldStore {
    name: &'static str,
    letters: usize,
}

/// Each output that an upstream refused was a dead letter.
const LETTER_OF_EACH_OUTPUT: OldStore = OldStore {
    name: "letter_of_each_output",
    letters: 3,
};
/// What an upstream refused of one event was one dead letter.
const RECORDS_OF_VERSION_1: OldStore = OldStore {
    name: "records_of_version_1",
    letters: 1,
};

impl OldStore {
    fn path(&self) -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        fixtures.join(self.name)
    }
}

/// Copies a folder's files, but for sockets, the ballast and empty folders.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() && !path.ends_with("ballast") && !path.ends_with("lock") {
            fs::create_dir_all(to).expect("a folder");
            fs::copy(&path, &target).expect("copied");
        }
    }
}

#[test]
fn a_store_is_written_where_one_is_asked_for() {
    let Some(folder) = std::env::var_os("TIDEGATE_WRITE_FIXTURE") else {
        return;
    };
    let mut gateway = Gateway::new(&format!(
        "[store]\nmax_size = \"8MiB\"\ngeneration_size = \"64KiB\"\n\n\
         [upstreams.cloud]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n\n\
         [upstreams.web]\ntype = \"http\"\nurl = \"{}\"\nrefusals_max = 1\n",
        webhook::that_refuses()
    ));
    gateway.write("rules/all.rules", RULES);
    gateway.start();
    let mut sensor = mqtt::connect(gateway.address, "sensor", true).expect("let in");
    for number in 0..EVENTS {
        let payload = format!("{{\"number\":{number}}}");
        mqtt::publish_acknowledged(&mut sensor, "odd", 1, payload.as_bytes());
    }
    gateway.wait_until("only the backlog waits", || {
        let status = gateway.status();
        status["books"]["waiting"] == EVENTS
            && [2 * EVENTS, 4 * EVENTS]
                .map(Value::from)
                .contains(&status["store"]["dead_letters"])
    });
    // Its places are written: what was refused is not sent once more.
    assert!(gateway.terminate().success());
    copy(&gateway.path("data"), Path::new(&folder));
}

/// What lies in a file of JSON lines, by id, once there are so many.
fn lines(gateway: &Gateway, name: &str, count: usize) -> BTreeMap<String, Value> {
    let lines = wait::find(name, || {
        let text = fs::read_to_string(gateway.path(name)).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let lines: Vec<Value> = lines.collect();
        let seen = || format!("{} of {count}\n{}", lines.len(), gateway.log());
        (lines.len() >= count)
            .then(|| lines.clone())
            .ok_or_else(seen)
    });
    assert_eq!(lines.len(), count, "{name}");
    let by_id = lines.into_iter().map(|line| {
        let id = line["id"].as_str().expect("an id").to_owned();
        (id, json!([line["topic"], line["data"]]))
    });
    by_id.collect()
}

/// What a rule makes of each event, if it sets a maker, by id.
fn made(ids: &[String], suffix: &str, topic: &str, maker: Option<u64>) -> BTreeMap<String, Value> {
    let numbered = ids.iter().zip(0u64..).map(|(id, number)| {
        let data = match maker {
            Some(maker) => json!({"number": number, "maker": maker}),
            None => json!({"number": number}),
        };
        (format!("{id}{suffix}"), json!([topic, data]))
    });
    numbered.collect()
}

#[test]
fn letters_of_each_output_are_listed_sent_again_and_drained() {
    drained(&LETTER_OF_EACH_OUTPUT);
}

#[test]
fn records_of_version_1_are_listed_sent_again_and_drained() {
    drained(&RECORDS_OF_VERSION_1);
}

fn drained(old: &OldStore) {
    let file =
        |name: &str| format!("[upstreams.{name}]\ntype = \"file\"\npath = \"{name}.jsonl\"\n\n");
    let files = [file("cloud"), file("web"), file("archive")].concat();
    let mut gateway = Gateway::new(&files);
    gateway.write("rules/all.rules", RULES);
    copy(&old.path(), &gateway.path("data"));
    let format = format_of(&gateway);
    // Before it runs, and while it does.
    let at_rest = gateway.dead_letters();
    assert_eq!(format_of(&gateway), format, "looking changes nothing");
    gateway.start();
    assert_eq!(format_of(&gateway), "tidegate-store 4\n");
    let letters = gateway.dead_letters();
    assert!(letters == at_rest, "{letters:?}");
    assert_eq!(letters.len(), (old.letters + 1) * EVENTS);
    let of = |owner: &str| {
        letters
            .iter()
            .filter(|letter| letter["of"] == owner)
            .count()
    };
    let of_web = old.letters * EVENTS;
    assert_eq!((of("upstream web"), of("rule aside")), (of_web, EVENTS));
    for letter in &letters {
        let outputs = match letter["of"] == "rule aside" {
            true => 1,
            false => 3 / old.letters,
        };
        assert_eq!(letter["outputs"], outputs, "{letter}");
    }
    let stored = gateway.events(&["--topic", "odd", "--limit", "100"]);
    let id = |event: &Value| event["event"]["id"].as_str().expect("an id").to_owned();
    let ids: Vec<String> = stored.iter().map(id).collect();
    assert_eq!(ids.len(), EVENTS);

    let backlog = lines(&gateway, "cloud.jsonl", EVENTS);
    assert_eq!(backlog, made(&ids, "/keep/0", "odd", Some(0)));
    gateway.wait_until("its place is written", || {
        gateway.status()["books"]["waiting"] == 0
    });
    assert!(gateway.terminate().success(), "{}", gateway.log());
    gateway.start();

    let sent = gateway.ask(&["dead-letters", "retry", "--all", "--upstream", "web"]);
    assert!(sent.status.success(), "{sent:?}");
    let mut expected = made(&ids, "/r1/1", "odd", Some(1));
    expected.extend(made(&ids, "/r2/2", "made/2", Some(2)));
    expected.extend(made(&ids, "", "odd", None));
    assert_eq!(lines(&gateway, "web.jsonl", 3 * EVENTS), expected);
    gateway.kill();
    gateway.start();
    let sent = gateway.ask(&["dead-letters", "retry", "--all", "--to", "archive"]);
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(
        lines(&gateway, "archive.jsonl", EVENTS),
        made(&ids, "", "odd", None)
    );
    assert_eq!(gateway.dead_letters(), Vec::<Value>::new());
    assert_eq!(gateway.status()["books"]["difference"], 0);
    assert!(gateway.terminate().success());
    let verified = gateway.ask(&["store", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

fn format_of(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.path("data/store/format")).expect("a format")
}

#[test]
fn a_store_of_a_later_program_is_refused_by_its_format_and_left_as_it_is() {
    let mut gateway = Gateway::new("[upstreams.cloud]\ntype = \"file\"\npath = \"cloud.jsonl\"\n");
    gateway.start();
    assert!(gateway.terminate().success());
    fs::write(gateway.path("data/store/format"), "tidegate-store 5\n").expect("written");
    for arguments in [
        &["run"][..],
        &["store", "status"],
        &["dead-letters", "list"],
    ] {
        let refused = gateway.ask(arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{arguments:?}: {said}");
        assert!(said.contains("tidegate-store 5"), "{arguments:?}: {said}");
        assert_eq!(format_of(&gateway), "tidegate-store 5\n");
    }
}
