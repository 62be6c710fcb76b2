//! What a gateway stored and what it delivered, read while it is killed again and again.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::books::{self, Id};
use crate::gateway::Gateway;
use crate::node::DEVICE;

/// The publisher's number under which the readings of the node are kept.
pub const NODE: u32 = 1_000;
/// The boot of the node.
pub const BOOT: u32 = 9;
/// The file that its upstream writes, in the gateway's folder.
pub const ARCHIVE: &str = "out.jsonl";
/// Events asked for first; the next question is for the most there can be.
const LIST_LIMITS: [usize; 2] = [3_000, 10_000];
/// An archive longer than this is taken away after a kill.
const ARCHIVE_BYTES_MAX: u64 = 1 << 20;

/// Two lists of ids: `None` is an event that nobody sent, or that was altered.
pub struct Audit {
    /// What the log holds, in its order, each record once.
    pub stored: Vec<Option<Id>>,
    /// What the upstream got, in order of arrival.
    pub delivered: Vec<Option<Id>>,
    /// The log's last sequence that was read.
    seen: u64,
    arrived: HashSet<Id>,
    archive_bytes: u64,
    at: Instant,
}

impl Default for Audit {
    fn default() -> Audit {
        Audit {
            stored: Vec::new(),
            delivered: Vec::new(),
            seen: 0,
            arrived: HashSet::new(),
            archive_bytes: 0,
            at: Instant::now(),
        }
    }
}

impl Audit {
    /// Since the log was read last.
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }

    /// Reads what is new in the log of a gateway that runs.
    ///
    /// # Panics
    /// When it does not answer, or deleted what was not read yet.
    pub fn read_log(&mut self, gateway: &Gateway) {
        for limit in LIST_LIMITS {
            let list = gateway.events(&["--limit", &limit.to_string()]);
            let sequence = |view: &Value| view["sequence"].as_u64().expect("a sequence");
            let oldest = list.first().map_or(0, sequence);
            if oldest > self.seen + 1 && limit < LIST_LIMITS[1] {
                continue;
            }
            assert!(
                oldest <= self.seen + 1,
                "the log was read up to {} and begins at {oldest} now",
                self.seen
            );
            for view in &list {
                if sequence(view) <= self.seen {
                    continue;
                }
                assert_eq!(sequence(view), self.seen + 1, "a gap in the log");
                self.seen += 1;
                if !is_of_the_gateway(&view["event"]) {
                    self.stored.push(id(&view["event"]));
                }
            }
            break;
        }
        self.at = Instant::now();
    }

    /// Reads what is new in the archive, up to the last whole line.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read_archive(&mut self, gateway: &Gateway) {
        let Ok(mut file) = File::open(gateway.path(ARCHIVE)) else {
            return;
        };
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.archive_bytes))
            .and_then(|_| file.read_to_end(&mut text))
            .expect("the archive can be read");
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        text.truncate(whole.map_or(0, |at| at + 1));
        self.archive_bytes += text.len() as u64;
        for line in text.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
            let event: Value = serde_json::from_slice(line).unwrap_or_default();
            let id = id(&event);
            self.arrived.extend(id);
            self.delivered.push(id);
        }
    }

    /// Reads the archive of a gateway that does not run, and takes it away if it is long: what
    /// was torn at its end was never confirmed.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn take_archive(&mut self, gateway: &Gateway) {
        self.read_archive(gateway);
        if self.archive_bytes > ARCHIVE_BYTES_MAX {
            std::fs::remove_file(gateway.path(ARCHIVE)).expect("the archive can go");
            self.archive_bytes = 0;
        }
    }

    /// Waits until everything in `acknowledged` is delivered, for as long as `most`.
    ///
    /// # Panics
    /// When the archive cannot be read.
    pub fn await_delivered(
        &mut self,
        gateway: &Gateway,
        acknowledged: &BTreeSet<Id>,
        most: Duration,
    ) {
        let deadline = Instant::now() + most;
        loop {
            self.read_archive(gateway);
            let is_done = acknowledged.iter().all(|id| self.arrived.contains(id));
            if is_done || Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn is_of_the_gateway(event: &Value) -> bool {
    event["source"] == "plant-a/gateway"
}

/// The id of an event that is exactly what was sent under it.
fn id(event: &Value) -> Option<Id> {
    match event["source"] == "plant-a/bench" {
        true => reading(event),
        false => books::read(event.to_string().as_bytes()),
    }
}

/// The number of a reading that is the one the simulated sensor makes under it.
fn reading(event: &Value) -> Option<Id> {
    let count = event["data"]["count"].as_u64()?;
    let phase = count % 200;
    let celsius = (180 + phase.min(200 - phase)) as f64 / 10.0;
    let is_own = event["id"] == format!("{DEVICE}-{BOOT}-{count}")
        && event["type"] == "reading"
        && event["data"]["temperature"].as_f64() == Some(celsius);
    is_own.then_some((NODE, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_known_by_its_number_and_by_all_it_says() {
        let text = r#"{"source":"plant-a/bench","type":"reading","id":"node-001-9-150",
            "data":{"count":150,"temperature":23.0}}"#;
        let event: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(id(&event), Some((NODE, 150)));
        for (is, other) in [("23.0", "23.1"), ("9-150", "9-151"), ("t\":150", "t\":151")] {
            let event = serde_json::from_str(&text.replace(is, other)).expect("JSON");
            assert_eq!(id(&event), None, "{other}");
        }
    }
}
