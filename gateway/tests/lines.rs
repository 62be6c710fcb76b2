//! Lines over a serial port, against the real program: a pseudo-terminal is the port, and the
//! archive shows what became an event.
#![cfg(feature = "serial")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serialport::{SerialPort, TTYPort};
use tempfile::TempDir;

/// A gateway that reads lines from the port `tty` in its folder.
struct Gateway {
    folder: TempDir,
    api: SocketAddr,
    process: Child,
}

impl Gateway {
    fn start(keys: &str) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("data")).expect("a data folder");
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let api = socket.local_addr().expect("its address");
        drop(socket);
        let text = format!(
            "[gateway]\nid = \"plant-a\"\ndata_dir = \"data\"\n\n[api]\nlisten = \"{api}\"\n\n\
             [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n\n\
             [sources.weather]\ntype = \"lines\"\nport = \"tty\"\nreopen_max = \"100ms\"\n{keys}\n"
        );
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, text).expect("a configuration");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("tidegate starts");
        Gateway {
            folder,
            api,
            process,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Plugs a port in and waits until the gateway has opened it.
    fn plug(&self) -> TTYPort {
        let opened = || self.log().matches("port opened").count();
        let before = opened();
        let (near, far) = TTYPort::pair().expect("a pseudo-terminal");
        let name = far.name().expect("a name");
        let _ = std::fs::remove_file(self.path("tty"));
        std::os::unix::fs::symlink(name, self.path("tty")).expect("a name for the port");
        self.wait_for("the port is opened", || opened() > before);
        near
    }

    fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(Instant::now() < deadline, "in vain: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The payloads archived under `weather`, once there are `count`.
    fn data(&self, count: usize) -> Vec<serde_json::Value> {
        let read = || -> Vec<serde_json::Value> {
            let text = std::fs::read_to_string(self.path("archive.jsonl")).unwrap_or_default();
            text.lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter(|event| event["source"] == "plant-a/weather")
                .map(|event| event["data"].clone())
                .collect()
        };
        self.wait_for("the events", || read().len() >= count);
        read()
    }

    /// How many lines were refused.
    fn refused(&self) -> u64 {
        let mut stream = TcpStream::connect(self.api).expect("the API listens");
        let host = self.api;
        let question =
            format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("metrics");
        text.lines()
            .filter(|line| line.starts_with("tidegate_source_malformed_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes `text`, then checks what was archived and how many lines were refused.
fn check(keys: &str, text: &[u8], expected: &serde_json::Value, refused: u64) {
    let gateway = Gateway::start(keys);
    let mut port = gateway.plug();
    port.write_all(text).expect("the port takes it");
    let expected = expected.as_array().expect("a list");
    assert_eq!(&gateway.data(expected.len()), expected);
    gateway.wait_for("the refusals", || gateway.refused() == refused);
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
    let gateway = Gateway::start("format = \"text\"");
    let mut port = gateway.plug();
    port.write_all(b"one\nhal").expect("the port takes it");
    assert_eq!(gateway.data(1), ["one"]);
    drop(port);
    gateway.wait_for("the loss is told", || gateway.log().contains("lost"));
    let mut port = gateway.plug();
    port.write_all(b"two\n").expect("the port takes it");
    assert_eq!(gateway.data(2), ["one", "two"]);
}
