//! Each thing that a person should look at is told in the status, as text and as JSON, by the
//! readiness, a metric, one line of the log and one system event; and is over with its cause.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::binary;
use tidegate_tests::gateway::told::{Told, troubles};
use tidegate_tests::node::pseudo_terminal;
use tidegate_tests::{mqtt, peer, port, wait};

const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";

/// A user `press` of the source whose section came last.
fn user(source: &str) -> String {
    let hash = binary::password_hash("open sesame");
    format!("[sources.{source}.users.press]\npassword_hash = \"{hash}\"\npublish = [\"#\"]\n\n")
}

/// Posts an event with a login, and is not let in.
fn post_refused(address: SocketAddr, login: Option<&str>) {
    let login = login
        .map(|login| format!("{login}\r\n"))
        .unwrap_or_default();
    let request = format!(
        "POST /topics/t HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n{login}\r\n1"
    );
    let mut stream = port::connect(address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

/// Who is not let in: at which source, with what, and why.
fn refused_logins() -> Vec<(&'static str, &'static [&'static str], &'static str)> {
    let wrong = "the password of the user press is wrong";
    let unknown = "the user name \"oven\" is none of `users`";
    let swapped = "user name and password are swapped";
    let none = "no user name and password were given";
    // `press:wrong`, `oven:x` and `s3cret:press`.
    const BAD: &str = "Authorization: Basic cHJlc3M6d3Jvbmc=";
    const STRANGE: &str = "Authorization: Basic b3Zlbjp4";
    const MIXED: &str = "Authorization: Basic czNjcmV0OnByZXNz";
    vec![
        ("floor", &["-u", "press", "-P", "wrong"], wrong),
        ("floor", &["-V", "5", "-u", "press", "-P", "wrong"], wrong),
        ("floor", &["-u", "oven", "-P", "x"], unknown),
        ("floor", &["-V", "5", "-u", "oven", "-P", "x"], unknown),
        ("floor", &["-u", "s3cret", "-P", "press"], swapped),
        ("floor", &["-u", "press"], "the user press gave no password"),
        (
            "floor",
            &["-u", "s3cret"],
            "none of `users`, and no password",
        ),
        ("floor", &[], none),
        ("hooks", &[BAD], wrong),
        ("hooks", &[STRANGE], unknown),
        ("hooks", &[MIXED], swapped),
        ("hooks", &[], none),
    ]
}

#[test]
fn whoever_is_not_let_in_is_told() {
    let Some(client) = peer::find("mosquitto_pub", "logins") else {
        return;
    };
    let hooks = port::free();
    let http = format!("[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n");
    let config = format!("{}{http}{}{ARCHIVE}", user("floor"), user("hooks"));
    let mqtt = |gateway: &Gateway, arguments: &[&str]| {
        let mut command = Command::new(&client);
        command.args(["-p", &gateway.address.port().to_string()]);
        command.args(["-q", "1", "-t", "t", "-m", "m"]);
        let output = command.args(arguments).output().expect("it runs");
        assert!(!output.status.success(), "{arguments:?}");
    };
    let mut gateway = Gateway::new(&config);
    gateway.start();
    let mut count = std::collections::BTreeMap::new();
    for (source, arguments, why) in refused_logins() {
        match source {
            "floor" => mqtt(&gateway, arguments),
            _ => post_refused(hooks, arguments.first().copied()),
        }
        let subject = format!("source {source}");
        let told = Told {
            subject: &subject,
            kind: "logins",
            words: &["127.0.0.1", why, "log in"],
        };
        told.everywhere(&gateway);
        let count = count.entry(source).or_insert(0);
        *count += 1;
        let metric = gateway.metric("tidegate_source_failed_logins_total", source);
        assert_eq!(metric, *count, "{source}");
    }
    let log = gateway.whole_log();
    assert!(!log.contains("s3cret"), "a name may be a password: {log}");
    assert!(
        troubles(&gateway)
            .iter()
            .any(|line| line.contains("8 logins failed"))
    );
}

#[test]
fn a_client_that_asks_for_the_login_first_is_no_trouble() {
    let hooks = port::free();
    let http = format!("[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n");
    let mut gateway = Gateway::new(&format!("{http}{}{ARCHIVE}", user("hooks")));
    gateway.start();
    let mut stream = port::connect(hooks);
    let post = |stream: &mut TcpStream, more: &str, answer: &str| {
        let request =
            format!("POST /topics/t HTTP/1.1\r\nHost: x\r\n{more}Content-Length: 1\r\n\r\n1");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut begin = vec![0; answer.len()];
        stream.read_exact(&mut begin).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&begin), answer);
        let mut rest = [0; 4096];
        let _ = stream.read(&mut rest).expect("the rest");
    };
    post(&mut stream, "", "HTTP/1.1 401");
    let login = "Authorization: Basic cHJlc3M6b3BlbiBzZXNhbWU=\r\nConnection: close\r\n";
    post(&mut stream, login, "HTTP/1.1 200");
    assert_eq!(
        gateway.metric("tidegate_source_failed_logins_total", "hooks"),
        0
    );
    assert_eq!(troubles(&gateway), Vec::<String>::new());
}

#[test]
fn all_connections_that_are_allowed_being_open_is_told_until_they_are_fewer() {
    let (hooks, other) = (port::free(), port::free());
    let mut gateway = Gateway::new(&format!(
        "max_connections = 3\n\n[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\nmax_connections = 2\n\n\
         [sources.yard]\ntype = \"mqtt-listener\"\nlisten = \"{other}\"\nmax_connections_per_ip = 2\n\n{ARCHIVE}"
    ));
    gateway.start();
    let told = |subject: &'static str, kind, words| Told {
        subject,
        kind,
        words,
    };
    let cases = [
        (
            gateway.address,
            3,
            told(
                "source floor",
                "connections",
                &["all 3", "max_connections", "allow more"],
            ),
        ),
        (
            hooks,
            2,
            told(
                "source hooks",
                "connections",
                &["all 2", "max_connections", "allow more"],
            ),
        ),
        (
            other,
            3,
            told(
                "source yard",
                "connections_per_ip",
                &["127.0.0.1", "max_connections_per_ip", "allow more"],
            ),
        ),
    ];
    let hold = |address: SocketAddr, count| {
        let dial = |_| port::connect(address);
        (0..count).map(dial).collect::<Vec<_>>()
    };
    let held: Vec<_> = cases
        .iter()
        .map(|(address, count, _)| hold(*address, count + 1))
        .collect();
    for (_, _, told) in &cases {
        told.everywhere(&gateway);
    }
    drop(held);
    for (_, _, told) in &cases {
        told.nowhere(&gateway);
    }
}

