//! What a line is: where it begins and ends, and what happens where it does not.

use serde_json::json;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::wait;

use super::{LAST, Ports};

#[test]
fn lines_end_with_cr_lf_or_both_and_what_comes_before_the_first_end_is_none() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["half\none\ntwo\n"], &["one", "two"]),
        (&["half\rone\rtwo\r"], &["one", "two"]),
        (&["half\r\none\r\ntwo\r\n"], &["one", "two"]),
        // A CRLF torn over two reads, at the first end and later.
        (&["half\r", "\none\r", "\ntwo\r", "\n"], &["one", "two"]),
        (&["\none\r\n"], &["one"]),
        (&["\r", "\n", "one\n"], &["one"]),
        // Mixed, as where two programs write.
        (
            &["half\none\rtwo\r\nthree\n\rfour\r\r\n"],
            &["one", "two", "three", "four"],
        ),
        (
            &["ha", "lf", "\n", "o", "n", "e", "\r", "t", "wo\n"],
            &["one", "two"],
        ),
        (&["half of {\"t\":1}\r\n{\"t\":2}\r\n"], &["{\"t\":2}"]),
        (&["1.5\n21.5\n22.5\n"], &["21.5", "22.5"]),
        (&["\n  blanks stay  \n\t\n"], &["  blanks stay  ", "\t"]),
    ];
    let keys = vec!["format = \"text\"".to_owned(); cases.len()];
    let mut ports = Ports::start(&keys);
    for (place, (pieces, _)) in cases.iter().enumerate() {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        ports.write(place, &pieces);
        ports.write(place, &[format!("{LAST}\n").as_bytes()]);
    }
    for (place, (pieces, expected)) in cases.iter().enumerate() {
        assert_eq!(ports.payloads(place), *expected, "{pieces:?}");
        // The rest of a line from before is no refused one either.
        assert_eq!(ports.refused(place), json!(null), "{pieces:?}");
    }
}

#[test]
fn a_line_that_never_ends_is_told_and_takes_no_memory() {
    let text = "format = \"text\"".to_owned();
    let limit = |size: &str| format!("{text}\nmax_line = \"{size}\"");
    // From the start on, after good lines, and below the limit for ever.
    let keys = [limit("64B"), text.clone(), limit("1MiB")];
    let mut ports = Ports::start(&keys);
    ports.write(1, &[b"\ngood\nbetter\n"]);
    let before = ports.gateway.resident_bytes();
    let much = vec![b'x'; 64 * 1024];
    for _ in 0..4 {
        ports.write(0, &[&much]);
        ports.write(1, &[&much]);
    }
    wait::until("each of them is told", || {
        ports.write(0, &[b"x"]);
        ports.write(1, &[b"x"]);
        ports.write(2, &[b"21.5 22.5 "]);
        let told = troubles(&ports.gateway);
        let of = |name: &str| {
            let begin = format!("source {name}: bytes come");
            let mut lines = told.iter();
            lines.any(|line| {
                line.starts_with(&begin) && line.contains("No end of a line (CR or LF)")
            })
        };
        of("s0") && of("s1") && of("s2")
    });
    let grown = ports.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
    for (place, most) in [(0, 64), (1, 4096)] {
        let refused = ports.refused(place);
        assert_eq!(refused["count"], 1, "{refused}");
        let why = format!("it has no end (CR or LF) within max_line = {most} bytes");
        assert_eq!(refused["last"][0]["why"], why);
        assert_eq!(refused["last"][0]["bytes"], most);
        assert_eq!(refused["last"][0]["begin"], format!("{}…", "x".repeat(40)));
    }
    for place in 0..3 {
        ports.write(place, &[format!("\r{LAST}\r").as_bytes()]);
    }
    assert_eq!(ports.payloads(0), [""; 0]);
    assert_eq!(ports.payloads(1), ["good", "better"]);
    ports.payloads(2);
    let over = || {
        !troubles(&ports.gateway)
            .iter()
            .any(|line| line.contains("bytes come"))
    };
    wait::until("the trouble is over", over);
}

#[test]
fn each_opening_of_a_port_begins_anew() {
    let mut gateway = tidegate_tests::gateway::Gateway::new(
        "[sources.s0]\ntype = \"lines\"\nport = \"line\"\nreopen_max = \"100ms\"\nformat = \"text\"\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n",
    );
    gateway.start();
    for (round, text) in ["alf\none\ntw", "hree\nfour\nfiv", "ix\r\nseven\r\nei"]
        .iter()
        .enumerate()
    {
        let mut port = super::Port::new();
        let _ = std::fs::remove_file(gateway.path("line"));
        std::os::unix::fs::symlink(&port.path, gateway.path("line")).expect("a name");
        let log = || gateway.whole_log();
        gateway.wait_until("it is open", || {
            log().matches("serial port opened").count() == round + 1
        });
        port.write(text.as_bytes());
        gateway.wait_until("it is stored", || {
            gateway.metric("tidegate_source_events_accepted_total", "s0") == round as u64 + 1
        });
        drop(port);
        gateway.wait_until("it is lost", || {
            log().matches("serial port lost").count() == round + 1
        });
    }
    let events = gateway.events(&["--source", "s0"]);
    let data: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"]["data"].as_str())
        .collect();
    assert_eq!(data, ["one", "four", "seven"], "{events:#?}");
}
