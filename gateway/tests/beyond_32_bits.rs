//! Numbers that no 32 bits hold, against the real program: sizes over 4 GiB, times after 2038, counts of four thousand
//! millions. `TIDEGATE_BIN` names a program of a 32-bit machine.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::port;
use tidegate_tests::wait::{self, PATIENCE};

/// 5 GiB, of which nothing is on the disk.
const ARCHIVE_BYTES: u64 = 5 << 30;

/// A gateway with an HTTP source and an archive that may grow to 16 GiB.
fn gateway(more: &str) -> (Gateway, SocketAddr) {
    let address = port::free();
    let gateway = Gateway::new(&format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{address}\"\n\n[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\nrotate_size = \"16GiB\"\n\n{more}"
    ));
    (gateway, address)
}

fn post(address: SocketAddr, headers: &str, body: &str) {
    let mut stream = wait::find("the HTTP source listens", || TcpStream::connect(address));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let length = body.len();
    let request = format!(
        "POST /topics/t HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// What stands in the archive from this place on, once it is `count` events.
fn archived(gateway: &Gateway, from: u64, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    gateway.wait_until(&format!("{count} events are in the archive"), || {
        let Ok(mut file) = File::open(gateway.path("archive.jsonl")) else {
            return false;
        };
        let mut text = String::new();
        file.seek(SeekFrom::Start(from)).expect("a place");
        file.read_to_string(&mut text).expect("JSON lines");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parsed = whole.lines().map(serde_json::from_str);
        events = parsed.collect::<Result<_, _>>().expect("JSON lines");
        events.len() >= count
    });
    events
}

#[test]
fn a_file_of_over_4_gib_is_gone_on_with_at_its_end_and_a_torn_line_there_is_cut() {
    let (mut gateway, address) = gateway("");
    let mut file = File::create(gateway.path("archive.jsonl")).expect("a file");
    file.seek(SeekFrom::Start(ARCHIVE_BYTES - 1))
        .expect("a place");
    file.write_all(b"\n{\"specversion\":\"1.0\",\"id\":\"to")
        .expect("the end");
    drop(file);
    gateway.start();
    for n in 0..20 {
        post(address, "", &n.to_string());
    }
    let data = |events: &[Value]| -> Vec<u64> {
        events
            .iter()
            .filter_map(|event| event["data"].as_u64())
            .collect()
    };
    let events = archived(&gateway, ARCHIVE_BYTES, 20);
    assert_eq!(data(&events), (0..20).collect::<Vec<_>>());
    gateway.kill();
    gateway.start();
    post(address, "", "20");
    // What was on its way at the kill may come twice.
    gateway.wait_until("the last event is in the archive", || {
        data(&archived(&gateway, ARCHIVE_BYTES, 21)).last() == Some(&20)
    });
    let found = std::fs::metadata(gateway.path("archive.jsonl")).expect("it is there");
    assert!(found.len() > ARCHIVE_BYTES && found.blocks() * 512 < 1 << 20);
    assert!(
        !gateway.path("archive.jsonl.1").exists(),
        "nothing was rotated"
    );
}

#[test]
fn sizes_of_over_4_gib_are_told_as_they_are() {
    let (mut gateway, address) =
        gateway("[store]\nmax_size = \"6GiB\"\nendurance = \"64TiB\"\nfree_min = \"64MiB\"\n");
    gateway.start();
    post(address, "", "1");
    let status = gateway.status();
    assert_eq!(status["store"]["max_size_bytes"], 6_u64 << 30);
    let disk = free_bytes(&gateway);
    let told = status["store"]["free_bytes"].as_u64().expect("a number");
    assert!(told.abs_diff(disk) < 2 << 30, "{told} of {disk} free bytes");
    assert_eq!(gateway.metric("tidegate_store_max_bytes", ""), 6 << 30);
}

/// Free bytes of the disk, as `df` says.
fn free_bytes(gateway: &Gateway) -> u64 {
    let output = std::process::Command::new("df")
        .args(["--output=avail", "--block-size=1"])
        .arg(gateway.path("data"))
        .output()
        .expect("df runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().expect("a line");
    last.trim().parse().expect("a number")
}

#[test]
fn times_after_2038_and_after_2106_go_through_as_they_came() {
    let (mut gateway, address) = gateway("");
    gateway.write(
        "rules/times.rules",
        "rule keep {\n  on \"#\"\n  when number > 4294967296\n  send to archive\n}\n",
    );
    gateway.start();
    let times = [
        "2038-01-19T03:14:08Z",
        "2106-02-07T06:28:16Z",
        "2554-07-21T23:34:33.5Z",
        "9999-12-31T23:59:59Z",
    ];
    for (n, time) in times.iter().enumerate() {
        let headers = format!(
            "ce-specversion: 1.0\r\nce-id: {n}\r\nce-source: s\r\nce-type: t\r\nce-time: {time}\r\n"
        );
        post(address, &headers, r#"{"number":9007199254740991}"#);
    }
    let events = archived(&gateway, 0, times.len());
    let found: Vec<&str> = events
        .iter()
        .filter_map(|one| one["time"].as_str())
        .collect();
    assert_eq!(found, times);
    assert_eq!(events[0]["data"]["number"], 9_007_199_254_740_991_u64);
    gateway.kill();
    gateway.start();
    let listed = gateway.events(&["--topic", "t"]);
    let time = |one: &Value| one["event"]["time"].as_str().map(str::to_owned);
    let listed: Vec<String> = listed.iter().filter_map(time).collect();
    assert_eq!(listed, times);
}
