//! What the command line shows fits a terminal of 80 columns, whatever names, errors and topics are; and its figures agree.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::{port, wait};

use crate::commands::post;

/// Lines of a table wider than this are broken by the terminal.
const WIDTH: usize = 80;

#[test]
fn every_table_fits_80_columns_with_errors_on_lines_of_their_own() {
    let (hooks, long) = (port::free(), "x".repeat(63));
    let sources = format!(
        "[sources.h{long}]\ntype = \"http\"\nlisten = \"{hooks}\"\n\
         [sources.q{long}]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\ntopics = [\"a\"]\n\
         [sources.line]\ntype = \"serial\"\nport = \"/dev/none/{long}\"\n"
    );
    let upstreams = format!(
        "[upstreams.u{long}]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\n\
         [upstreams.w]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/{long}\"\n\
         [upstreams.f]\ntype = \"file\"\npath = \"f.jsonl\"\n"
    );
    let mut gateway = Gateway::new(&format!("{sources}{upstreams}"));
    gateway.write(
        "rules/all.rules",
        &format!(
            "rule {long} {{ on \"a/#\" when v > 1 send to f send to w send to u{long} }}\n\
             rule aside {{ on \"b/#\" send to dead_letter reason \"{}\" }}\n",
            "words and words ".repeat(20)
        ),
    );
    gateway.start();
    for topic in [
        "a/1",
        &format!("a/{long}/{long}"),
        "b/1",
        &format!("b/{}", "word ".repeat(30).replace(' ', "%20")),
    ] {
        let answer = post(
            hooks,
            &format!("/topics/{topic}"),
            b"Content-Type: application/json\r\n",
            b"{\"v\": 12345678901234567890, \"w\": \"a long text, and more, and more, and more\"}",
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    wait::for_count("dead letters", 2, || gateway.dead_letters().len());
    gateway.wait_until("the upstreams fail", || {
        let status = gateway.status();
        let all = status["upstreams"].as_array().cloned().unwrap_or_default();
        all.iter()
            .filter(|one| one["last_error"].is_string())
            .count()
            >= 2
    });
    let commands: [&[&str]; 6] = [
        &["status"],
        &["status", "--rules"],
        &["events", "list"],
        &["dead-letters", "list"],
        &["store", "status"],
        &["store", "lanes", "list"],
    ];
    for command in commands {
        let output = gateway.ask(command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command:?} {said}");
        // A trouble is a sentence, which a terminal breaks; a topic of one word cannot be broken.
        let is_row = |line: &&str| !line.starts_with("  ! ") && line.split_whitespace().count() > 2;
        for line in said.lines().filter(is_row) {
            let width = line.chars().count();
            assert!(width <= WIDTH, "{command:?}, {width}: {line}\n{said}");
        }
        eprintln!("{said}");
    }
    let said = gateway.ask(&["status"]).stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("\n  last error: "), "{said}");
}

/// The figures of one answer, added up.
fn agree(status: &serde_json::Value) -> Result<(), String> {
    let books = &status["books"];
    let of = |of: &serde_json::Value, name: &str| of[name].as_u64().expect("a count");
    let all = status["upstreams"].as_array().expect("a list");
    let sum = |name: &str| all.iter().map(|one| of(one, name)).sum::<u64>();
    let came = of(books, "waiting_at_start") + of(books, "routed");
    let names = [
        "delivered",
        "dead_lettered",
        "letters_dropped",
        "shed",
        "expired",
        "waiting",
    ];
    let went: u64 = names.iter().map(|name| of(books, name)).sum();
    let differs = all
        .iter()
        .any(|one| of(one, "in_flight") > of(one, "waiting"));
    // No rule sends to the dead letters here, so that the upstreams are all there is.
    let same = ["routed", "delivered", "waiting"]
        .iter()
        .all(|name| sum(name) == of(books, name));
    match books["difference"] == 0 && came == went && same && !differs {
        true => Ok(()),
        false => Err(format!("{books:#}\n{all:#?}")),
    }
}

#[test]
fn the_figures_of_a_status_agree_while_everything_moves() {
    let hooks = port::free();
    let mut gateway = Gateway::new(&format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n\
         [upstreams.one]\ntype = \"file\"\npath = \"one.jsonl\"\n\
         [upstreams.two]\ntype = \"file\"\npath = \"two.jsonl\"\n\
         [upstreams.away]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\n"
    ));
    gateway.start();
    let done = AtomicBool::new(false);
    let wrong = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(post(hooks, "/topics/t", b"", b"{}"));
                }
            });
        }
        let answers = (0..300).map(|_| gateway.control("/status"));
        let wrong: Vec<String> = answers
            .filter_map(|answer| {
                let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
                let body = &body[body.find('{').expect("JSON")..=body.rfind('}').expect("JSON")];
                agree(&serde_json::from_str(body).expect("JSON")).err()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        wrong
    });
    assert!(wrong.is_empty(), "{} of 300: {}", wrong.len(), wrong[0]);
    // After a start the backlog of before is said, so that the sum is one.
    let waiting = gateway.status()["books"]["waiting"].clone();
    gateway.kill();
    gateway.start();
    gateway.wait_until("it is open", || TcpStream::connect(hooks).is_ok());
    let status = gateway.status();
    assert!(
        status["books"]["waiting_at_start"].as_u64() >= waiting.as_u64(),
        "{status}"
    );
    let said = gateway.ask(&["status"]).stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        said.contains("waiting at the start + 0 routed = "),
        "{said}"
    );
}
