//! Text and numbers from a sketch, through real pseudo-terminals and the real program: what is a line, what of it
//! arrives byte for byte, and what is refused, counted and shown.

mod cells;
mod cut;
mod refused;
mod settings;
mod speed;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::subscriber::Subscriber;
use tidegate_tests::node::{pseudo_terminal, raw_line};
use tidegate_tests::wait;

/// The last line of a case: when it has arrived, nothing else is to come.
pub(crate) const LAST: &str = "that is all";

/// A gateway with a source of lines for each case, `s0` and so on, and a subscriber to all of them.
pub(crate) struct Ports {
    pub(crate) gateway: Gateway,
    subscriber: Subscriber,
    pub(crate) ports: Vec<Port>,
}

/// One of the lines.
pub(crate) struct Port {
    near: File,
    pub(crate) path: PathBuf,
    /// Held so that the line does not hang up while nobody has it open.
    _line: File,
    written: u64,
}

impl Port {
    pub(crate) fn new() -> Port {
        let (near, path) = pseudo_terminal().expect("a pseudo-terminal");
        let line = raw_line(&path);
        Port {
            near,
            path,
            _line: line,
            written: 0,
        }
    }

    /// A source called `name` at this port.
    pub(crate) fn source(&self, name: &str, keys: &str) -> String {
        let path = self.path.display();
        format!(
            "[sources.{name}]\ntype = \"lines\"\nport = \"{path}\"\nreopen_max = \"100ms\"\n{keys}\n\n"
        )
    }

    /// Writes all of it, as fast as the port takes it.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        let waiting = wait::Wait::begin("the port takes it");
        while !bytes.is_empty() {
            match self.near.write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.written += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    waiting.goes_on(format!("{} bytes are left", bytes.len()));
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Ports {
    /// Starts with the keys of each source, and waits until every port is open.
    pub(crate) fn start(keys: &[String]) -> Ports {
        let ports: Vec<Port> = keys.iter().map(|_| Port::new()).collect();
        let named = ports.iter().zip(keys).enumerate();
        let sources = named.map(|(place, (port, keys))| port.source(&format!("s{place}"), keys));
        let archive = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";
        let mut gateway = Gateway::new(&(sources.collect::<String>() + archive));
        gateway.start();
        let opened = || gateway.whole_log().matches("serial port opened").count();
        gateway.wait_until("the ports are open", || opened() == ports.len());
        let subscriber = Subscriber::start(gateway.address);
        Ports {
            gateway,
            subscriber,
            ports,
        }
    }

    /// Writes each piece when the one before was read.
    pub(crate) fn write(&mut self, place: usize, pieces: &[&[u8]]) {
        for piece in pieces {
            self.ports[place].write(piece);
            let written = self.ports[place].written;
            let source = format!("\"s{place}\"");
            let read = || {
                self.gateway
                    .metric("tidegate_source_read_bytes_total", &source)
            };
            self.gateway
                .wait_until("the gateway has read it", || read() >= written);
        }
    }

    /// The payloads of one source up to [`LAST`], in order.
    pub(crate) fn payloads(&self, place: usize) -> Vec<String> {
        let topic = format!("s{place}");
        wait::find("the last line arrives", || {
            let mut arrived = self.subscriber.settle(0, Duration::ZERO);
            arrived.retain(|arrival| arrival.topic == topic);
            let payloads = arrived
                .iter()
                .map(|it| String::from_utf8_lossy(&it.foreign));
            let mut payloads: Vec<String> = payloads.map(String::from).collect();
            let last = payloads.iter().position(|it| it.contains(LAST));
            let found = last.map(|last| payloads.drain(..last).collect());
            found.ok_or_else(|| format!("{payloads:?}\n{}", self.gateway.log()))
        })
    }

    /// What the status says of the lines that a source refused.
    pub(crate) fn refused(&self, place: usize) -> Value {
        self.gateway.status()["sources"][place + 1]["refused_lines"].take()
    }
}