/// A gateway that may open so few files.
fn with_few_files(count: u32, more: &str) -> Gateway {
    let mut gateway = Gateway::new(more);
    let limit = format!("ulimit -n {count}; exec \"$@\"");
    gateway.under(["sh", "-c", &limit, "sh"].map(Into::into).into());
    gateway
}

#[test]
fn running_out_of_file_descriptors_is_told_and_leaves_some_to_the_store() {
    let mut gateway = with_few_files(120, ARCHIVE);
    gateway.start();
    let few = Told {
        subject: "gateway",
        kind: "descriptors_max",
        words: &[
            "allow 1000 connections",
            "for 90",
            "LimitNOFILE=1030",
            "max_connections",
        ],
    };
    few.everywhere(&gateway);
    let short = Told {
        subject: "gateway",
        kind: "descriptors",
        words: &["turned away", "120", "LimitNOFILE"],
    };
    let held: Vec<_> = (0..200).map(|_| port::connect(gateway.address)).collect();
    short.everywhere(&gateway);
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid()));
    let open = open.expect("it runs").count();
    assert!(open < 115, "{open}");
    // It does not spin over those that wait.
    let before = cpu_ticks(&gateway);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let spent = cpu_ticks(&gateway) - before;
    assert!(spent < 100, "{spent} ticks in 2 s");
    drop(held);
    wait::until("somebody is let in again", || {
        mqtt::connect(gateway.address, "late", true).is_ok()
    });
    short.nowhere(&gateway);
}

