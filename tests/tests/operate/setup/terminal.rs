//! `tidegate init` at a terminal, which `script` (util-linux) makes.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tidegate_tests::gateway::binary;
use tidegate_tests::{peer, wait};

use super::text;

/// A person at a terminal.
struct Person {
    child: Child,
    transcript: tempfile::NamedTempFile,
}

impl Person {
    fn sits_down(dir: &Path, test: &str) -> Option<Person> {
        let script = peer::find("script", test)?;
        let transcript = tempfile::NamedTempFile::new().expect("a file");
        let words = format!("{} init --dir {}", binary::tidegate().display(), text(dir));
        let child = Command::new(script)
            .args(["--quiet", "--return", "--flush", "--command", &words])
            .arg(transcript.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Some(Person {
            child: child.expect("script runs"),
            transcript,
        })
    }

    /// Waits for the question, asked so many times by now, and answers it.
    fn answers(&mut self, question: &str, times: usize, answer: &[u8]) {
        wait::find(question, || {
            let seen = self.seen();
            match seen.matches(question).count() >= times {
                true => Ok(()),
                false => Err(seen),
            }
        });
        let input = self.child.stdin.as_mut().expect("a terminal");
        input
            .write_all(&[answer, b"\n"].concat())
            .expect("it reads");
    }

    fn seen(&self) -> String {
        let mut bytes = Vec::new();
        let mut file = fs::File::open(self.transcript.path()).expect("a file");
        file.read_to_end(&mut bytes).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it ended with.
    fn leaves(mut self) -> (Option<i32>, String) {
        let ended = self.child.wait().expect("it ends");
        (ended.code(), self.seen())
    }
}

const QUESTIONS: [&str; 5] = [
    "name of this gateway [",
    "folder for its events [",
    "devices connect: ADDRESS:PORT",
    "serial ports, as",
    "where events go:",
];
const BENCH: &str = "measure this disk now";

#[test]
fn five_questions_are_asked_and_a_wrong_answer_once_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let test = "five_questions_are_asked_and_a_wrong_answer_once_more";
    let Some(mut person) = Person::sits_down(dir.path(), test) else {
        return;
    };
    person.answers(QUESTIONS[0], 1, b"a\"b");
    person.answers(QUESTIONS[0], 2, b"pl\xffant");
    person.answers(QUESTIONS[0], 3, "x".repeat(65).as_bytes());
    person.answers(QUESTIONS[0], 4, b"plant-7");
    person.answers(QUESTIONS[1], 1, b"data");
    person.answers(QUESTIONS[1], 2, b"");
    person.answers(QUESTIONS[2], 1, b"127.0.0.1:99999");
    person.answers(QUESTIONS[2], 2, b"none");
    person.answers(
        QUESTIONS[3],
        1,
        b"/dev/ttyUSB0,json,9600 /dev/ttyUSB1,framed",
    );
    person.answers(QUESTIONS[4], 1, b"gopher://host");
    person.answers(QUESTIONS[4], 2, b"mqtt://127.0.0.1:18830");
    person.answers(BENCH, 1, b"n");
    let (code, seen) = person.leaves();
    assert_eq!(code, Some(0), "{seen}");
    let config = fs::read_to_string(dir.path().join("gateway.toml")).expect("a configuration");
    for part in [
        "\"plant-7\"",
        "\"json\"",
        "9600",
        "ttyUSB1",
        "mqtt://127.0.0.1:18830",
    ] {
        assert!(config.contains(part), "{part}: {config}");
    }
    assert!(!config.contains("mqtt-listener"), "{config}");
}

#[test]
fn what_is_written_between_question_and_answer_is_not_overwritten() {
    let dir = tempfile::tempdir().expect("a folder");
    let test = "what_is_written_between_question_and_answer_is_not_overwritten";
    let Some(mut person) = Person::sits_down(dir.path(), test) else {
        return;
    };
    for question in QUESTIONS {
        person.answers(question, 1, b"");
    }
    let config = dir.path().join("gateway.toml");
    fs::write(&config, "mine = 1\n").expect("room");
    person.answers(BENCH, 1, b"");
    let (code, seen) = person.leaves();
    assert_eq!(code, Some(1), "{seen}");
    assert_eq!(
        fs::read_to_string(&config).expect("it is there"),
        "mine = 1\n"
    );
    let names: Vec<_> = fs::read_dir(dir.path())
        .expect("a folder")
        .flatten()
        .collect();
    assert_eq!(names.len(), 1, "nothing else is left: {names:?}\n{seen}");
}

#[test]
fn whoever_leaves_before_the_last_answer_has_written_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let test = "whoever_leaves_before_the_last_answer_has_written_nothing";
    let Some(mut person) = Person::sits_down(dir.path(), test) else {
        return;
    };
    person.answers(QUESTIONS[0], 1, b"plant");
    // What a terminal sends for Ctrl-D.
    person.answers(QUESTIONS[1], 1, b"\x04");
    drop(person.child.stdin.take());
    let (code, seen) = person.leaves();
    assert_ne!(code, Some(0), "{seen}");
    assert_eq!(
        fs::read_dir(dir.path()).expect("a folder").count(),
        0,
        "{seen}"
    );
}
