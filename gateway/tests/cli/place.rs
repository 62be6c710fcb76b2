//! A folder to run the program in, and what it said.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use tempfile::TempDir;
use tidegate::event::record::{self, Routed};
use tidegate_rules::decision::{self, Priority};
use tidegate_rules::event::Event;
use tidegate_store::{Append, Commit, Committed, Route, Store, Writer};

/// A folder with a configuration, and a store where a test wants one.
pub(super) struct Place {
    pub(super) folder: TempDir,
}

pub(super) const CONFIG: &str = r#"[gateway]
id = "plant-a"
data_dir = "data"

[sources.floor]
type = "mqtt-listener"
listen = "127.0.0.1:1883"

[upstreams.cloud]
type = "file"
path = "out.jsonl"
"#;

impl Place {
    pub(super) fn new() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("data")).expect("a data folder");
        std::fs::write(folder.path().join("gateway.toml"), CONFIG).expect("a configuration");
        Place { folder }
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs the program in this folder.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        command(self.folder.path())
            .args(arguments)
            .output()
            .expect("the program runs")
    }

    /// Fills the store with `events` events for the lane `cloud`; the first one is delivered.
    pub(super) fn fill(&self, events: usize) -> (Writer, Store) {
        let options = tidegate_store::Options {
            ballast_bytes: 0,
            ..tidegate_store::Options::new(self.data_dir().join("store"))
        };
        let (mut writer, store) = tidegate_store::open(options).expect("a store");
        let lane = store.lane("cloud").expect("a lane");
        for number in 0..events {
            let committed = commit(&mut writer, &store, number);
            if number == 0 {
                store.confirm(lane, Priority::Normal as u8, &[committed.first]);
            }
        }
        writer.persist_cursors_if_dirty().expect("cursors");
        (writer, store)
    }
}

/// Commits the event of this number for the lane `cloud`.
pub(super) fn commit(writer: &mut Writer, store: &Store, number: usize) -> Committed {
    let lane = store.lane("cloud").expect("a lane");
    let output = Routed {
        lane,
        output: decision::Output {
            rule: Some("hot".into()),
            ..decision::Output::default()
        },
    };
    let mut bytes = Vec::new();
    record::encode(&event(number), &[output], &mut bytes);
    let mut commit = Commit::new();
    let class = Priority::Normal as u8;
    commit.push(Append {
        routes: &[Route { lane, class }],
        time_ms: 1_000,
        bytes: &bytes,
    });
    writer.commit(&commit).expect("a commit")
}

pub(super) fn event(number: usize) -> Event {
    Event {
        id: format!("e{number}").into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: format!("plant/{}/temp", number % 2).into(),
        publisher: "press-7".into(),
        time: None,
        received: 1_791_806_602_118 + number as i64,
        content_type: Some("application/json".into()),
        schema: None,
        extensions: Vec::new(),
        data: Bytes::from(format!("{{\"t\":{number}}}")),
        ..Event::default()
    }
}

pub(super) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .current_dir(folder)
        .env_remove("TIDEGATE_CONFIG")
        .env_remove("RUST_LOG");
    command
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(super) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

#[track_caller]
pub(super) fn assert_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}{}",
        stdout(output),
        stderr(output)
    );
}
