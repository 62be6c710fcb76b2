//! Reads a system-call trace and checks it: is what an acknowledgement promises on the disk
//! before the acknowledgement leaves?
//!
//! Everything is taken from the trace itself: which publish has which packet identifier from
//! what the gateway read from its sockets, when it was written and synced from the calls on the
//! store's files, when it was acknowledged from what the gateway wrote to its sockets. The order
//! of the lines is the order of the calls: a traced thread stands still until its line is noted.

pub mod acks;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::books::{self, Id};
use crate::{mqtt, peer};

/// The calls that matter: everything that writes or syncs files or speaks to sockets.
const CALLS: &str = "trace=fdatasync,fsync,sync_file_range,write,pwrite64,writev,pwritev,\
                     sendto,sendmsg,recvfrom,read";
/// What precedes the 16 digits that are an event's own, see `books::payload`.
const MARK: &[u8] = br#""check":""#;
/// Digits that nothing repeats: with them a record shrinks by less than an eighth.
const NOISE_DIGITS: usize = 4096;

/// A payload whose event is found again in what is written: most of it cannot be compressed, and
/// a block that gains too little is stored as it is.
pub fn payload(id: Id) -> Vec<u8> {
    let mut payload = books::payload(id);
    payload.pop();
    payload.extend_from_slice(br#","noise":""#);
    let mut mixed = id.1.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(id.0);
    for _ in 0..NOISE_DIGITS / 16 {
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        payload.extend_from_slice(format!("{mixed:016x}").as_bytes());
    }
    payload.extend_from_slice(br#""}"#);
    payload
}

/// The tracer's command line with its output in `file`; `None` after saying why `test` is
/// skipped: strace is missing, or may not trace.
///
/// # Panics
/// When `TIDEGATE_REQUIRE_PEERS=1` is set and it cannot trace.
pub fn tracer(file: &Path, test: &str) -> Option<Vec<OsString>> {
    let program = peer::find("strace", test)?;
    let tried = Command::new(&program)
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        peer::skip(test, "strace may not trace here (ptrace is refused)");
        return None;
    }
    let mut command = vec![program.into_os_string()];
    let options = ["-D", "-f", "-yy", "-xx", "-s", "1000000", "-e", CALLS, "-o"];
    command.extend(options.map(OsString::from));
    command.push(file.into());
    Some(command)
}

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// The file or socket its descriptor stands for.
    pub file: String,
    /// Bytes read or written.
    pub data: Vec<u8>,
    /// Whether it succeeded.
    pub done: bool,
    /// The line at which it began.
    pub began: usize,
    /// The line at which it ended.
    pub ended: usize,
}

/// All calls that ended, in the order of their ends.
pub fn parse(text: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(front) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (at, front.trim_end()));
        } else if let Some((_, back)) = rest.split_once(" resumed>") {
            if let Some((began, front)) = begun.remove(thread) {
                calls.extend(call(&format!("{front}{back}"), began, at));
            }
        } else {
            calls.extend(call(rest, at, at));
        }
    }
    calls
}

fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (_, result) = rest.rsplit_once(") ")?;
    let result = result.trim_start().strip_prefix("= ")?;
    let (_, rest) = rest.split_once('<')?;
    let (file, rest) = match rest.split_once(">,") {
        Some(both) => both,
        None => rest.split_once(">)")?,
    };
    let data = rest.split('"').skip(1).step_by(2);
    Some(Call {
        name: name.to_owned(),
        file: match file.starts_with("\\x") {
            true => String::from_utf8_lossy(&bytes(file)).into_owned(),
            false => file.to_owned(),
        },
        data: data.flat_map(bytes).collect(),
        done: !result.starts_with(['-', '?']),
        began,
        ended,
    })
}

fn bytes(text: &str) -> Vec<u8> {
    text.split("\\x")
        .filter_map(|digits| u8::from_str_radix(digits, 16).ok())
        .collect()
}

/// What a trace shows.
#[derive(Debug, Default)]
pub struct Report {
    /// Acknowledgements looked at.
    pub acks: usize,
    /// Successful syncs of the store.
    pub syncs: usize,
    /// Every acknowledgement that came too early, in words.
    pub breaches: Vec<String>,
}

/// Checks that between the last write of each group and its first acknowledgement lies a
/// successful sync of the same file.
pub fn check(calls: &[Call]) -> Report {
    let store = Disk::new(calls);
    let mut report = Report {
        syncs: store.syncs.len(),
        ..Report::default()
    };
    for (at, event) in acknowledged(calls) {
        report.acks += 1;
        if let Err(why) = store.holds(&event, at) {
            report.breaches.push(format!("event {event}: {why}"));
        }
    }
    report
}

/// Writes and syncs of the store's files.
struct Disk<'a> {
    /// Writes that were under way together belong to one group.
    groups: Vec<Vec<&'a Call>>,
    syncs: Vec<&'a Call>,
    /// The group that first wrote an event.
    first: HashMap<String, usize>,
}

