//! SIGKILL at random moments: this test binary runs itself as a writer and kills it. What the writer had reported as
//! committed must be there afterwards, in order and unaltered.

use crate::support::bytes_of;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tidegate_store::{Append, Commit, Options, ReadLimit, Route, Store, open};

const CHILD: &str = "TIDEGATE_STORE_KILL_CHILD";
const ROUNDS: u32 = 40;

fn options(dir: &Path) -> Options {
    Options {
        generation_bytes: 200_000,
        ballast_bytes: 0,
        free_bytes_min: 0,
        keep_for_ms: u64::MAX,
        ..Options::new(dir)
    }
}

/// The writer: commits groups of 1 to 40 records with a mark each, and reports each commit after it is durable.
#[test]
fn child_writer() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let (mut writer, store) = open(options(Path::new(&dir))).unwrap();
    let lane = store.lane("cloud").unwrap();
    let mut out = std::io::stdout();
    let mut commit = Commit::new();
    loop {
        commit.clear();
        let first = writer.next_sequence();
        let count = 1 + first * 7 % 40;
        for n in first..first + count {
            let size = if n % 97 == 0 {
                20_000
            } else {
                50 + (n % 300) as usize
            };
            commit.push(Append {
                routes: &[Route {
                    lane,
                    class: (n % 4) as u8,
                }],
                time_ms: n,
                bytes: &bytes_of(n, size),
            });
        }
        commit.mark(b"last", &(first + count - 1).to_le_bytes());
        let committed = writer.commit(&commit).unwrap();
        store.confirm(lane, (first % 4) as u8, &[first]);
        let _ = writeln!(out, "committed {}", committed.last);
        let _ = store.put_dead_letter((committed.last, 0), &bytes_of(committed.last, 5000));
        let _ = writeln!(out, "letter {}", committed.last);
    }
}

#[test]
fn nothing_reported_as_committed_is_missing_after_many_kills() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::process::id();
    println!("seed {seed}");
    let mut random = u64::from(seed) | 1;
    let mut committed = 0;
    for round in 0..ROUNDS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (last, letter) = run_and_kill(
            dir.path(),
            Duration::from_micros(5_000 + (random >> 33) % 60_000),
        );
        committed = committed.max(last);
        let (writer, store) = open(options(dir.path())).unwrap();
        assert!(
            store.end() > committed,
            "round {round}: {committed} was reported, the log ends at {}",
            store.end()
        );
        let report = store.open_report();
        assert!(
            report.quarantined.is_empty() && report.damage.is_empty(),
            "round {round}: {report:?}"
        );
        let last_mark = store
            .mark(b"last")
            .map_or(0, |mark| u64::from_le_bytes(mark.try_into().unwrap()));
        assert_eq!(
            last_mark + 1,
            store.end(),
            "round {round}: records and marks of a commit come together"
        );
        assert!(
            letter == 0 || store.dead_letter((letter, 0)).unwrap().is_some(),
            "round {round}: letter {letter}"
        );
        drop((writer, store));
    }
    let (_writer, store) = open(options(dir.path())).unwrap();
    assert!(committed > 100, "the writers got on");
    check_all(&store, committed);
}

fn run_and_kill(dir: &Path, after: Duration) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kill::child_writer",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let (mut committed, mut letter) = (0, 0);
        for line in out.lines().map_while(Result::ok) {
            match line
                .rsplit_once(' ')
                .map(|(kind, n)| (kind.to_owned(), n.parse().unwrap_or(0)))
            {
                Some((kind, n)) if kind.ends_with("committed") => committed = n,
                Some((kind, n)) if kind.ends_with("letter") => letter = n,
                _ => {}
            }
        }
        (committed, letter)
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn check_all(store: &Store, committed: u64) {
    let mut from = 1;
    while from < store.end() {
        let batch = store
            .scan(
                from,
                u64::MAX,
                ReadLimit {
                    records: 500,
                    bytes: 1 << 20,
                },
            )
            .unwrap();
        for record in &batch.records {
            assert_eq!(record.sequence, from);
            assert_eq!(
                record.bytes,
                bytes_of(from, record.bytes.len()),
                "record {from} is altered"
            );
            from += 1;
        }
        assert_eq!(batch.next, from, "a record is missing");
    }
    assert!(from > committed);
}
