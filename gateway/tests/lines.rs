//! Lines over a serial port, against the real program: a pseudo-terminal is the port, and the
//! archive shows what became an event.
#![cfg(feature = "serial")]

use std::io::Write;

use serialport::{SerialPort, TTYPort};
use tidegate_tests::gateway::Gateway;

/// A gateway that reads lines from the port `tty` in its folder.
struct Lines(Gateway);

impl Lines {
    fn start(keys: &str) -> Lines {
        let mut gateway = Gateway::new(&format!(
            "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n\n\
             [sources.weather]\ntype = \"lines\"\nport = \"tty\"\nreopen_max = \"100ms\"\n{keys}\n"
        ));
        gateway.start();
        Lines(gateway)
    }

    /// Plugs a port in and waits until the gateway has opened it.
    fn plug(&self) -> TTYPort {
        let opened = || self.0.whole_log().matches("port opened").count();
        let before = opened();
        let (mut near, far) = TTYPort::pair().expect("a pseudo-terminal");
        let name = far.name().expect("a name");
        let _ = std::fs::remove_file(self.0.path("tty"));
        std::os::unix::fs::symlink(name, self.0.path("tty")).expect("a name for the port");
        self.0
            .wait_until("the port is opened", || opened() > before);
        // What comes before the first end of a line is none.
        near.write_all(b"half of a line\r\n")
            .expect("the port takes it");
        near
    }

    /// The payloads archived under `weather`, once there are `count`.
    fn data(&self, count: usize) -> Vec<serde_json::Value> {
        let read = || -> Vec<serde_json::Value> {
            let text = std::fs::read_to_string(self.0.path("archive.jsonl")).unwrap_or_default();
            text.lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter(|event| event["source"] == "plant-a/weather")
                .map(|event| event["data"].clone())
                .collect()
        };
        self.0.wait_until("the events", || read().len() >= count);
        read()
    }

    /// How many lines were refused.
    fn refused(&self) -> u64 {
        self.0.metric("tidegate_source_malformed_total", "")
    }
}

/// Writes `text`, then checks what was archived and how many lines were refused.
fn check(keys: &str, text: &[u8], expected: &serde_json::Value, refused: u64) {
    let lines = Lines::start(keys);
    let mut port = lines.plug();
    port.write_all(text).expect("the port takes it");
    let expected = expected.as_array().expect("a list");
    assert_eq!(&lines.data(expected.len()), expected);
    lines
        .0
        .wait_until("the refusals", || lines.refused() == refused);
}

#[test]
fn each_line_of_json_is_an_event_and_what_is_none_is_refused_alone() {
    check(
        "format = \"json\"",
        b"{\"t\":1}\r\n\n{\"t\":\n{\"t\":2}\n\xff\xfe\n{\"t\":3}\n",
        &serde_json::json!([{"t": 1}, {"t": 2}, {"t": 3}]),
        2,
    );
}

#[test]
fn the_cells_of_a_csv_line_have_the_names_of_its_columns() {
    check(
        "format = \"csv\"\ncolumns = [\"temperature\", \"state\"]\ndelimiter = \";\"",
        b"21.5;ok\n22\n-3; \n1;2;3\n",
        &serde_json::json!([
            {"temperature": 21.5, "state": "ok"},
            {"temperature": -3, "state": null}
        ]),
        2,
    );
}

#[test]
fn a_line_over_the_limit_is_refused_as_one_and_the_next_is_read() {
    let long = [b'x'; 5000];
    check(
        "format = \"text\"\nmax_line = \"64B\"",
        &[b"before\n", &long[..], b"\n", &long[..64], b"\nafter\n"].concat(),
        &serde_json::json!(["before", "x".repeat(64), "after"]),
        1,
    );
}

#[test]
fn a_port_that_vanishes_is_opened_again_and_half_a_line_is_no_event() {
    let lines = Lines::start("format = \"text\"");
    let mut port = lines.plug();
    port.write_all(b"one\nhal").expect("the port takes it");
    assert_eq!(lines.data(1), ["one"]);
    drop(port);
    lines
        .0
        .wait_until("the loss is told", || lines.0.whole_log().contains("lost"));
    let mut port = lines.plug();
    port.write_all(b"two\n").expect("the port takes it");
    assert_eq!(lines.data(2), ["one", "two"]);
}
