//! Whatever `check` accepts, `run` starts with: tried for every key at its bounds, just outside, empty and of a wrong kind.
//!
//! What `check` refuses, `run` refuses with the same words.

mod keys;
mod together;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::{peer, port, wait};

use keys::{Case, LISTENER, table};
use together::{Row, Says, rows};

/// A folder with all files, and the configuration in it.
fn folder(text: &str, busy: SocketAddr) -> Gateway {
    let dir = tempfile::tempdir().expect("a folder");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let write = |name: &str, text: &[u8], mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    };
    let token = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=";
    write("own.pem", pair.cert.pem().as_bytes(), 0o600);
    write(
        "own.key",
        pair.signing_key.serialize_pem().as_bytes(),
        0o600,
    );
    write("one-line", format!("{token}\n").as_bytes(), 0o600);
    write("two-lines", format!("{token}\n{token}\n").as_bytes(), 0o600);
    write(
        "with-a-mark",
        format!("\u{feff}{token}\n").as_bytes(),
        0o600,
    );
    write("bytes", b"\xff\xfe\0", 0o600);
    write("open-to-all", token.as_bytes(), 0o644);
    write(
        "hash",
        b"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA\n",
        0o600,
    );
    std::fs::create_dir(dir.path().join("folder")).expect("a folder");
    let written = placed(&text.replace("BUSY", &busy.to_string()));
    std::fs::write(dir.path().join("gateway.toml"), written).expect("a configuration");
    Gateway::configured(dir, busy)
}

/// With addresses of its own.
fn placed(text: &str) -> String {
    let mut written = text.to_owned();
    while written.contains("FREE") {
        written = written.replacen("FREE", &port::free().to_string(), 1);
    }
    written
}

/// What is wrong with how `check` and `run` agree about this.
fn disagreement(case: &Case, busy: SocketAddr) -> Result<bool, String> {
    let mut gateway = folder(&case.text, busy);
    disagreement_of(&mut gateway, &case.name)
}

fn disagreement_of(gateway: &mut Gateway, name: &str) -> Result<bool, String> {
    let checked = gateway.ask(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    match checked.status.code() {
        Some(0) => {}
        Some(78) => {
            gateway.launch();
            gateway.wait_until("it ends or starts", || {
                has_ended(gateway) || is_ready(&gateway.whole_log())
            });
            let ended = has_ended(gateway).then(|| gateway.ended());
            let run_said = gateway.whole_log();
            let same = run_said.contains(said.trim());
            return match ended.and_then(|ended| ended.code()) == Some(78) && same {
                true => Ok(false),
                false => Err(format!("check: {said}\nrun: {ended:?} {run_said}")),
            };
        }
        other => return Err(format!("check ended with {other:?}: {said}")),
    }
    gateway.launch();
    let wait = wait::Wait::begin(name);
    let started = loop {
        let log = gateway.whole_log();
        if log.contains("panicked") {
            break Err(log);
        }
        if has_ended(gateway) {
            break Err(format!("it ended: {log}"));
        }
        if is_ready(&log) && all_have_begun(gateway) {
            break Ok(true);
        }
        wait.goes_on(log);
        std::thread::sleep(Duration::from_millis(20));
    };
    gateway.kill();
    started.map_err(|log| format!("check accepted it\n{log}"))
}

fn is_ready(log: &str) -> bool {
    log.lines()
        .any(|line| line.contains("ready") && line.contains("gateway="))
}

fn has_ended(gateway: &Gateway) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid()));
    stat.map_or(true, |stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}

/// Whether each source and upstream has said how it is, so that whatever it does first has been done.
fn all_have_begun(gateway: &Gateway) -> bool {
    let asked = gateway.ask(&["status", "--format", "json"]);
    let Ok(status) = serde_json::from_slice::<serde_json::Value>(&asked.stdout) else {
        return false;
    };
    ["sources", "upstreams"].into_iter().all(|list| {
        let mut all = status[list].as_array().into_iter().flatten();
        all.all(|one| one["state"] != "starting")
    })
}

/// Tries all cases, several at a time.
fn try_all(cases: &[Case]) -> (usize, Vec<String>) {
    let taken = TcpListener::bind(port::free()).expect("an address");
    let busy = taken.local_addr().expect("its address");
    let next = AtomicUsize::new(0);
    let (started, wrong) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match disagreement(case, busy) {
                        Ok(true) => {
                            started.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(false) => {}
                        Err(why) => {
                            let mut wrong = wrong.lock().expect("no panic");
                            wrong.push(format!("{}\n{:.600}\n{why}", case.name, case.text));
                        }
                    }
                }
            });
        }
    });
    (started.into_inner(), wrong.into_inner().expect("no panic"))
}