impl<'a> Disk<'a> {
    fn new(calls: &'a [Call]) -> Disk<'a> {
        let mut of_store: Vec<&Call> = calls
            .iter()
            .filter(|call| call.file.contains("/generations/"))
            .collect();
        of_store.sort_by_key(|call| call.began);
        let mut disk = Disk {
            groups: Vec::new(),
            syncs: Vec::new(),
            first: HashMap::new(),
        };
        let mut busy_until = 0;
        for call in of_store {
            if disk.groups.is_empty() || call.began > busy_until {
                disk.groups.push(Vec::new());
            }
            busy_until = busy_until.max(call.ended);
            let group = disk.groups.len() - 1;
            if call.name.contains("write") {
                for event in events(&call.data) {
                    disk.first.entry(event).or_insert(group);
                }
                disk.groups[group].push(call);
            } else if call.name.contains("sync") && call.done {
                disk.syncs.push(call);
            }
        }
        disk
    }

    /// Whether the group of `event` is on the disk before line `at`.
    fn holds(&self, event: &str, at: usize) -> Result<(), String> {
        let group = self.first.get(event).ok_or("it was never written")?;
        for write in &self.groups[*group] {
            let synced = self
                .syncs
                .iter()
                .any(|sync| sync.file == write.file && sync.began > write.ended && sync.ended < at);
            if !synced {
                return Err(format!(
                    "written from line {} to {}, acknowledged at line {}, no successful sync between",
                    write.began + 1,
                    write.ended + 1,
                    at + 1
                ));
            }
        }
        Ok(())
    }
}

/// The events in a piece of data.
fn events(data: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(MARK.len()).position(|bytes| bytes == MARK) {
        rest = &rest[at + MARK.len()..];
        let digits = &rest[..rest.len().min(16)];
        found.push(String::from_utf8_lossy(digits).into_owned());
    }
    found
}

/// One connection of a publisher: what was read and written of it.
#[derive(Default)]
struct Connection {
    read: Vec<u8>,
    written: Vec<u8>,
    publishes: HashMap<u16, String>,
}

/// Every PUBACK: the line at which it left, and the event it belongs to.
fn acknowledged(calls: &[Call]) -> Vec<(usize, String)> {
    let mut sockets: Vec<(usize, bool, &Call)> = calls
        .iter()
        .filter(|call| call.file.starts_with("TCP"))
        .map(|call| match call.name.as_str() {
            "recvfrom" | "read" => (call.ended, true, call),
            _ => (call.began, false, call),
        })
        .collect();
    sockets.sort_by_key(|(line, _, _)| *line);
    let mut connections: HashMap<&str, Connection> = HashMap::new();
    let mut found = Vec::new();
    for (line, inward, call) in sockets {
        let connection = connections.entry(&call.file).or_default();
        if inward {
            connection.hear(&call.data);
        } else {
            let said = connection.say(&call.data);
            found.extend(said.into_iter().map(|event| (line, event)));
        }
    }
    found
}

impl Connection {
    fn hear(&mut self, data: &[u8]) {
        self.read.extend(data);
        while let Some((first, body)) = mqtt::take(&mut self.read) {
            if first >> 4 != 3 || body.len() < 4 {
                continue;
            }
            let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            let id = u16::from_be_bytes([body[at], body[at + 1]]);
            if let Some(event) = events(&body).pop() {
                self.publishes.insert(id, event);
            }
        }
    }

    fn say(&mut self, data: &[u8]) -> Vec<String> {
        self.written.extend(data);
        let mut said = Vec::new();
        while let Some((first, body)) = mqtt::take(&mut self.written) {
            if first >> 4 == 4 && body.len() >= 2 {
                let id = u16::from_be_bytes([body[0], body[1]]);
                said.extend(self.publishes.remove(&id));
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "11</data/store/generations/1/db>";
    const SOCKET: &str = "14<TCP:[127.0.0.1:1883->127.0.0.1:5000]>";

    fn quoted(data: &[u8]) -> String {
        let digits: Vec<String> = data.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{}\"", digits.concat())
    }

    /// A trace of one event: its arrival, the lines between, and its PUBACK.
    fn breaches(between: &str) -> Vec<String> {
        let payload = crate::books::payload((1, 1));
        let publish = quoted(&mqtt::publish("a", 7, &payload));
        let ack = quoted(&mqtt::puback(7));
        let write = format!("pwrite64({FILE}, {}, 9, 0", quoted(&payload));
        let between = between.replace("WRITE", &write).replace("FILE", FILE);
        let text = format!(
            "5 recvfrom({SOCKET}, {publish}, 99, 0, NULL, NULL) = 80\n{between}\n\
             5 sendto({SOCKET}, {ack}, 4, MSG_NOSIGNAL, NULL, 0) = 4\n"
        );
        let report = check(&parse(&text));
        assert_eq!(report.acks, 1, "{text}");
        report.breaches
    }

    #[test]
    fn a_sync_between_write_and_ack_is_found_whole_or_interrupted() {
        for between in [
            "6 WRITE) = 9\n6 fdatasync(FILE) = 0",
            "6 WRITE <unfinished ...>\n6 <... pwrite64 resumed>) = 9\n\
             6 fdatasync(FILE <unfinished ...>\n6 <... fdatasync resumed>) = 0",
        ] {
            assert_eq!(breaches(between), [""; 0], "{between}");
        }
    }

    #[test]
    fn a_sync_that_is_missing_early_late_failed_or_of_another_file_is_none() {
        for between in [
            "",
            "6 WRITE) = 9",
            "6 fdatasync(FILE) = 0\n6 WRITE) = 9",
            "6 WRITE) = 9\n6 fdatasync(FILE) = -1 EIO (Input/output error)",
            "6 WRITE) = 9\n6 fdatasync(12</data/store/generations/2/db>) = 0",
            "6 WRITE) = 9\n6 fdatasync(FILE <unfinished ...>",
            "6 WRITE <unfinished ...>\n7 fdatasync(FILE) = 0\n6 <... pwrite64 resumed>) = 9",
            "6 WRITE <unfinished ...>\n7 pwrite64(FILE, \"\\x00\", 1, 9) = 1\n\
             6 <... pwrite64 resumed>) = 9\n6 fdatasync(FILE) = -1 EIO (Input/output error)",
        ] {
            assert_eq!(breaches(between).len(), 1, "{between}");
        }
    }
}