fn cpu_ticks(gateway: &Gateway) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let fields = rest.split_whitespace().skip(11).take(2);
    fields
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum()
}

#[test]
fn as_many_files_as_the_system_allows_may_be_open() {
    let mut gateway = Gateway::new(ARCHIVE);
    let limit = "ulimit -S -n 100; exec \"$@\"";
    gateway.under(["sh", "-c", limit, "sh"].map(Into::into).into());
    gateway.start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid()));
    let limits = limits.expect("it runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let fields: Vec<&str> = line.expect("a limit").split_whitespace().collect();
    assert_eq!(fields[3], fields[4], "{fields:?}");
    let metric = gateway.metric("tidegate_process_max_fds", "");
    assert_eq!(metric.to_string(), fields[3]);
}

/// A library that puts the wall clock back by the seconds in `CLOCK_BEHIND_S`, read anew each time.
fn clock_library(folder: &Path) -> Option<std::path::PathBuf> {
    let compiler = peer::find("cc", "a clock that is behind")?;
    let source = folder.join("clock.c");
    let text = r#"
        #define _GNU_SOURCE
        #include <time.h>
        #include <unistd.h>
        #include <sys/syscall.h>
        int clock_gettime(clockid_t which, struct timespec *now) {
            int result = syscall(SYS_clock_gettime, which, now);
            if (which == CLOCK_REALTIME && access("behind", F_OK) == 0) now->tv_sec = 86400;
            return result;
        }
    "#;
    std::fs::write(&source, text).expect("a file");
    let library = folder.join("clock.so");
    let built = Command::new(compiler)
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.expect("it runs").success());
    Some(library)
}

#[test]
fn a_clock_before_the_build_is_told_until_it_is_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(library) = clock_library(folder.path()) else {
        return;
    };
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.variable("LD_PRELOAD", &library.display().to_string());
    gateway.write("behind", "");
    gateway.start();
    let told = Told {
        subject: "gateway",
        kind: "clock",
        words: &["1970-01-02", "wrong times", "timedatectl"],
    };
    told.everywhere(&gateway);
    std::fs::remove_file(gateway.path("behind")).expect("it is there");
    told.nowhere(&gateway);
}

#[test]
fn a_port_that_brings_bytes_and_no_readings_is_told_until_one_comes() {
    let section = |name: &str, kind: &str, port: &Path| {
        let port = port.display();
        format!("[sources.{name}]\n{kind}\nport = \"{port}\"\nbaud = 9600\n\n")
    };
    let kinds = [
        ("text", "type = \"lines\"\nformat = \"text\"", "hello\n"),
        ("json", "type = \"lines\"\nformat = \"json\"", "{}\n"),
        (
            "csv",
            "type = \"lines\"\nformat = \"csv\"\ncolumns = [\"a\", \"b\"]",
            "1,2\n",
        ),
        // Without an end a line is never one.
        (
            "endless",
            "type = \"lines\"\nformat = \"text\"",
            "\nhello\n",
        ),
        ("link", "type = \"serial\"", ""),
    ];
    let mut config = String::new();
    let mut lines = Vec::new();
    for (name, kind, good) in kinds {
        let (line, path) = pseudo_terminal().expect("a pseudo-terminal");
        config += &section(name, kind, &path);
        lines.push((name, line, good));
    }
    let mut gateway = Gateway::new(&format!("{config}{ARCHIVE}"));
    gateway.start();
    let mut random = fastrand::Rng::with_seed(11);
    wait::until("every port is told", || {
        for (name, line, _) in &mut lines {
            let mut noise: Vec<u8> = (0..64).map(|_| random.u8(..)).collect();
            match *name {
                "text" => noise = b"\xff\xfe none of it is text\n".to_vec(),
                "json" => noise = b"not JSON\n".to_vec(),
                "csv" => noise = b"1\n".to_vec(),
                "endless" => noise = b"abcdefgh".to_vec(),
                _ => {}
            }
            let _ = line.write(&noise);
        }
        let told = troubles(&gateway);
        let told = told.iter().filter(|line| line.contains("can be read"));
        told.count() == kinds.len()
    });
    let subjects: Vec<String> = kinds.iter().map(|it| format!("source {}", it.0)).collect();
    let told: Vec<Told> = subjects
        .iter()
        .map(|subject| Told {
            subject,
            kind: "readings",
            words: &["bytes come", "9600", "baud"],
        })
        .collect();
    for told in &told {
        told.everywhere(&gateway);
    }
    for (_, line, good) in &mut lines {
        // What is there of a line ends first.
        line.write_all(b"\n").expect("it reads");
        line.write_all(good.as_bytes()).expect("it reads");
    }
    for told in told.iter().filter(|told| told.subject != "source link") {
        told.nowhere(&gateway);
    }
}