#[test]
fn whatever_check_accepts_run_starts_with() {
    let cases = table();
    let (started, wrong) = try_all(&cases);
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
    eprintln!("{} cases, {started} accepted and started", cases.len());
    assert!(
        cases.len() > 1_000 && started > 300,
        "{started} of {}",
        cases.len()
    );
}

/// What is wrong with what is said of a row.
fn row_disagreement(row: &Row) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a folder");
    let text = match String::from_utf8(row.text.clone()) {
        Ok(text) => placed(&text).into_bytes(),
        Err(other) => other.into_bytes(),
    };
    std::fs::write(dir.path().join("gateway.toml"), text).expect("a configuration");
    (row.makes)(dir.path());
    let mut gateway = Gateway::configured(dir, port::free());
    let said = gateway.ask(&["check"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let started = disagreement_of(&mut gateway, row.name)?;
    match row.says {
        Says::Fine if started => Ok(()),
        // Paths are shown whole here, where the configuration is named by its own.
        Says::Wrong(words) if !started => {
            let said = said.replace(&format!("{}/", gateway.path("").display()), "");
            let said = said.replace(&gateway.path("").display().to_string(), "");
            match words.iter().find(|word| !said.contains(**word)) {
                None => Ok(()),
                Some(word) => Err(format!("no {word:?} in {said:.2000}")),
            }
        }
        Says::Fine => Err(format!("refused: {said:.2000}")),
        Says::Wrong(_) => Err("accepted".to_owned()),
    }
}

#[test]
fn what_stands_together_is_started_or_refused_by_both_in_words_that_help() {
    let rows = rows();
    assert!(rows.len() >= 70, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            row_disagreement(row)
                .err()
                .map(|why| format!("{}: {why}", row.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn many_upstreams_are_started_or_refused_by_both() {
    let with = |count: usize| {
        let one =
            |number| format!("[upstreams.u{number}]\ntype = \"file\"\npath = \"{number}.jsonl\"\n");
        let all: String = (0..count).map(one).collect();
        Case {
            name: format!("{count} upstreams"),
            text: format!("[gateway]\nid = \"a\"\ndata_dir = \"data\"\n{LISTENER}{all}"),
        }
    };
    let (started, wrong) = try_all(&[with(62), with(63), with(64), with(200)]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(started, 2);
}

/// As somebody who may not write there.
#[test]
fn a_folder_that_cannot_be_written_is_found_by_both() {
    let test = "a data folder that cannot be written";
    let Some(setpriv) = peer::find("setpriv", test) else {
        return;
    };
    let text = |data_dir: &str| {
        format!(
            "[gateway]\nid = \"a\"\ndata_dir = \"{data_dir}\"\n{LISTENER}[upstreams.u]\ntype = \"file\"\npath = \"/dev/null\"\n"
        )
    };
    let long = "x".repeat(120);
    let cases = [
        (
            "folder",
            "cannot be written by this user: Permission denied",
        ),
        ("folder/below/it", "cannot be made by this user"),
        ("one-line", "is a file"),
        ("one-line/below", "is a file"),
        (&long, "cannot be made by this user"),
    ];
    for (data_dir, expected) in cases {
        let gateway = folder(&text(data_dir), port::free());
        let path = gateway.path("");
        for (path, mode) in [(path.as_path(), 0o755), (&gateway.path("folder"), 0o555)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).expect("its mode");
        }
        let as_nobody = |command: &str| {
            let mut asked = std::process::Command::new(&setpriv);
            asked.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            asked
                .arg(readable(&gateway.dir))
                .arg(command)
                .arg("--config");
            asked
                .arg(gateway.path("gateway.toml"))
                .output()
                .expect("it runs")
        };
        let (checked, run) = (as_nobody("check"), as_nobody("run"));
        let said = String::from_utf8_lossy(&checked.stderr);
        if said.contains("setpriv:") {
            return peer::skip(test, "no other user can be taken on");
        }
        assert_eq!(checked.status.code(), Some(78), "{data_dir}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert_eq!(run.status.code(), Some(78), "{data_dir}");
        assert_eq!(said, String::from_utf8_lossy(&run.stderr), "{data_dir}");
    }
}

/// The program where everybody may run it.
fn readable(dir: &TempDir) -> std::path::PathBuf {
    let copy: &Path = &dir.path().join("tidegate");
    if !copy.exists() {
        std::fs::copy(tidegate_tests::gateway::binary::tidegate(), copy).expect("a copy");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(copy, mode).expect("its mode");
    }
    copy.to_owned()
}
