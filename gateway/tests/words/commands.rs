//! What the command line, the HTTP source and the start say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::{peer, port, wait};

const RULES: &str = "event press {\n  topic \"press/+\"\n  v float required in 0..10\n}\n\
    rule keep { on press send to archive }\n\
    rule aside { on \"aside/#\" send to dead_letter reason \"aside\" }\n";

/// A gateway with an HTTP source; where that is.
fn gateway(more: &str) -> (Gateway, SocketAddr) {
    let address = port::free();
    let gateway = Gateway::new(&format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{address}\"\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n{more}"
    ));
    (gateway, address)
}

/// Posts this; the answer.
pub(crate) fn post(address: SocketAddr, path: &str, headers: &[u8], body: &[u8]) -> String {
    // It comes up beside the listener that the harness waits for.
    let mut stream = wait::find("it listens", || TcpStream::connect(address));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    let request = [head.as_bytes(), headers, b"\r\n", body].concat();
    stream.write_all(&request).expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs this and expects these words.
#[track_caller]
fn says(gateway: &Gateway, arguments: &[&str], code: i32, words: &[&str]) {
    let output = gateway.ask(arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: {word} in {said}");
    }
}

const NEAR: &str = "did you mean `archive`?";
/// What is written, how it ends, and what it says; `ID` stands for a dead letter.
const COMMANDS: &[(&[&str], i32, &[&str])] = &[
    (
        &["dead-letters", "retry", "ID"],
        1,
        &["add --to NAME, for instance --to archive"],
    ),
    (
        &["dead-letters", "retry", "ID", "--to", "archvie"],
        1,
        &[NEAR, "known: archive"],
    ),
    (
        &["dead-letters", "retry"],
        2,
        &["ids such as 12.0", "--all"],
    ),
    (
        &["dead-letters", "drop"],
        2,
        &["ids such as 12.0", "drop --all"],
    ),
    (
        &["dead-letters", "list", "--upstream", "archiv"],
        1,
        &[NEAR],
    ),
    (
        &["dead-letters", "list", "--upstream", "archive"],
        0,
        &["SET ASIDE"],
    ),
    (
        &["dead-letters", "retry", "--all", "--upstream", "Archive"],
        1,
        &[NEAR],
    ),
    (
        &["dead-letters", "drop", "--all", "--upstream", "x"],
        1,
        &["no upstream `x`; known: archive, dead_letter"],
    ),
    (
        &["events", "list", "--source", "hoks"],
        1,
        &["did you mean `hooks`?", "known: floor, hooks"],
    ),
    (
        &["events", "follow", "--source", "flor"],
        1,
        &["did you mean `floor`?"],
    ),
    (&["events", "list", "--source", "floor"], 0, &["RECEIVED"]),
    (
        &["store", "lanes", "move", "x", "--to", "archve"],
        1,
        &["archive"],
    ),
    (
        &["dead-letters", "drop", "--all"],
        2,
        &["drop 2 dead letters for good", "add --yes"],
    ),
    (
        &["dead-letters", "drop", "--all", "--upstream", "dead_letter"],
        2,
        &[
            "drop 2 dead letters bound for dead_letter for good",
            "--yes",
        ],
    ),
];

#[test]
fn the_command_line_says_what_to_write() {
    let (mut gateway, address) = gateway("");
    gateway.write("rules/plant.rules", RULES);
    gateway.start();
    for topic in ["aside/1", "aside/2"] {
        let answer = post(address, &format!("/topics/{topic}"), b"", b"x");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    wait::for_count("dead letters", 2, || gateway.dead_letters().len());
    let letters = gateway.dead_letters();
    let id = letters[0]["id"].as_str().expect("an id");
    for (arguments, code, words) in COMMANDS {
        let arguments = arguments
            .iter()
            .map(|one| if *one == "ID" { id } else { *one });
        says(&gateway, &arguments.collect::<Vec<_>>(), *code, words);
    }
    assert_eq!(
        gateway.dead_letters().len(),
        2,
        "nothing is dropped unasked"
    );
    let drop_all: &[&str] = &["dead-letters", "drop", "--all"];
    answered_at_a_terminal(&gateway, "n", "nothing was done");
    assert_eq!(gateway.dead_letters().len(), 2, "the answer was no");
    answered_at_a_terminal(&gateway, "y", "2 dead letters dropped");
    assert_eq!(gateway.dead_letters().len(), 0);
    says(&gateway, drop_all, 0, &["0 dead letters dropped"]);
    says(
        &gateway,
        &[drop_all, &["--yes"]].concat(),
        0,
        &["0 dead letters dropped"],
    );
}

/// Drops all dead letters at a terminal where a person answers this.
fn answered_at_a_terminal(gateway: &Gateway, answer: &str, expected: &str) {
    let Some(script) = peer::find("script", "the question before dead letters are dropped") else {
        return;
    };
    let program = tidegate_tests::gateway::binary::tidegate();
    let line = format!(
        "{} dead-letters drop --all --config {}",
        program.display(),
        gateway.path("gateway.toml").display()
    );
    let mut process = std::process::Command::new(script)
        .args(["-qec", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("script runs");
    let mut stdin = process.stdin.take().expect("a pipe");
    stdin
        .write_all(format!("{answer}\n").as_bytes())
        .expect("it reads");
    let output = process.wait_with_output().expect("it ends");
    drop(stdin);
    let said = said(&output);
    assert!(
        said.contains("drop 2 dead letters for good? [y/N]"),
        "{said}"
    );
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_is_posted_wrongly_is_told_with_what_it_is() {
    let (mut gateway, address) = gateway("");
    gateway.write("rules/plant.rules", RULES);
    gateway.start();
    let json = b"Content-Type: application/cloudevents+json\r\n";
    let batch = b"Content-Type: application/cloudevents-batch+json\r\n";
    let cases: [(&[u8], &[u8], &str); 5] = [
        (json, b"v=1&w=2", "it begins with \"v=1&w=2\""),
        (json, b"\x00\xffhello", "it begins with \"\\x00\\xffhello\""),
        (json, b"", "it begins with nothing: it is empty"),
        (
            batch,
            &[b'x'; 60],
            "it begins with \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"…",
        ),
        (
            "ce-id: 1\r\nce-source: s\r\nce-type: t\r\nce-specversion: 1.0\r\nce-subject: Grün\r\n"
                .as_bytes(),
            b"{}",
            "ce-subject: it is no ASCII; percent-encode it",
        ),
    ];
    for (headers, body, expected) in cases {
        let answer = post(address, "/events", headers, body);
        let text = answer.replace("\\\"", "\"").replace("\\\\", "\\");
        assert!(text.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(text.contains(expected), "{expected} in {answer}");
    }
    let payloads: [(&str, &[u8], &str); 4] = [
        (
            "application/x-www-form-urlencoded",
            b"v=1",
            "the payload is not JSON: its content type is application/x-www-form-urlencoded",
        ),
        ("text/csv", b"1,2", "its content type is text/csv"),
        (
            "application/json",
            b"{\"v\":1e999}",
            "its value 1e999 is none that rules can read",
        ),
        (
            "application/json",
            b"{\"v\":null}",
            "is required and missing",
        ),
    ];
    for (number, (kind, body, expected)) in payloads.into_iter().enumerate() {
        let kind = format!("Content-Type: {kind}\r\n");
        let answer = post(
            address,
            &format!("/topics/press/{number}"),
            kind.as_bytes(),
            body,
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        wait::find(expected, || {
            // As text: a payload with 1e999 is JSON that not every reader takes for a number.
            let listed = gateway
                .ask(&["dead-letters", "list", "--format", "json"])
                .stdout;
            let listed = String::from_utf8_lossy(&listed).into_owned();
            let letters = gateway.status()["store"]["dead_letters"].clone();
            match letters == number + 1 && listed.contains(expected) {
                true => Ok(()),
                false => Err(listed),
            }
        });
    }
}

#[test]
fn an_address_that_cannot_be_had_is_told_and_waited_for() {
    let taken = TcpListener::bind(port::free()).expect("an address");
    let busy = taken.local_addr().expect("its address");
    let taken_too = TcpListener::bind(port::free()).expect("an address");
    let busy_too = taken_too.local_addr().expect("its address");
    let (mut gateway, _) = gateway(&format!(
        "[sources.low]\ntype = \"http\"\nlisten = \"127.0.0.1:83\"\n\
         [sources.away]\ntype = \"mqtt-listener\"\nlisten = \"192.0.2.7:1883\"\nanonymous = true\n\
         [sources.busy]\ntype = \"mqtt-listener\"\nlisten = \"{busy}\"\n\
         [api]\nlisten = \"{busy_too}\"\n"
    ));
    // The superuser may listen on any port; without the capability it may not.
    let setpriv = peer::find("setpriv", "a port below 1024");
    if let Some(setpriv) = &setpriv {
        let without = "--bounding-set=-net_bind_service";
        gateway.under(vec![
            setpriv.into(),
            without.into(),
            "--inh-caps=-all".into(),
        ]);
    }
    gateway.start();
    let busy_words = "another program has this port (`ss -ltnp` shows which)";
    let mut cases = vec![
        (
            "source away is waiting: ",
            "no interface of this machine has this address",
        ),
        ("source busy is waiting: ", busy_words),
        ("api: ", busy_words),
    ];
    if setpriv.is_some() {
        cases.push((
            "source low is waiting: ",
            "ports below 1024 need CAP_NET_BIND_SERVICE",
        ));
    }
    for (begin, words) in cases {
        wait::find(&format!("{begin}{words}"), || {
            let all = troubles(&gateway);
            let found = all
                .iter()
                .any(|one| one.starts_with(begin) && one.contains(words));
            found.then_some(()).ok_or_else(|| format!("{all:#?}"))
        });
    }
    drop((taken, taken_too));
    let up = |gateway: &Gateway| {
        let all = troubles(gateway);
        !all.iter()
            .any(|one| one.starts_with("source busy") || one.starts_with("api: "))
    };
    gateway.wait_until("it listens once it can", || up(&gateway));
    assert!(TcpStream::connect(busy).is_ok());
}

#[test]
fn a_store_that_takes_no_more_says_why_and_what_frees_it() {
    let hangs = port::free();
    let (mut gateway, address) = gateway(&format!(
        "[upstreams.away]\ntype = \"mqtt\"\nurl = \"mqtt://{hangs}\"\n[store]\nmax_size = \"1MiB\"\n"
    ));
    gateway.start();
    let refused = || {
        let answer = post(address, "/topics/t", b"", &vec![b'x'; 100_000]);
        answer.starts_with("HTTP/1.1 503 ")
    };
    gateway.wait_until("the store is full", refused);
    wait::find("the trouble says why", || {
        let all = troubles(&gateway);
        let words = [
            "events are refused: the store is full: ",
            " MiB of 1.0 MiB; ",
            "accepts again when upstreams confirm",
            "larger `max_size`",
        ];
        let found = all
            .iter()
            .any(|one| words.iter().all(|word| one.contains(word)));
        found.then_some(()).ok_or_else(|| format!("{all:#?}"))
    });
}

#[test]
fn a_first_start_on_a_full_disk_says_so() {
    let (mut gateway, _) = gateway("");
    let test = "a first start on a full disk";
    let Some(mut disk) = SmallDisk::mount(gateway.path("data"), Kind::Tmpfs, 1, test) else {
        return;
    };
    disk.fill();
    gateway.launch();
    gateway.wait_until("it says so", || {
        let log = gateway.whole_log();
        log.contains("the disk is full: no space to open the store in ")
            && log.contains("nothing is accepted, and this gateway waits for it")
    });
    gateway.kill();
}