/// A server that refuses every event for good.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8192];
            let _ = stream.read(&mut request);
            let answer =
                "HTTP/1.1 422 no\r\ncontent-length: 9\r\nconnection: close\r\n\r\nbad event";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn dead_letters_that_become_more_are_told_until_somebody_has_seen_them() {
    let hook = format!("http://{}/in", refusing());
    let mut gateway = Gateway::new(&format!(
        "[upstreams.hook]\ntype = \"http\"\nurl = \"{hook}\"\nrefusals_max = 1\n"
    ));
    gateway.write(
        "rules/plant.rules",
        "rule hot {\n  on \"hot/#\"\n  send to hook\n}\n\nrule odd {\n  on \"odd/#\"\n  send to dead_letter reason \"odd\"\n}\n",
    );
    gateway.start();
    let publish = |topic: &str, count: u16| {
        let mut stream = mqtt::connect(gateway.address, "letters", true).expect("let in");
        for id in 1..=count {
            mqtt::publish_acknowledged(&mut stream, topic, id, b"{}");
        }
    };
    let refused = Told {
        subject: "upstream hook",
        kind: "new dead letters",
        words: &[
            "3 events were set aside",
            "422",
            "dead-letters list",
            "`drop`",
        ],
    };
    let aside = Told {
        subject: "dead letters",
        kind: "new dead letters",
        words: &["1 event was set aside", "by a rule", "dead-letters list"],
    };
    publish("hot/1", 3);
    publish("odd/1", 1);
    refused.everywhere(&gateway);
    aside.everywhere(&gateway);
    let listed = gateway.ask(&["dead-letters", "list", "--format", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let id = listed[0]["id"].as_str().expect("an id").to_owned();
    assert!(gateway.ask(&["dead-letters", "drop", &id]).status.success());
    refused.nowhere(&gateway);
    aside.nowhere(&gateway);
    publish("hot/1", 1);
    wait::until("new ones are told again, and counted anew", || {
        let all = troubles(&gateway);
        all.iter()
            .any(|line| line.contains("hook: 1 event was set aside"))
    });
}

#[test]
fn a_control_socket_that_is_removed_is_made_again() {
    let mut gateway = Gateway::new("[upstreams.a]\ntype = \"file\"\npath = \"a.jsonl\"\n");
    gateway.start();
    let socket = gateway.path("data/tidegate.sock");
    for _ in 0..2 {
        gateway.wait_until("it can be asked", || {
            gateway.ask(&["status"]).status.success()
        });
        std::fs::remove_file(&socket).expect("it is there");
    }
    gateway.wait_until("it can be asked again", || {
        gateway.ask(&["status"]).status.success()
    });
    let log = gateway.whole_log();
    assert!(log.contains("was removed; it is made again"), "{log}");
    assert!(gateway.terminate().success());
    assert!(!socket.exists(), "none is left");
}
