//! A backlog of large events takes little more on the disk than their bytes, and none of it is read before the gateway
//! listens; while the store is being opened the API answers, and says how far it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::{port, wait};

const EVENTS: u64 = 60;
const BYTES: u64 = 200_000;

/// Text that nothing compresses.
fn noise(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 20) as u8 % 74)
    };
    let text: String = (0..BYTES).map(letter).collect();
    text.replace(['\\', '"'], "-")
}

/// Posts an event; the status code and body of the answer.
fn post(to: SocketAddr, id: &str, data: &str) -> String {
    let body = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"camera","type":"picture","data":"{data}"}}"#
    );
    let mut stream = wait::find("the source listens", || TcpStream::connect(to));
    write!(
        stream,
        "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\
         Content-Type: application/cloudevents+json\r\n\r\n{body}",
        body.len()
    )
    .expect("it takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn figure(path: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).expect("it is told");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.expect("a figure").trim().parse().expect("a number")
}

/// An HTTP source, and an upstream that is down.
fn with_hooks(address: SocketAddr) -> String {
    format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{address}\"\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n",
        port::free()
    )
}

/// Events of the camera that are in the store.
fn held(gateway: &Gateway) -> usize {
    gateway
        .events(&["--type", "picture", "--limit", "100"])
        .len()
}

#[test]
fn a_backlog_of_large_events_is_written_once_and_not_read_at_a_start() {
    let address = port::free();
    let mut gateway = Gateway::new(&with_hooks(address));
    gateway.start();
    let before = gateway.disk_bytes();
    let io = format!("/proc/{}/io", gateway.pid());
    let written = figure(Path::new(&io), "wchar:");
    for number in 0..EVENTS {
        let answer = post(address, &format!("{number}"), &noise(number));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let payload = EVENTS * BYTES;
    let disk = gateway.disk_bytes() - before;
    assert!(disk * 10 <= payload * 12, "{disk} on disk for {payload}");
    let written = figure(Path::new(&io), "wchar:") - written;
    assert!(written <= payload * 2, "{written} written for {payload}");
    gateway.kill();

    // Once it is ready it has read its own program too, to say which it is.
    let mark = gateway.path("data/ready.json");
    std::fs::remove_file(&mark).expect("the first start was ready");
    gateway.start();
    wait::until("it is ready", || mark.exists());
    let process = format!("/proc/{}", gateway.pid());
    let program = std::fs::metadata(format!("{process}/exe")).expect("its program");
    let read = figure(Path::new(&format!("{process}/io")), "rchar:");
    let read = read - program.len();
    assert!(read < payload / 2, "{read} bytes read of {payload}");
    let stored = held(&gateway);
    // A repetition is known by what it says, of which nothing was read so far.
    let again = post(address, "7", &noise(7));
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    assert_eq!(held(&gateway), stored, "a repetition");
    let other = post(address, "7", &noise(1_007));
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    assert!(held(&gateway) > stored, "another event under a known id");
    let stored = held(&gateway);
    for number in [7, 1_007] {
        post(address, "7", &noise(number));
    }
    assert_eq!(held(&gateway), stored, "both are known now");
}

/// The snapshots in the complete generations: sled makes one where it opens a database.
fn snapshots(gateway: &Gateway) -> Vec<PathBuf> {
    let generations = std::fs::read_dir(gateway.path("data/store/generations"));
    let generations = generations.expect("generations").flatten();
    let complete = generations.filter(|found| found.path().join("summary").exists());
    let files = complete.flat_map(|found| std::fs::read_dir(found.path()).expect("its files"));
    let files = files.map(|file| file.expect("a file").path());
    let is_snapshot = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("snap.")
    };
    files.filter(is_snapshot).collect()
}

#[test]
fn a_start_opens_none_of_many_generations_of_large_events() {
    let address = port::free();
    let mut gateway = Gateway::new(&format!(
        "[store]\ngeneration_size = \"128KiB\"\n\n{}",
        with_hooks(address)
    ));
    gateway.start();
    for number in 0..EVENTS {
        let answer = post(address, &format!("{number}"), &noise(number));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    gateway.kill();
    for snapshot in snapshots(&gateway) {
        std::fs::remove_file(snapshot).expect("it goes");
    }
    gateway.start();
    // The upstream's reader may have begun with the oldest.
    let opened = snapshots(&gateway);
    assert!(opened.len() <= 2, "{opened:?}");
    let stored = held(&gateway);
    for number in [0, 30, 59] {
        let again = post(address, &format!("{number}"), &noise(number));
        assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    }
    assert_eq!(held(&gateway), stored, "repetitions");
}

/// Fills a store with many generations, and makes the next opening read each.
fn with_many_generations() -> Gateway {
    let address = port::free();
    let mut gateway = Gateway::new(&format!(
        "[store]\ngeneration_size = \"64KiB\"\n\n{}",
        with_hooks(address)
    ));
    gateway.start();
    for number in 0..600 {
        let answer = post(address, &format!("{number}"), &noise(number)[..3_500]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    gateway.kill();
    let generations = std::fs::read_dir(gateway.path("data/store/generations"));
    let generations = generations.expect("generations").flatten();
    let removed = generations.filter(|g| std::fs::remove_file(g.path().join("summary")).is_ok());
    let removed = removed.count();
    assert!(removed > 20, "{removed} generations are complete");
    gateway
}

#[test]
fn while_the_store_is_opened_the_api_says_how_far_it_is() {
    let mut gateway = with_many_generations();
    gateway.launch();
    // One of each, however short the opening is: it is asked without a pause.
    let said = |path: &str, words: &str| {
        wait::find("word of the opening", || {
            let answer = gateway.control(path);
            match answer.contains("opening the store: ") && answer.contains(words) {
                true => Ok(answer),
                false => Err(answer),
            }
        })
    };
    let ready = said("/readyz", "generations");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let status = said("/status", " of ");
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    assert!(gateway.control("/healthz").contains("\"alive\":true"));
    gateway.await_listening();
    gateway.wait_until("it is ready", || {
        gateway.control("/readyz").starts_with("HTTP/1.1 200")
    });
    let status = gateway.control("/status");
    assert!(!status.contains("opening the store"), "{status}");
}

#[test]
fn a_second_gateway_on_the_same_store_leaves_the_socket_of_the_first() {
    let mut gateway = Gateway::new("");
    gateway.start();
    let second = gateway.command().output().expect("it runs");
    assert!(!second.status.success());
    gateway.wait_until("it is still asked", || {
        gateway.control("/readyz").starts_with("HTTP/1.1 200")
    });
}
